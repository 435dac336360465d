"""SIGTERM: everybody is told, what came is delivered, and the process is gone in time."""

import asyncio
import signal

import pytest

from tests.raw import TINY, UNLIMITED, Raw, joined, need_descriptors, needs_proc
from tests.servers import Server, running

pytestmark = needs_proc


async def _goodbyes(readers: list[Raw]) -> list[int]:
    return list(await asyncio.gather(*(reader.closed() for reader in readers)))


async def _stop_with(server: Server, readers: list[Raw]) -> None:
    """All who read get the last line, then 1012; the server ends by itself."""
    await readers[0].say("the last words")
    await readers[0].hear()
    server.process.send_signal(signal.SIGTERM)
    codes = await _goodbyes(readers)
    for reader in readers:
        reader.close()
    assert codes == [1012] * len(readers)
    assert await server.process.wait() == 0


@pytest.mark.parametrize("count", [pytest.param(50, id="50"), pytest.param(1000, id="1000", marks=pytest.mark.faults)])
async def test_everybody_is_told_and_who_never_reads_holds_nothing_up(uvloop: bool, count: int) -> None:
    """Clients that read get 1012; one in fifty never reads, and is ended after the grace."""
    need_descriptors(count + 100)
    settings = {**UNLIMITED, "server.drain_seconds": 10, "logging.connections": False}
    async with (
        running(settings=settings, uvloop=uvloop) as server,
        joined(server, ["/ws"] * count) as readers,
        joined(server, ["/ws"] * (count // 50), receive_buffer=TINY),
    ):
        await _stop_with(server, readers)


async def test_what_was_said_right_before_is_delivered(uvloop: bool) -> None:
    """A line that the server has received when it is told to stop still reaches the room."""
    async with running(uvloop=uvloop) as server, joined(server, ["/ws"] * 2) as (speaker, listener):
        await speaker.say("before the end")
        assert await speaker.hear() == "before the end"
        server.process.send_signal(signal.SIGTERM)
        assert await listener.hear() == "before the end"
        assert await listener.closed() == 1012


async def test_idle_http_connections_do_not_hold_it_up() -> None:
    """A connection that never asked for anything is closed with the rest."""
    async with running() as server:
        idle = await Raw.dial(server)
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 0
        idle.close()


async def test_a_second_signal_ends_it_at_once() -> None:
    """Who does not want to wait for the grace of one that never reads need not."""
    async with running(settings=UNLIMITED) as server, joined(server, ["/ws"], receive_buffer=TINY):
        server.process.send_signal(signal.SIGTERM)
        await server.logged("stopping")
        server.process.send_signal(signal.SIGTERM)
        assert await server.process.wait() == 128 + signal.SIGTERM
