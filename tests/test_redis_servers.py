"""Real servers on one real Redis: one chat, also while one of the three is killed."""

import signal
from collections.abc import Iterator

import pytest

from tests import redis_server
from tests.programs import program
from tests.redis_server import RedisServer
from tests.servers import running


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps what was said when it is killed."""
    with redis_server.running("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


async def test_two_servers_are_one_chat_and_outlive_each_other(redis: RedisServer) -> None:
    """One is killed, another one starts: sessions and what was said are there."""
    settings = {"store.url": redis.url}
    async with running(settings=settings) as first:
        async with running(settings=settings) as second:
            async with program(first, "lobby") as alice, program(second, "lobby") as bob:
                ack = await alice.ask("publish", room="lobby", text="hello", key="key-00001")
                assert ack["offset"] == (await bob.next("message"))["offset"] == 1
                token, client = bob.token, bob.client
            await second.stop(signal.SIGKILL)
        async with running(settings=settings) as third, program(third) as bob:
            assert (await bob.ask("resume", token=token, rooms={}))["client"] == client
            joined = await bob.ask("join", room="lobby", since={"epoch": "", "offset": 0})
            assert [message["text"] for message in joined["messages"]] == ["hello"]
            again = await bob.ask("publish", room="lobby", text="and again")
            assert again["offset"] == 2


async def test_clients_stay_while_redis_is_killed_and_comes_back(redis: RedisServer) -> None:
    """Who publishes meanwhile waits; afterwards all of it is there, once, and nobody saw a gap."""
    async with running(settings={"store.url": redis.url}) as server:
        async with program(server, "lobby") as alice, program(server, "lobby") as bob:
            await alice.ask("publish", room="lobby", text="one")
            redis.stop()
            await alice.send({"type": "publish", "id": "two", "room": "lobby", "text": "two"})
            await server.logged("redis_lost")
            assert (await bob.ask("ping"))["type"] == "pong"
            redis.start()
            assert (await alice.next(id="two"))["offset"] == 2
            assert await bob.texts(2) == ["one", "two"]
            await server.logged("redis_back")
            assert not [event for event in bob.heard if event["type"] == "gap"]
        assert not [line for line in server.log if line["event"].endswith("_failed")]
