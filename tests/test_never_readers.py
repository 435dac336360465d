"""Many who never read among many who do, under load: nobody who reads misses anything, not even at the end."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

import aiochat
from aiochat.sdk import ChatClient
from tests.programs import JSON, Event, program
from tests.raw import KIB, MIB, TINY, UNLIMITED, Raw, joined, need_descriptors, needs_proc, until
from tests.servers import Server, running
from tests.wire import CLOSE, Frame, frames_of

pytestmark = [pytest.mark.faults, needs_proc, pytest.mark.timeout(300)]

A_SECOND: Final = 500  # messages
SPEAKERS: Final = 10
SETTINGS: Final = {
    **UNLIMITED,
    "keepalive.ping_interval_seconds": 1_000_000,
}  # readers are sent nothing but what is said


class Load:
    """Ten clients that speak, so much a second as far as the machine goes along; `acknowledged` is in no order."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.is_over = False
        self.publishing: list[asyncio.Task[None]] = []

    async def speak(self, chat: ChatClient, label: str) -> None:
        for number in count():
            if self.is_over:
                return
            self.publishing.append(asyncio.create_task(self._publish(chat, f"{label}-{number} ".ljust(200, "x"))))
            await asyncio.sleep(SPEAKERS / A_SECOND)

    async def _publish(self, chat: ChatClient, text: str) -> None:
        await chat.publish("lobby", text)
        self.acknowledged.append(text)


@asynccontextmanager
async def _load(server: Server) -> AsyncIterator[Load]:
    load = Load()
    chats = [aiochat.connect(server.ws_url, rooms=["lobby"]) for _ in range(SPEAKERS)]
    await asyncio.gather(*(chat.open() for chat in chats))
    tasks = [asyncio.create_task(_ignore(chat)) for chat in chats]
    tasks += [asyncio.create_task(load.speak(chat, str(number))) for number, chat in enumerate(chats)]
    try:
        yield load
    finally:
        for task in (*tasks, *load.publishing):
            task.cancel()
        await asyncio.gather(*tasks, *load.publishing, return_exceptions=True)
        await asyncio.gather(*(chat.close() for chat in chats))


async def _ignore(chat: ChatClient) -> None:
    """Take what comes, or no more would."""
    async for _ in chat:
        pass


async def _chunks(reader: Raw, up_to: bytes) -> AsyncIterator[bytes]:
    """All that comes up to these bytes, or the end of the connection."""
    tail = b""
    while not tail.endswith(up_to):
        data = await reader._loop.sock_recv(reader.socket, 64 * KIB)
        if not data:
            return
        yield data
        tail = (tail + data)[-len(up_to) :]


async def _read(reader: Raw, up_to: bytes) -> bytes:
    return b"".join([data async for data in _chunks(reader, up_to)])


async def _digest(reader: Raw, up_to: bytes) -> bytes:
    digest = hashlib.sha256()
    async for data in _chunks(reader, up_to):
        digest.update(data)
    return digest.digest()


async def test_a_hundred_who_never_read_cost_two_hundred_readers_nothing(uvloop: bool) -> None:
    """At 500 messages a second all readers hear all that was acknowledged, in one order; the others are dropped."""
    need_descriptors(500)
    async with running(settings=SETTINGS, uvloop=uvloop) as server, joined(server, ["/ws"] * 200) as readers:
        descriptors, before = server.descriptors(), server.peak_bytes()
        first = asyncio.create_task(_read(readers[0], b"the end"))
        others = [asyncio.create_task(_digest(reader, b"the end")) for reader in readers[1:]]
        async with joined(server, ["/ws"] * 100, receive_buffer=TINY), _load(server) as load:
            await server.logged("connection_closed", 100, code=4000)
            load.is_over = True
            await asyncio.gather(*load.publishing)
        await until(lambda: server.descriptors() == descriptors)
        await readers[0].say("the end")
        heard = await first
        assert set(await asyncio.gather(*others)) == {hashlib.sha256(heard).digest()}
        lines = [frame.payload.decode() for frame in frames_of(heard)]
        assert sorted(lines) == sorted([*load.acknowledged, "the end"])
        assert server.peak_bytes() - before < 32 * MIB


def _said(frames: list[Frame]) -> set[str]:
    events = [msgspec.json.decode(line) for frame in frames for line in frame.payload.split(b"\n")]
    return {event["text"] for event in events if event["type"] == "message"}


async def _log(settings: dict[str, Any]) -> set[str]:
    """What a server that starts again knows."""
    said: set[str] = set()
    async with running(settings=settings) as server, program(server, "lobby") as reader:
        page: Event = {"more": True}
        offset = 0
        while page["more"]:
            page = await reader.ask("history", room="lobby", after=offset, limit=300)
            said |= {message["text"] for message in page["messages"]}
            offset = page["messages"][-1]["offset"]
    return said


async def test_a_stop_under_load_takes_nothing_from_who_reads(uvloop: bool, tmp_path: Path) -> None:
    """All 500 get everything that was acknowledged, `goodbye` with a time of their own, 1012; 50 never read."""
    need_descriptors(1000)
    settings = {**SETTINGS, "store.url": f"sqlite:///{tmp_path}/chat.db", "logging.connections": False}
    loop = asyncio.get_running_loop()
    async with (
        running(settings=settings, uvloop=uvloop) as server,
        joined(server, ["/ws/lobby"] * 500, subprotocol=JSON) as readers,
        joined(server, ["/ws/lobby"] * 50, receive_buffer=TINY),
    ):
        reading = [asyncio.create_task(_read(reader, b"there is no such end")) for reader in readers]
        async with _load(server) as load:
            await until(lambda: len(load.acknowledged) > 500)
            server.process.send_signal(signal.SIGTERM)
            began = loop.time()
            assert await server.process.wait() == 0
            assert loop.time() - began < 10 + 1  # server.drain_seconds
            received = await asyncio.gather(*reading)
        after = set()
        for data in received:
            *frames, close = frames_of(data)
            assert (close.opcode, close.code) == (CLOSE, 1012)
            assert _said(frames) >= set(load.acknowledged)
            goodbye = msgspec.json.decode(frames[-1].payload.split(b"\n")[-1])
            assert (goodbye["type"], goodbye["code"]) == ("goodbye", 1012)
            after.add(goodbye["after_ms"])
        assert len(after) > 100, "they would all come back at once"
    assert await _log(settings) >= set(load.acknowledged)
