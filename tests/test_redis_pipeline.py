"""The node's questions to Redis: what people say and read overtakes what may wait, which is bounded."""

import asyncio
from typing import Any

import pytest

from aiochat.roomlog.redis import RedisLog, pipeline
from aiochat.roomlog.redis.scripts import Calls
from aiochat.roomlog.redis.wire import Seen
from tests import redis_server
from tests.roomlogs import Log, config_of, draft, opened, said


def engine_of(log: Log) -> RedisLog:
    """With what the contract does not have."""
    assert isinstance(log.engine, RedisLog)
    return log.engine


async def test_who_publishes_and_reads_does_not_wait_for_steps_of_the_cluster() -> None:
    """However many were asked before; and those come in their order, all of them."""
    async with opened(redis_server.shared().new_url()) as log:
        await log.append("lobby", "first")  # so that Redis knows the script
        steps: list[Any] = []
        for number in range(1000):
            engine_of(log).link.ask([("ECHO", number)], steps.append)
        appended, page = log.append_drafts({}), log.read("lobby")
        assert said(await page) == [(1, "first")]
        assert appended.done()
        assert len(steps) < 100
        last: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        engine_of(log).link.ask([("PING",)], last.set_result)
        await last
        assert steps == [[str(number).encode()] for number in range(1000)]


async def test_steps_of_the_cluster_go_on_while_people_publish() -> None:
    """Some of them in each round trip: a flood of messages does not hold them up for good."""
    async with opened(redis_server.shared().new_url()) as log:
        reads = [log.read("lobby") for _ in range(1000)]
        step: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        engine_of(log).link.ask([("PING",)], step.set_result)
        await step
        assert not reads[-1].done()
        await asyncio.wait(reads)


async def test_what_is_said_comes_in_its_order() -> None:
    """Whatever was asked between, and also where a connection is lost with half of it on its way."""
    with redis_server.running() as own:
        async with opened(own.url) as log:
            numbers = range(200)
            waiting: list[asyncio.Future[Any]] = []
            steps: list[Any] = []
            for number in numbers:
                engine_of(log).link.ask([("ECHO", number)], steps.append)
                waiting.append(asyncio.ensure_future(log.append("lobby", str(number))))
                await asyncio.sleep(0)
                if number % 60 == 50:
                    own.ask.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
            await asyncio.wait(waiting)
            page = await log.read("lobby")
            assert said(page) == [(number + 1, str(number)) for number in numbers]
            assert log.answered == list(range(len(numbers) + 1))
            assert steps == [[str(number).encode()] for number in numbers]


async def test_what_may_wait_while_redis_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much is answered at once; what is published is not counted, and afterwards there is room again."""
    monkeypatch.setattr(pipeline, "_WAITING_BYTES", 20_000)
    with redis_server.running() as own:
        async with opened(own.url) as log:
            link, lines = engine_of(log).link, engine_of(log)._pipeline
            own.pause()
            replies: list[Any] = []
            while not replies:
                link.ask([("ECHO", "x" * 500)], replies.append)
                assert lines._waiting_bytes <= 20_000
            assert [str(reply) for reply in replies] == ["too much waits for Redis"]
            published = log.append_drafts({"lobby": [draft("hello")]})
            own.resume()
            assert said((await published)["lobby"]) == [(1, "hello")]
            while lines._waiting_bytes:
                await log.append_drafts({})
            assert replies[1:] == [[b"x" * 500]] * (len(replies) - 1)
            link.ask([("PING",)], replies.append)
            assert lines._waiting_bytes > 0


def test_an_answer_that_comes_late_does_not_set_a_room_back() -> None:
    """What was published since is known already: a Redis that lost it would not be found out."""
    calls = Calls(config_of("unix:///redis.sock"), 0)
    calls.see("lobby", Seen("1", 1, "a"))
    calls.hear("lobby", Seen("1", 3, "c"))
    calls.see("lobby", Seen("1", 2, "b"))
    assert not calls.has_all("lobby", Seen("1", 2, "b"))
    assert calls.has_all("lobby", Seen("1", 3, "c"))
    calls.see("lobby", Seen("2", 1, "d"))
    assert calls.has_all("lobby", Seen("2", 1, "d"))
