"""The Python client on connections that break, stall and are forgotten: nothing is lost, and nothing is there twice."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import aiochat
from aiochat.messages import Gap, HistoryPage, Message
from aiochat.sdk import Backoff, CaughtUp, ChatClient, Connected, Disconnected
from tests.proxies import Proxy, proxied
from tests.scripted import next_of
from tests.servers import running

EAGER: Final = Backoff(uniform=lambda shortest, longest: 0.001)
PATIENT: Final = Backoff(uniform=lambda shortest, longest: 0.1)  # leaves the processor to the server that starts
UNLIMITED: Final = {"limits.messages_per_second": 0, "limits.bytes_per_second": 0}
MESSAGES: Final = 4000
CUTS: Final = 200


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """One in front of a server without limits."""
    async with running(settings=UNLIMITED) as server, proxied(server.port) as proxy:
        yield proxy


@asynccontextmanager
async def closing(chat: ChatClient) -> AsyncIterator[None]:
    """Close it whatever happens."""
    try:
        yield
    finally:
        await chat.close()


def connect(url: str, name: str | None = None, **options: Any) -> ChatClient:
    """A client in the lobby that comes back at once."""
    return aiochat.connect(url, name=name, rooms=["lobby"], **{"backoff": EAGER, **options})


async def publish_all(chat: ChatClient, texts: list[str], at_once: int) -> list[int]:
    """Publish them all, some at once; their offsets."""
    free = asyncio.Semaphore(at_once)

    async def publish(text: str) -> int:
        async with free:
            return (await chat.publish("lobby", text)).offset

    return await asyncio.gather(*map(publish, texts))


async def hear(chat: ChatClient, count: int) -> list[Message]:
    """The next messages, with no gap between them."""
    heard: list[Message] = []
    async for event in chat:
        assert not isinstance(event, Gap)
        if isinstance(event, Message):
            heard.append(event)
            if len(heard) == count:
                return heard
    raise AssertionError("it ended")


async def names_in_the_lobby(chat: ChatClient) -> list[str | None]:
    """In alphabetical order."""
    return sorted((member.name for member in (await chat.who("lobby")).members), key=str)


async def logged(url: str) -> list[Message]:
    """All that is in the lobby's log."""
    entries: list[Any] = []
    async with connect(url) as chat:
        page: HistoryPage | None = None
        while page is None or page.more:
            page = await chat.history("lobby", after=len(entries), limit=300)
            entries += page.messages
    assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1))
    return entries


@pytest.mark.faults
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_cut_hundreds_of_times_nothing_is_lost_and_nothing_doubled(proxy: Proxy, codec: str) -> None:
    """At random bytes, in both directions: each message is in the log once, and comes once, in order."""
    chance = random.Random(codec)
    texts = [f"{number} {'x' * chance.randrange(200)}" for number in range(MESSAGES)]
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(connect(proxy.url, "alice", codec=codec))
        subscriber = await stack.enter_async_context(connect(proxy.url, "bob", codec=codec))
        proxy.budget = lambda: int(2 ** chance.uniform(8, 13 if chance.random() < 0.95 else 20))
        proxy.reset()
        hearing = asyncio.create_task(hear(subscriber, MESSAGES))
        offsets = await publish_all(publisher, texts, at_once=20)
        heard = await hearing
        proxy.budget = lambda: None
        log = await logged(proxy.url)
    assert proxy.cuts > CUTS
    assert [message.text for message in heard] == [message.text for message in log]
    assert [message.offset for message in heard] == [message.offset for message in log]
    assert {message.text: message.offset for message in log} == dict(zip(texts, offsets, strict=True))


async def test_a_connection_that_only_the_client_has_lost_is_replaced(proxy: Proxy) -> None:
    """The session goes on while the server still holds the old end of it."""
    async with connect(proxy.url, "alice") as chat, connect(proxy.url, "bob") as other:
        client = chat.client
        proxy.forget()
        await next_of(chat, Disconnected)
        assert await next_of(chat, Connected) == Connected(client, resumed=True)
        await other.publish("lobby", "still there?")
        assert (await next_of(chat, Message)).text == "still there?"
        assert await names_in_the_lobby(chat) == ["alice", "bob"]


async def test_a_connection_that_stalls_is_given_up() -> None:
    """Nothing is heard any more, and nobody says so: no ping comes, and the client connects anew."""
    settings = {"keepalive.ping_interval_seconds": 0.2, "keepalive.pong_timeout_seconds": 5.0}
    async with (
        running(settings=settings) as server,
        proxied(server.port) as proxy,
        connect(proxy.url, "alice") as chat,
        connect(server.ws_url, "bob") as other,
    ):
        proxy.stall()
        ack = asyncio.create_task(chat.publish("lobby", "lost on the way"))
        await other.publish("lobby", "meanwhile")
        assert (await next_of(chat, Disconnected)).code == 1006
        proxy.reset()
        proxy.go_on()
        assert (await next_of(chat, Message)).text == "meanwhile"
        assert await next_of(chat, CaughtUp) == CaughtUp("lobby", 1)
        assert (await ack).offset == 2


async def test_a_restart_without_a_log_is_told_as_a_gap(unused_tcp_port: int) -> None:
    """What was in memory is gone: the session too, and the client is in its room again, under its name."""
    settings = {"server.port": unused_tcp_port, "server.reconnect_spread_seconds": 0}
    async with running(settings=settings) as server:
        chat = connect(server.ws_url, "alice")
        await chat.open()
        await chat.publish("lobby", "before")
    async with running(settings=settings), closing(chat):
        gap = await next_of(chat, Gap)
        assert (gap.offset, gap.from_, gap.to) == (0, None, None)
        assert (await chat.publish("lobby", "after")).offset == 1
        assert (await next_of(chat, Message)).text == "after"
        assert await names_in_the_lobby(chat) == ["alice"]


@pytest.mark.faults
async def test_killed_and_restarted_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    """What was acknowledged is in the log, the subscriber has all of it, and both are in the sessions they were in."""
    settings = {**UNLIMITED, "store.url": f"sqlite:///{tmp_path}/chat.db"}
    texts = [str(number) for number in range(MESSAGES // 2)]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(settings=settings))
        proxy = await stack.enter_async_context(proxied(server.port))
        publisher = await stack.enter_async_context(connect(proxy.url, "alice", backoff=PATIENT))
        subscriber = await stack.enter_async_context(connect(proxy.url, "bob", backoff=PATIENT))
        clients = {publisher.client, subscriber.client}
        publishing = asyncio.create_task(publish_all(publisher, texts, at_once=20))
        heard: list[Message] = []
        for _ in range(3):
            heard += await hear(subscriber, len(texts) // 4)
            await server.stop(signal.SIGKILL)
            server = await stack.enter_async_context(running(settings=settings))
            proxy.port = server.port
        heard += await hear(subscriber, len(texts) - len(heard))
        offsets = await publishing
        assert {publisher.client, subscriber.client} == clients
        assert await names_in_the_lobby(subscriber) == ["alice", "bob"]
        log = await logged(proxy.url)
    assert [message.text for message in heard] == [message.text for message in log]
    assert {message.text: message.offset for message in log} == dict(zip(texts, offsets, strict=True))


async def test_a_restart_that_keeps_the_log_is_caught_up_with(tmp_path: Path) -> None:
    """Also by a client of whose session the new server knows nothing but what its token says."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "server.reconnect_spread_seconds": 0}
    async with proxied(0) as proxy:
        async with running(settings=settings) as server:
            proxy.port = server.port
            chat = connect(proxy.url, "alice")
            await chat.open()
            client = chat.client
        proxy.stall()
        async with running(settings=settings) as server, connect(server.ws_url, "bob") as bob, closing(chat):
            proxy.port = server.port
            await bob.publish("lobby", "early bird")
            proxy.go_on()
            assert (await next_of(chat, Disconnected)).code == 1012
            assert await next_of(chat, Connected) == Connected(client, resumed=True)
            assert (await next_of(chat, Message)).text == "early bird"
            assert await next_of(chat, CaughtUp) == CaughtUp("lobby", 1)
            assert await names_in_the_lobby(chat) == ["alice", "bob"]
