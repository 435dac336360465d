"""Every descriptor that the server may have is used up; and then there are some again."""

import asyncio

import pytest

from tests.raw import Raw, joined, needs_proc, until
from tests.servers import running

pytestmark = [pytest.mark.faults, needs_proc]

LIMIT = 300
LINES = 30  # of log, for thousands of connections that cannot be accepted


async def test_with_no_descriptor_left_it_goes_on_and_later_accepts_again(uvloop: bool) -> None:
    """Who is there chats on, the log is not flooded; once some are given back, whoever comes is let in."""
    settings = {"logging.connections": False, "limits.handshake_seconds": 60, "limits.messages_per_second": 0}
    async with (
        running(settings=settings, uvloop=uvloop, descriptors=LIMIT) as server,
        joined(server, ["/ws"] * 2) as talkers,
    ):
        descriptors = server.descriptors()
        idle = [await Raw.dial(server) for _ in range(2 * LIMIT)]
        try:
            await until(lambda: server.descriptors() == LIMIT)
            for number in range(30):
                await talkers[0].say(f"line {number}")
                assert [await talker.hear() for talker in talkers] == [f"line {number}"] * 2
                await asyncio.sleep(0.1)  # three seconds in all, in which it tries to accept
        finally:
            for connection in idle:
                connection.close()
        await until(lambda: server.descriptors() == descriptors)
        async with joined(server, ["/ws"]) as late:
            await late[0].say("here at last")
            assert [await talker.hear() for talker in (*talkers, *late)] == ["here at last"] * 3
        await until(lambda: server.descriptors() == descriptors)
        assert len(server.log) < LINES, server.log
