"""Processes that stand still: that of fifty clients, and the server's own."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

import aiochat
from tests.raw import PING, PONG, UNLIMITED, Raw, joined, masked, needs_proc
from tests.servers import Server, Talker, running, talking

pytestmark = [pytest.mark.faults, needs_proc]

COUNT: Final = 50
MIB: Final = 1 << 20
ROOT: Final = Path(__file__).parent.parent


@asynccontextmanager
async def _listening(server: Server) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of clients, all of them in the lobby."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.listeners", server.ws_url, str(COUNT)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * MIB,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"here\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _heard(process: asyncio.subprocess.Process) -> list[list[str | None]]:
    assert process.stdout is not None
    heard: list[list[str | None]] = json.loads(await process.stdout.readline())
    return heard


async def _say(server: Server, lines: list[str]) -> None:
    """All acknowledged."""
    async with aiochat.connect(server.ws_url, rooms=["lobby"]) as chat:
        for start in range(0, len(lines), 100):
            await asyncio.gather(*(chat.publish("lobby", line) for line in lines[start : start + 100]))


async def _hear(talker: Talker, lines: list[str]) -> None:
    """Exactly these, and answer pings meanwhile."""
    for line in lines:
        assert await talker.hear() == line


@pytest.mark.parametrize("count", [200, 2000], ids=["a few lines", "more than their sockets take"])
async def test_clients_that_were_stopped_resume_without_loss(uvloop: bool, count: int) -> None:
    """They were dropped for their silence, or for what they did not take; who listens on hears all at once."""
    settings = {**UNLIMITED, "keepalive.ping_interval_seconds": 1, "keepalive.pong_timeout_seconds": 1}
    lines = [f"{number:04} ".ljust(200, "x") for number in range(count)]
    async with (
        running(settings=settings, uvloop=uvloop) as server,
        _listening(server) as process,
        talking(server.ws_url) as witness,
    ):
        process.send_signal(signal.SIGSTOP)
        witnessing = asyncio.create_task(_hear(witness, [*lines, "the end"]))
        await _say(server, lines)
        await server.logged("connection_closed", COUNT, code=4001)
        process.send_signal(signal.SIGCONT)
        await _say(server, ["the end"])
        assert await _heard(process) == [[*lines, "the end"]] * COUNT
        await witnessing


async def test_clients_that_were_stopped_for_a_moment_stay(uvloop: bool) -> None:
    """They go on where they stood, on the connections that they had."""
    lines = [f"{number:04} ".ljust(200, "x") for number in range(500)]
    async with running(settings=UNLIMITED, uvloop=uvloop) as server, _listening(server) as process:
        process.send_signal(signal.SIGSTOP)
        await _say(server, lines)
        process.send_signal(signal.SIGCONT)
        await _say(server, ["the end"])
        assert await _heard(process) == [[*lines, "the end"]] * COUNT
        assert len(await server.logged("connection_opened", COUNT)) == COUNT + 2


async def _answer_pings(client: Raw, last: str) -> None:
    """Until a line comes, which must be this one."""
    while (received := await client.frame()).opcode == PING:
        await client.send(masked(received.payload, PONG))
    assert received.payload.decode() == last


async def test_a_server_that_was_stopped_calls_nobody_silent(uvloop: bool) -> None:
    """It stood still for twice as long as its 300 clients may be silent, and had no ear for them: all are there."""
    silence_seconds = 3.0
    settings = {**UNLIMITED, "keepalive.ping_interval_seconds": 0.5, "keepalive.pong_timeout_seconds": 2.5}
    async with running(settings=settings, uvloop=uvloop) as server, AsyncExitStack() as stack:
        answering = []
        for _ in range(300):
            (client,) = await stack.enter_async_context(joined(server, ["/ws"]))
            answering.append(asyncio.create_task(_answer_pings(client, "we are all here")))
        for _ in range(2):
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2 * silence_seconds)
            server.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(silence_seconds / 2)  # as long as a mass of clients would take to be thrown out
        await client.say("we are all here")
        await asyncio.gather(*answering)
        assert not [line for line in server.log if line["event"] == "connection_closed"]
