"""The JavaScript client on connections that break, stall and are forgotten: nothing is lost, or there twice."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.js_clients import JsChat, needs_node, running_js, summary
from tests.proxies import Proxy, proxied
from tests.servers import running
from tests.test_sdk_reconnect import UNLIMITED, logged

pytestmark = needs_node

MESSAGES: Final = 1500
CUTS: Final = 60


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """One in front of a server without limits."""
    async with running(settings=UNLIMITED) as server, proxied(server.port) as proxy:
        yield proxy


@asynccontextmanager
async def connected(url: str, name: str, wait_ms: int = 1) -> AsyncIterator[JsChat]:
    """A client in the lobby that comes back after so long."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": url, "name": name, "rooms": ["lobby"], "waitMs": wait_ms})
        await chat.next_of("state", state="online")
        yield chat


async def publish_all(chat: JsChat, texts: list[str], at_once: int) -> list[int]:
    """Publish them all, some at once; their offsets."""
    free = asyncio.Semaphore(at_once)

    async def publish(text: str) -> int:
        async with free:
            return int((await chat.ask("publish", "lobby", text))["offset"])

    return await asyncio.gather(*map(publish, texts))


async def hear(chat: JsChat, count: int) -> list[dict[str, Any]]:
    """The next messages, with no gap between them."""
    heard: list[dict[str, Any]] = []
    while len(heard) < count:
        *_, event = await chat.until(lambda event: event["kind"] in {"message", "gap"})
        assert event["kind"] == "message"
        heard.append(event)
    return heard


async def test_cut_many_times_nothing_is_lost_doubled_or_out_of_order(proxy: Proxy) -> None:
    """At random bytes, in both directions: each message is in the log once, as they were published, and comes so."""
    chance = random.Random("js")
    texts = [f"{number} {'x' * chance.randrange(200)}" for number in range(MESSAGES)]
    async with connected(proxy.url, "alice") as publisher, connected(proxy.url, "bob") as subscriber:
        proxy.budget = lambda: int(2 ** chance.uniform(8, 13 if chance.random() < 0.95 else 20))
        proxy.reset()
        hearing = asyncio.create_task(hear(subscriber, MESSAGES))
        offsets = await publish_all(publisher, texts, at_once=20)
        heard = await hearing
        proxy.budget = lambda: None
        log = await logged(proxy.url)
    assert proxy.cuts > CUTS
    assert [message.text for message in log] == texts
    assert [message["text"] for message in heard] == texts
    assert [message["offset"] for message in heard] == list(range(1, MESSAGES + 1)) == offsets


async def test_a_connection_that_only_the_client_has_lost_is_replaced(proxy: Proxy) -> None:
    """The session goes on while the server still holds the old end of it."""
    async with connected(proxy.url, "alice") as chat, connected(proxy.url, "bob") as other:
        client = await chat.ask("get", "client")
        proxy.forget()
        await chat.next_of("state", state="online", client=client, resumed=True)
        await other.ask("publish", "lobby", "still there?")
        assert (await chat.next_of("message"))["text"] == "still there?"
        members = (await chat.ask("who", "lobby"))["members"]
        assert sorted(member["name"] for member in members) == ["alice", "bob"]


async def test_a_connection_that_stalls_is_given_up() -> None:
    """Nothing is heard any more, and nobody says so: it asks for a sign of life, and connects anew."""
    settings = {"keepalive.ping_interval_seconds": 0.5, "keepalive.pong_timeout_seconds": 5.0}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(settings=settings))
        proxy = await stack.enter_async_context(proxied(server.port))
        chat = await stack.enter_async_context(connected(proxy.url, "alice"))
        other = await stack.enter_async_context(connected(server.ws_url, "bob"))
        proxy.stall()
        ack = chat.start("publish", "lobby", "lost on the way")
        await other.ask("publish", "lobby", "meanwhile")
        assert (await chat.next_of("state", state="waiting"))["reason"] == "the server was silent"
        proxy.reset()
        proxy.go_on()
        events = await chat.until(lambda event: event.get("state") == "online")
        assert summary(events)[-4:] == ["catchingup", 1, "caughtup 1", "online"]
        assert (await ack)["offset"] == 2


@pytest.mark.faults
@pytest.mark.parametrize("keeps_log", [True, False])
async def test_killed_and_started_again(tmp_path: Path, *, keeps_log: bool) -> None:
    """Where the log is kept it goes on in its session; where it is gone, a gap is told, and it is in its room again."""
    store = {"store.url": f"sqlite:///{tmp_path}/chat.db"} if keeps_log else {}
    settings = {**UNLIMITED, **store}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(settings=settings))
        proxy = await stack.enter_async_context(proxied(server.port))
        chat = await stack.enter_async_context(connected(proxy.url, "alice", wait_ms=50))
        await chat.ask("publish", "lobby", "before")
        await chat.next_of("message")
        await server.stop(signal.SIGKILL)
        await chat.next_of("state", state="waiting")
        publishing = chat.start("publish", "lobby", "meanwhile")
        server = await stack.enter_async_context(running(settings=settings))
        proxy.port = server.port
        events = await chat.until(lambda event: event.get("state") == "online")
        assert events[-1]["resumed"] is keeps_log
        assert any(event["kind"] == "gap" for event in events) is not keeps_log
        assert (await publishing)["offset"] == (2 if keeps_log else 1)
        assert (await chat.next_of("message"))["text"] == "meanwhile"
        assert await chat.ask("nameIn", "lobby") == "alice"
