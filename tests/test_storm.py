"""Everybody loses the connection at once and comes back at once: each gets exactly what it missed, and no more."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import aiochat
from tests.raw import MIB, UNLIMITED, Raw, need_descriptors, needs_proc, until
from tests.servers import Server, running

AT_ONCE = 200  # handshakes under way
MISSED = 100
JSON = "aiochat.v1.json"

pytestmark = needs_proc


class Session(NamedTuple):
    """What a client knows when its connection breaks."""

    client: str
    token: str
    epoch: str
    offset: int


async def _events(client: Raw, last: str) -> list[dict[str, Any]]:
    """All that comes, up to the first event of this type."""
    events: list[dict[str, Any]] = []
    while not any(event["type"] == last for event in events):
        events += map(msgspec.json.decode, (await client.hear()).split("\n"))
    return events


async def _come(server: Server) -> tuple[Raw, Session]:
    client = await Raw.join(server, "/ws/lobby", JSON)
    told = {event["type"]: event for event in await _events(client, "joined")}
    joined = told["joined"]
    return client, Session(told["welcome"]["client"], told["session"]["resume"], joined["epoch"], joined["offset"])


async def _come_back(server: Server, session: Session) -> tuple[Raw, list[str]]:
    """Back in the session; the texts that it missed."""
    client = await Raw.join(server, "/ws", JSON)
    since = {"epoch": session.epoch, "offset": session.offset}
    await client.say(
        msgspec.json.encode({"type": "resume", "token": session.token, "rooms": {"lobby": since}}).decode()
    )
    events = await _events(client, "joined")
    told = {event["type"]: event for event in events}
    joined = told["joined"]
    assert told["resumed"]["client"] == session.client
    assert (joined["recovered"], joined["more"]) == (True, False)
    assert [message["offset"] for message in joined["messages"]] == [*range(session.offset + 1, joined["offset"] + 1)]
    return client, [message["text"] for message in joined["messages"]]


@pytest.mark.parametrize(
    ("count", "allowance"),
    [
        pytest.param(200, 8 * MIB, id="200"),
        pytest.param(10_000, 64 * MIB, id="10000", marks=[pytest.mark.faults, pytest.mark.timeout(240)]),
    ],
)
async def test_all_come_back_at_once_and_catch_up(tmp_path: Path, count: int, allowance: int) -> None:
    """With what was said meanwhile, each message once; and the memory that it took is given back."""
    need_descriptors(count + 200)
    settings = {**UNLIMITED, "store.url": f"sqlite:///{tmp_path}/chat.db", "logging.connections": False}
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(coming: Any) -> Any:
        async with gate:
            return await coming

    async with running(settings=settings) as server:
        descriptors = server.descriptors()
        arrived = await asyncio.gather(*(gated(_come(server)) for _ in range(count)))
        before = server.rss_bytes()
        for client, _ in arrived:
            client.reset()
        await until(lambda: server.descriptors() <= descriptors)

        said = [f"{number} {'x' * 100}" for number in range(MISSED)]
        async with aiochat.connect(server.ws_url, rooms=["lobby"]) as chat:
            for text in said:
                await chat.publish("lobby", text)

        returned = await asyncio.gather(*(gated(_come_back(server, session)) for _, session in arrived))
        assert all(missed == said for _, missed in returned)
        assert server.rss_bytes() - before < allowance
        for client, _ in returned:
            client.close()
