"""While Redis is away, hangs or refuses: what is asked is answered in time, and nothing is there twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from aiochat import messages as m
from aiochat.errors import Reply, StoreError
from aiochat.roomlog.redis import RedisLog
from aiochat.roomlog.redis.connections import Connection
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node, all_heard, heard, pair, publish, told
from tests.redis_server import RedisServer
from tests.roomlogs import Log, draft, opened, said


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


def is_answered(peer: Peer, count: int) -> bool:
    """So many of its messages are acknowledged or refused."""
    return len(told(peer, m.Ack) + told(peer, m.Error)) == count


async def test_redis_comes_back_with_its_data(own: RedisServer, two: list[Node]) -> None:
    """Nobody notices but who publishes meanwhile, and they wait."""
    alice, bob = await pair(two)
    publish(alice, "one")
    await all_heard(two[0], 1, alice, bob)
    own.ask.save()
    own.stop()
    publish(alice, "two")
    own.start()
    await all_heard(two[0], 2, alice, bob)
    assert heard(alice) == heard(bob) == [(1, "one"), (2, "two")]
    assert told(alice, m.Error) == told(bob, m.Gap) == []


async def test_who_publishes_while_redis_hangs_waits_and_is_refused(own: RedisServer) -> None:
    """After `store.wait_seconds`, and then at once; afterwards it goes on, and nothing is there twice."""
    async with nodes.running(own.url, store={"wait_seconds": 0.4}) as two:
        alice, bob = await pair(two)
        publish(alice, "one")
        await all_heard(two[0], 1, alice, bob)
        own.pause()
        publish(alice, "two")
        await two[0].until(lambda: told(alice, m.Error))
        bob.ask(m.History(room="lobby"))
        await two[0].until(lambda: told(bob, m.HistoryPage))  # that of memory is there
        assert (told(alice, m.Error)[0].code, two[0].log.is_deaf) == ("unavailable", False)
        own.resume()
        while len(told(alice, m.Ack)) < 2:
            answered = len(told(alice, m.Ack) + told(alice, m.Error))
            publish(alice, f"again {answered}")
            await two[0].until(partial(is_answered, alice, answered + 1))
        await two[0].until(lambda: heard(bob) == heard(alice) and heard(alice)[-1][1] == f"again {answered}")
        texts = [text for _, text in heard(alice)]
        assert len(set(texts)) == len(texts)
        assert [offset for offset, _ in heard(alice)] == list(range(1, len(texts) + 1))


async def test_who_publishes_later_while_redis_hangs_waits_no_longer(own: RedisServer) -> None:
    """It is refused together with what was on its way before it, and does not begin to wait once that is."""
    async with nodes.running(own.url, store={"wait_seconds": 2}) as (node, _):
        alice = await node.enter(codec=MANY_ROOMS)
        own.pause()
        publish(alice, "one")
        await node.until(lambda: node.hub.log.messages == 0 and not node.hub.inbox)
        publish(alice, "two")
        loop = asyncio.get_running_loop()
        await node.until(lambda: told(alice, m.Error))
        began = loop.time()
        await node.until(lambda: len(told(alice, m.Error)) == 2)
        assert loop.time() - began < 1
        own.resume()


def _once(monkeypatch: pytest.MonkeyPatch, does_break: Callable[[Any], bool]) -> list[Any]:
    """The first answer of Redis of which that is so gets lost, with its connection."""
    lost: list[Any] = []
    reply = Connection.reply

    async def unreliable(connection: Connection) -> Any:
        replied = await reply(connection)
        if not lost and does_break(replied):
            lost.append(replied)
            raise ConnectionResetError("lost")
        return replied

    monkeypatch.setattr(Connection, "reply", unreliable)
    return lost


async def test_a_batch_whose_answer_was_lost_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent again and answered as before, refusals included; so is what erases."""
    async with opened(redis_server.shared().new_url()) as log:
        await log.append("a", "one", draft("two", key="key-0001"))
        lost = _once(monkeypatch, lambda replied: isinstance(replied, list) and replied[1] == 4)
        drafts = [draft("three"), draft("other", key="key-0001"), draft(None, target=1)]
        appended = await log.append("a", *drafts)
        assert len(lost) == 1
        assert said(appended) == [(3, "three"), (4, "erases 1")]
        assert isinstance(appended.results[1], Reply)
        assert [text for _, text in said(await log.read("a"))] == ["erased", "two", "three", "erases 1"]


async def test_a_batch_that_comes_too_late_is_not_there() -> None:
    """From a connection that was given up, after the next batch of its node: its publishers were told so."""
    async with opened(redis_server.shared().new_url()) as log:
        engine = log.engine
        assert isinstance(engine, RedisLog)
        await log.append("a", "one")
        engine._calls._batches = -1
        with pytest.raises(StoreError):
            await log.append("a", "late")
        assert said(await log.read("a")) == [(1, "one")]


async def test_scripts_are_loaded_again() -> None:
    """A SCRIPT FLUSH, a restart, another server: whoever finds them missing loads them, and the order stays."""
    async with opened(redis_server.shared().new_url()) as log:
        await log.append("a", "one")
        redis_server.shared().ask.script_flush()
        calls: list[asyncio.Future[Any]] = [log.append_drafts({"a": [draft("two")]}), log.read("a"), log.delete("a")]
        _, page, deleted = await asyncio.gather(*calls)
        assert (said(page), deleted.newest) == ([(1, "one"), (2, "two")], 2)


async def test_an_acknowledgement_waits_for_replicas() -> None:
    """Without enough of them, publishers are told that it may be lost."""
    async with opened(redis_server.shared().new_url(), wait_replicas=1, wait_seconds=1) as log:
        with pytest.raises(StoreError, match="replicas"):
            await log.append("a", "one")
        assert said(await log.read("a")) == [(1, "one")]


async def test_a_redis_that_refuses_fails_what_was_asked_alone(own: RedisServer) -> None:
    """Out of memory: publishing fails, reading goes on."""
    async with opened(own.url) as log:
        await log.append("a", "one")
        own.ask.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="maxmemory"):
            await log.append("a", "two")
        assert said(await log.read("a")) == [(1, "one")]
        own.ask.config_set("maxmemory", 0)
        assert said(await log.append("a", "two")) == [(2, "two")]


async def test_a_redis_without_memory_takes_no_new_room_and_deletes_those_it_has(own: RedisServer) -> None:
    """A room that is only read would be written down, too; what is deleted gives its memory back."""
    async with opened(own.url) as log:
        await log.append("a", "one")
        own.ask.config_set("maxmemory", 1)
        keys = own.ask.dbsize()
        with pytest.raises(StoreError, match="maxmemory"):
            await log.read("b")
        with pytest.raises(StoreError, match="maxmemory"):
            await log.append("c", "two")
        assert own.ask.dbsize() == keys
        assert (await log.delete("a")).newest == 1
        assert (await log.read("a")).newest == 0


async def test_while_redis_is_away_everythingis_answered_in_time(own: RedisServer) -> None:
    """Within `store.wait_seconds`, and then at once; when it is back, it is as before."""
    async with opened(own.url, wait_seconds=0.3) as log:
        await log.append("a", "one")
        own.stop()
        for _ in range(2):
            with pytest.raises(StoreError):
                await log.append("a", "two")
        with pytest.raises(StoreError):
            await log.read("a")
        own.start()
        await _back(log)
        assert said(await log.append("a", "three")) == [(1, "three")]


async def _back(log: Log) -> None:
    while True:
        try:
            await log.append_drafts({})
        except StoreError:
            await asyncio.sleep(0.01)
        else:
            return
