"""The wall clock is set an hour ahead, and back: only what has a date cares, all other time is the loop's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.programs import offsets, program
from tests.raw import PING, PONG, masked
from tests.servers import Server, running
from tests.sockets import Wire, wired

pytestmark = pytest.mark.faults

HOUR: Final = 3600
SILENCE_SECONDS: Final = 1.5
SETTINGS: Final = {"keepalive.ping_interval_seconds": 0.1, "keepalive.pong_timeout_seconds": SILENCE_SECONDS - 0.1}
PINGS: Final = 20  # of one client: longer than it may be silent

# The time is what it is and what stands in a file.
_BEFORE: Final = """
import pathlib, time
shift, true_ns = pathlib.Path({file!r}), time.time_ns
time.time_ns = lambda: true_ns() + int(shift.read_text()) * 10**9
time.time = lambda: time.time_ns() / 1e9
""".strip()


class Clock:
    """That of one server."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        self._file = file

    def set(self, seconds: int) -> None:
        """So far ahead of what it was at the start."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)  # at once: the server reads it at any time


@pytest.fixture
async def clock(uvloop: bool, tmp_path: Path) -> AsyncIterator[Clock]:
    """A server, and its clock."""
    file = tmp_path / "shift"
    file.write_text("0")
    before = f"exec({_BEFORE.format(file=str(file))!r})"
    async with running(settings=SETTINGS, uvloop=uvloop, before=before) as server:
        yield Clock(server, file)


async def _answer_pings(wire: Wire) -> None:
    for _ in range(PINGS):
        await wire.next_of(PING)
        await wire.send(masked(b"", PONG))


async def test_nobody_is_thrown_out(clock: Clock) -> None:
    """Who answers pings stays and talks, and who is in the room hears no joining and leaving."""
    server = clock.server
    async with wired(server) as alice, wired(server) as bob:
        for seconds in (HOUR, 0, -HOUR, 0):
            clock.set(seconds)
            await asyncio.gather(_answer_pings(alice), _answer_pings(bob))
            await alice.say("still here")
            assert [await alice.hear(), await bob.hear()] == ["still here"] * 2
        assert not [line for line in server.log if line["event"] == "connection_closed"]


async def test_times_keep_the_order_of_offsets(clock: Clock) -> None:
    """A clock set ahead shows at once; one set back makes no message older than the one before it."""
    async with program(clock.server, "lobby") as alice:
        times = []
        for seconds in (0, HOUR, 0, -HOUR, 2 * HOUR):
            clock.set(seconds)
            times.append((await alice.ask("publish", room="lobby", text="hello"))["ts"])
        assert times == sorted(times)
        assert times[1] - times[0] >= HOUR * 1000
        assert times[4] - times[3] >= HOUR * 900
        page = await alice.ask("history", room="lobby", after=0)
        assert offsets(page["messages"]) == [1, 2, 3, 4, 5]
        assert [message["ts"] for message in page["messages"]] == times


async def _resumed(server: Server, token: str) -> str:
    """What a new connection gets for the token."""
    async with program(server) as client:
        answer = await client.ask("resume", token=token)
        return str(answer.get("code", answer["type"]))


async def test_a_session_has_a_date_at_which_it_ends(clock: Clock) -> None:
    """A token of ten minutes is of no use an hour later by the clock, and good again once that is put right."""
    async with program(clock.server, "lobby") as alice:
        token = alice.token
        clock.set(HOUR)
        assert await _resumed(clock.server, token) == "session_lost"
        clock.set(0)
        assert await _resumed(clock.server, token) == "resumed"


async def test_a_key_is_known_for_its_time_by_the_clock(clock: Clock) -> None:
    """A message published again an hour later by the clock is a new one; set back, the clock makes no key unknown."""
    async with program(clock.server, "lobby") as alice:
        said = {"room": "lobby", "text": "once", "key": "a-key-of-mine"}
        first = await alice.ask("publish", **said)
        assert (await alice.ask("publish", **said))["repeated"]
        clock.set(HOUR)
        second = await alice.ask("publish", **said)
        assert ("repeated" in second, second["offset"]) == (False, first["offset"] + 1)
        clock.set(0)
        again = await alice.ask("publish", **said)
        assert (again["repeated"], again["offset"]) == (True, second["offset"])
