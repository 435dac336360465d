"""Every descriptor that the server may have is used up; and then there are some again."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.raw import Raw, joined, needs_proc, until
from tests.servers import Server, running

pytestmark = [pytest.mark.faults, needs_proc]

COMING = 300
LINES = 30  # of log, for hundreds of connections that cannot be accepted, and each of them tried for seconds


@contextmanager
def _no_descriptor_left(server: Server) -> Iterator[None]:
    """The server has those it has, and may have no more."""
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors(), limits[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)


async def test_with_no_descriptor_left_it_goes_on_and_later_accepts_again(uvloop: bool) -> None:
    """Who is there chats on, the log is not flooded; once there are some again, whoever comes is let in."""
    settings = {"logging.connections": False, "limits.messages_per_second": 0}
    async with running(settings=settings, uvloop=uvloop) as server, joined(server, ["/ws"] * 2) as talkers:
        descriptors = server.descriptors()
        with _no_descriptor_left(server):
            coming = [await Raw.dial(server) for _ in range(COMING)]
            for number in range(30):
                await talkers[0].say(f"line {number}")
                assert [await talker.hear() for talker in talkers] == [f"line {number}"] * 2
                await asyncio.sleep(0.1)  # three seconds in all, in which it tries to accept
            assert server.descriptors() < descriptors + 10
        for connection in coming:
            connection.close()
        await until(lambda: server.descriptors() == descriptors)
        async with joined(server, ["/ws"]) as late:
            await late[0].say("here at last")
            assert [await talker.hear() for talker in (*talkers, *late)] == ["here at last"] * 3
        await until(lambda: server.descriptors() == descriptors)
        assert len(server.log) < LINES, server.log
