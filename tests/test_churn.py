"""Connections that come and go, in good order and by reset, leave nothing behind."""

import asyncio

import pytest

from tests.raw import MIB, Raw, handshake, need_descriptors, needs_proc, until
from tests.servers import Server, running

pytestmark = needs_proc

_QUIET = {"logging.connections": False}


async def _come_and_go(server: Server, count: int, at_once: int) -> None:
    """`count` clients at the same time, then none."""
    gate = asyncio.Semaphore(at_once)

    async def come(number: int) -> Raw:
        async with gate:
            return await Raw.join(server, f"/ws/room-{number % 100}")

    clients = await asyncio.gather(*(come(number) for number in range(count)))
    await clients[0].say("hello")
    assert await clients[0].hear() == "hello"
    for number, client in enumerate(clients):
        if number % 2:
            client.reset()
        else:
            client.close()


@pytest.mark.parametrize(
    ("count", "times", "allowance"),
    [
        pytest.param(300, 3, 8 * MIB, id="300x3"),
        pytest.param(5000, 20, 24 * MIB, id="5000x20", marks=[pytest.mark.faults, pytest.mark.timeout(600)]),
    ],
)
async def test_coming_and_going_leaves_memory_and_descriptors_where_they_were(
    uvloop: bool, count: int, times: int, allowance: int
) -> None:
    """Measured after the first round, when the allocator has what it needs for so many."""
    need_descriptors(count + 200)
    async with running(settings=_QUIET, uvloop=uvloop) as server:
        descriptors = server.descriptors()
        await _come_and_go(server, count, 100)
        await until(lambda: server.descriptors() == descriptors)
        before = server.rss_bytes()
        for _ in range(times - 1):
            await _come_and_go(server, count, 100)
            await until(lambda: server.descriptors() == descriptors)
        assert server.rss_bytes() - before < allowance


@pytest.mark.parametrize(
    "count", [pytest.param(300, id="300"), pytest.param(3000, id="3000", marks=pytest.mark.faults)]
)
async def test_resets_during_the_upgrade_leave_hardly_a_line(uvloop: bool, count: int) -> None:
    """Fewer than 20 log lines, no traceback, no descriptor."""
    async with running(settings=_QUIET, uvloop=uvloop) as server:
        descriptors = server.descriptors()
        for _ in range(count):
            client = await Raw.dial(server)
            await client.send(handshake())
            client.reset()
        await until(lambda: server.descriptors() == descriptors)
        client = await Raw.join(server)
        await client.say("still here")
        assert await client.hear() == "still here"
        client.close()
        assert len(server.log) < 20, server.log
        assert not [line for line in server.log if "Traceback" in str(line)]
