"""How long a room lives in Redis: as long as somebody speaks or reads in it, whatever the nodes' clocks say."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from aiochat import messages as m
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node, all_heard, answer, publish

HOUR_MS = 3_600_000
ROOM, LOG = "aiochat:1:{lobby}:room", "aiochat:1:{lobby}:log"


@pytest.fixture
async def two() -> AsyncIterator[list[Node]]:
    """Two nodes that keep five messages of a room, none older than a day."""
    kept: dict[str, Any] = {"max_messages": 5, "max_age_hours": 24}
    async with nodes.running(redis_server.shared().new_url(), history=kept, queue={"max_messages": 2}) as two:
        yield two


@pytest.fixture
async def alice(two: list[Node]) -> Peer:
    """In a room that is full."""
    alice = await two[0].enter(codec=MANY_ROOMS)
    publish(alice, *map(str, range(10)))
    await all_heard(two[0], 10, alice)
    return alice


def _asked(node: Node) -> Any:
    return redis.Redis.from_url(node.config.store.url)


@pytest.mark.parametrize("days", [-1, 365], ids=["long ago", "by a clock that was a year ahead"])
async def test_a_full_room_lives_on_while_somebody_speaks(two: list[Node], alice: Peer, days: int) -> None:
    """Also where each message takes the place of an older one; whenever its end was last put off."""
    with _asked(two[0]) as asked:
        asked.hset(ROOM, "lived", int(time.time() * 1000) + days * 24 * HOUR_MS)
        asked.pexpire(ROOM, 60_000)
        asked.pexpire(LOG, 60_000)
        publish(alice, "ten")
        await all_heard(two[0], 11, alice)
        assert min(asked.pttl(ROOM), asked.pttl(LOG)) > 20 * HOUR_MS


async def test_a_full_room_lives_on_while_somebody_reads(two: list[Node], alice: Peer) -> None:
    """A page from Redis is enough; what is too old goes at the same time."""
    with _asked(two[0]) as asked:
        asked.hset(ROOM, "lived", 1)
        asked.pexpire(ROOM, 60_000)
        await answer(two[1], await two[1].enter(codec=MANY_ROOMS), m.History(room="lobby", before=10), m.HistoryPage)
        assert asked.pttl(ROOM) > 20 * HOUR_MS


async def test_a_node_whose_clock_is_wrong_throws_nothing_away(
    two: list[Node], alice: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' own clock says what is too old."""
    ahead = time.time_ns() + 25 * HOUR_MS * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: ahead)
    bob = await two[1].enter(codec=MANY_ROOMS)
    page = await answer(two[1], bob, m.History(room="lobby", before=10), m.HistoryPage)
    assert [message.offset for message in page.messages] == [6, 7, 8, 9]
