"""A Redis that forgot something begins a new epoch, of which the members on all nodes are told."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from aiochat import messages as m
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node, all_heard, heard, pair, publish, told
from tests.redis_server import RedisServer
from tests.roomlogs import opened, said


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that the test may do with as it likes."""
    with redis_server.running() as server:
        yield server


@pytest.fixture
async def two(own: RedisServer) -> AsyncIterator[list[Node]]:
    """Two nodes on it."""
    async with nodes.running(own.url) as two:
        yield two


async def test_a_flushed_redis_is_a_new_epoch(own: RedisServer, two: list[Node]) -> None:
    """Members are told, and hear what is said after it from its first offset on."""
    alice, bob = await pair(two)
    publish(alice, "one", "two")
    await all_heard(two[0], 2, alice, bob)
    own.ask.flushall()
    publish(bob, "three", "four")
    await all_heard(two[0], 4, alice, bob)
    (gap,) = told(alice, m.Gap)
    assert told(bob, m.Gap) == [gap]
    assert (gap.offset, gap.epoch != told(alice, m.Joined)[0].epoch) == (0, True)
    assert heard(alice)[2:] == heard(bob)[2:] == [(1, "three"), (2, "four")]


async def grown(own: RedisServer, two: list[Node]) -> tuple[Peer, Peer]:
    """What was said up to "saved" is in the file; all have heard more."""
    alice, bob = await pair(two)
    publish(alice, "one", "saved")
    await all_heard(two[0], 2, alice, bob)
    own.ask.save()
    publish(bob, "three", "four")
    await all_heard(two[0], 4, alice, bob)
    own.stop()
    return alice, bob


async def test_a_redis_that_forgot_the_newest_is_a_new_epoch(own: RedisServer, two: list[Node]) -> None:
    """What it has is kept; members are told, once, and no offset that they know is given to another message."""
    alice, bob = await grown(own, two)
    own.start()
    await two[0].until(lambda: told(alice, m.Gap) and told(bob, m.Gap))
    publish(alice, "five")
    await all_heard(two[0], 5, alice, bob)
    (gap,) = told(alice, m.Gap)
    assert told(bob, m.Gap) == [gap]
    assert (gap.offset, gap.epoch != told(alice, m.Joined)[0].epoch) == (2, True)
    assert heard(alice)[4:] == heard(bob)[4:] == [(3, "five")]
    carol = await two[1].enter(codec=MANY_ROOMS)
    assert [entry.text for entry in told(carol, m.Joined)[0].messages] == ["one", "saved", "five"]


async def say_as_a_stranger(saved: Path, texts: list[str]) -> None:
    """Go on with what was saved, as a node does that knows nothing of what was said since."""
    with redis_server.running() as other:
        other.stop()
        shutil.copy(saved, other.directory)
        other.start()
        async with opened(other.url) as log:
            await log.append("lobby", *texts)
        other.ask.save()
        shutil.copy(other.directory / saved.name, saved)


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_other_messages_under_known_offsets_are_a_new_epoch(
    own: RedisServer, two: list[Node], count: int
) -> None:
    """Also where somebody who had seen nothing was faster, and it is as far as before or farther."""
    alice, bob = await grown(own, two)
    others = [f"other {number}" for number in range(count)]
    await say_as_a_stranger(own.directory / "dump.rdb", others)
    own.start()
    await two[0].until(lambda: told(alice, m.Gap) and told(bob, m.Gap))
    publish(alice, "five")
    await all_heard(two[0], 5, alice, bob)
    async with opened(own.url) as log:
        page = await log.read("lobby")
    assert told(alice, m.Gap) == told(bob, m.Gap) == [m.Gap(room="lobby", epoch=page.epoch, offset=2 + count)]
    assert page.epoch != told(alice, m.Joined)[0].epoch
    assert heard(alice)[4:] == heard(bob)[4:] == [(3 + count, "five")]
    assert [text for _, text in said(page)] == ["one", "saved", *others, "five"]
