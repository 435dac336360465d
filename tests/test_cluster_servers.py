"""Two real servers on one Redis: people talk across them, one server is killed, and a half-open session moves."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

import aiochat
from aiochat.messages import Message, Presence
from aiochat.sdk import Backoff, ChatClient
from tests import redis_server
from tests.servers import Server, running

SOON = Backoff(shortest_seconds=0.01, longest_seconds=0.2)
SWEPT_SECONDS = 30  # what is promised, from the end of a node


def settings(url: str) -> dict[str, Any]:
    """Of both servers."""
    return {"store.url": url, "presence.interval_ms": 50, "presence.grace_seconds": 1}


async def come(server: Server, name: str, **options: Any) -> ChatClient:
    """A client in the lobby."""
    return await aiochat.connect(server.ws_url, name=name, rooms=["lobby"], backoff=SOON, **options)


async def heard(chat: ChatClient, is_it: Any) -> Any:
    """The first event that is so."""
    async for event in chat:
        if is_it(event):
            return event
    raise AssertionError("the connection has ended")


@pytest.mark.faults
@pytest.mark.timeout(120)
async def test_what_a_killed_server_leaves_is_gone_within_thirty_seconds() -> None:
    """Its members, told as gone, and their names; the other server goes on as if nothing had happened."""
    with redis_server.running() as redis:
        async with running(settings=settings(redis.url)) as first, running(settings=settings(redis.url)) as second:
            alice = await come(first, "alice")
            bob = await come(second, "bob")
            await bob.publish("lobby", "hi")
            assert (await heard(alice, lambda event: isinstance(event, Message))).sender.name == "bob"
            second.process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(SWEPT_SECONDS):
                await heard(alice, lambda event: isinstance(event, Presence) and [s.name for s in event.went] == ["bob"])
            again = await come(first, "bob")
            assert again.name_in("lobby") == "bob"
            await asyncio.gather(alice.close(), again.close(), bob.close())
