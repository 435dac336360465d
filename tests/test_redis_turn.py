"""What a turn costs on Redis, however much it brings."""

import time
from collections.abc import Iterable
from hashlib import sha1

import pytest

from aiochat.roomlog.redis.connections import Connection
from aiochat.roomlog.redis.scripts import APPEND
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS
from tests.nodes import heard, publish
from tests.roomlogs import draft, erasure, opened, said

APPENDS = sha1(APPEND.encode(), usedforsecurity=False).hexdigest().encode()


@pytest.mark.parametrize("rooms", [1, 20])
async def test_a_turn_of_500_messages_is_one_round_trip(rooms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one script for each room."""
    sent: list[int] = []
    send = Connection.send

    async def counted(connection: Connection, packed: Iterable[bytes]) -> None:
        data = b"".join(packed)
        if data.count(APPENDS):
            sent.append(data.count(APPENDS))
        await send(connection, [data])

    with redis_server.running() as redis:
        async with nodes.running(redis.url, 1) as (node,):
            names = [f"room-{number % rooms}" for number in range(20)]
            peers = [await node.enter(name, codec=MANY_ROOMS) for name in names]
            publish(peers[0], "first", room=names[0])  # so that Redis knows the script
            await node.until(lambda: heard(peers[0]))
            monkeypatch.setattr(Connection, "send", counted)
            for name, peer in zip(names, peers, strict=True):
                publish(peer, *(f"{number}" for number in range(25)), room=name)
            each = 500 // rooms
            await node.until(lambda: all(len(heard(peer)) >= each for peer in peers))
    assert sent == [rooms]


@pytest.mark.parametrize("old", [0, 1, 2, 700, 999, 1000])
async def test_what_is_too_old_is_found_in_few_steps(old: int) -> None:
    """However much of it there is, Redis does not stand still for it; what is not too old stays."""
    now = time.time_ns() // 1_000_000
    with redis_server.running() as redis:
        async with opened(redis.url) as log:  # everything is kept
            drafts = [draft(str(number), ts=now - (7_200_000 if number <= old else 0)) for number in range(1, 1001)]
            await log.append("lobby", *drafts, *(erasure(offset) for offset in (500, 750)))
        redis.ask.config_resetstat()
        async with opened(redis.url, max_age_hours=1) as log:
            page = await log.read("lobby", 1, after=0)
        assert page.oldest == old + 1
        assert said(page)[0][0] == old + 1
        assert redis.ask.info("commandstats")["cmdstat_xrange"]["calls"] < 30
