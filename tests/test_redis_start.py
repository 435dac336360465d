"""Which Redis is named, what is kept there, and what ends the start."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aiochat.errors import ConfigError, StartError
from aiochat.roomlog.engines import data_path, make_log
from aiochat.roomlog.redis import RedisLog
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS
from tests.nodes import publish
from tests.redis_server import RedisServer
from tests.roomlogs import config_of, opened


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that the test may do with as it likes."""
    with redis_server.running() as server:
        yield server


# Keys.


async def test_every_key_has_a_name_in_one_slot_and_a_lifetime(own: RedisServer) -> None:
    """`store.prefix` and the format's version, then the room as a hash tag; rooms that are only read go soon."""
    async with nodes.running(own.url, 1, store={"prefix": "team:chat"}) as (node,):
        alice = await node.enter("küche", codec=MANY_ROOMS)
        publish(alice, "one", room="küche", key="key-0001")
        await node.hub.publishing.erase("küche", 1)
        node.hub.log.read("never", lambda _: None, limit=1)
        kept: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        node.log.keep("ban", b"1", kept.set_result)
        await kept
    lives = {key.decode(): own.ask.pttl(key) / 1000 for key in own.ask.scan_iter()}
    own_keys = {name: life for name, life in lives.items() if "{" not in name}
    assert {"team:chat:1:secret", "team:chat:1:kept"} < set(own_keys)
    assert all(name.startswith("team:chat:1:") for name in own_keys)
    kinds = {name.rpartition(":")[2] for name in lives if name.startswith("team:chat:1:{küche}:")}
    assert {"room", "log", "erased", "keys", "order"} < kinds
    assert all(0 < life <= 30 * 86_400 for life in lives.values())
    assert lives["team:chat:1:{never}:room"] <= 3600


# The start.


async def test_a_redis_that_cannot_be_reached_ends_the_start(own: RedisServer) -> None:
    """One line that says where and why, after `store.wait_seconds`, without the password."""
    own.stop()
    engine = make_log(config_of(f"unix://alice:hunter2@{own.path}", wait_seconds=0.1))
    with pytest.raises(StartError) as refused:
        await engine.open(lambda _: None)
    line = str(refused.value)
    assert line.startswith(f"store.url: Redis at {own.path} cannot be used: ")
    assert ("\n" in line, "hunter2" in line) == (False, False)
    own.start()


async def test_a_wrong_password_ends_the_start() -> None:
    """And is shown to nobody; the right one lets in."""
    with redis_server.running("--requirepass", "opensesame") as server:
        server_url = f"unix://:hunter2@{server.path}"
        with pytest.raises(StartError) as refused:
            await make_log(config_of(server_url, wait_seconds=0.1)).open(lambda _: None)
        assert "hunter2" not in str(refused.value)
        async with opened(f"unix://:opensesame@{server.path}") as log:
            assert (await log.append("a", "one")).newest == 1


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter2@", "redis://:hunter2@a,b", "redis://:hunter2@host:x", "redis://:hunter2@host:70000"),
        *("redis://:hunter2@host/x", "redis://:hunter2@host/0/1", "redis://:hunter2@host?x=1", "unix://:hunter2@"),
        *("unix://:hunter2@host/path", "unix://:hunter2@/path?db=x", "redis+sentinel://:hunter2@host"),
        "redis+cluster://:hunter2@host",
    ],
)
def test_what_names_no_redis_is_refused_without_its_password(url: str) -> None:
    """In one line that says what it takes."""
    with pytest.raises(ConfigError) as refused:
        make_log(config_of(url))
    assert str(refused.value).startswith("store.url: got ")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("redis://host", "host:6379"),
        ("rediss://user:p%40ss@[::1]:7000/3", "[::1]:7000"),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock"),
        ("redis+sentinel://:pw@a,b:7001/main/1", "a:26379,b:7001/main"),
    ],
)
def test_where_the_data_is(url: str, path: str) -> None:
    """For people to read, without user and password."""
    assert isinstance(make_log(config_of(url)), RedisLog)
    assert data_path(config_of(url)) == f"in Redis at {path}"
