"""Clients that really stop reading: each bound of their queue drops them, and nobody else notices."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.raw import KIB, MIB, PING, TINY, UNLIMITED, Raw, joined, masked, needs_proc, until
from tests.servers import Server, running

pytestmark = needs_proc

_WINDOW = 250  # lines in flight: few enough that no reader of this test becomes a slow one
_MAX_MESSAGES, _MAX_BYTES = 8192, MIB  # of default.toml


async def _exchange(talkers: Sequence[Raw], lines: Sequence[str]) -> None:
    """The first says the lines; all of them hear every one, in order."""
    for start in range(0, len(lines), _WINDOW):
        window = lines[start : start + _WINDOW]
        await talkers[0].say(*window)
        await asyncio.gather(*(talker.hear_all(window) for talker in talkers))


def _lines(count: int, size: int) -> list[str]:
    return [f"{number:06} ".ljust(size, "x") for number in range(count)]


async def _clients(server: Server, count: int) -> list[str]:
    """Their ids, in the order in which they came."""
    return [line["client"] for line in await server.logged("connection_opened", count)]


@pytest.mark.parametrize(
    ("count", "size", "full"),
    [
        pytest.param(12_000, 100, "queued_messages", id="max_messages"),
        pytest.param(1_600, 1_000, "queued_bytes", id="max_bytes"),
    ],
)
async def test_a_client_that_stops_reading_is_dropped_when_its_queue_is_full(
    uvloop: bool, count: int, size: int, full: str
) -> None:
    """It is logged once, gone from the room, and its socket is closed though it never reads; others hear every line."""
    async with running(settings=UNLIMITED, uvloop=uvloop) as server, joined(server, ["/ws"] * 3) as talkers:
        descriptors = server.descriptors()
        async with joined(server, ["/ws"], receive_buffer=TINY):
            *_, slow = await _clients(server, 4)

            await _exchange(talkers, _lines(count, size))

            (dropped,) = await server.logged("client_dropped")
            limit = {"queued_messages": _MAX_MESSAGES, "queued_bytes": _MAX_BYTES}
            assert dropped["client"] == slow
            assert limit[full] * 0.7 < dropped[full] <= limit[full]
            assert all(dropped[bound] <= limit[bound] for bound in limit)
            assert dropped["stalled_seconds"] >= 0

            await talkers[1].say("/who")
            who = await talkers[1].hear()
            assert who.startswith("* 3 in lobby: ")
            assert slow not in who

            await server.logged("connection_closed", client=slow, code=4000)
            await until(lambda: server.descriptors() == descriptors)
            assert len(await server.logged("client_dropped")) == 1


async def _talk_on(talkers: Sequence[Raw], done: asyncio.Event) -> float:
    """A slow chat until `done`; the longest that any line took to be heard by all, in seconds."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    while not done.is_set():
        began = loop.time()
        await _exchange(talkers, ["how are you?"])
        longest = max(longest, loop.time() - began)
        await asyncio.sleep(0.01)
    return longest


async def _stalls(server: Server, stall_seconds: float) -> None:
    """One client of four stops reading with less in its queue than would fill it."""
    async with joined(server, ["/ws"] * 3) as talkers:
        descriptors = server.descriptors()
        async with joined(server, ["/ws"], receive_buffer=TINY):
            *_, slow = await _clients(server, 4)
            await _exchange(talkers, _lines(5_000, 100))
            is_dropped = asyncio.Event()
            talking = asyncio.create_task(_talk_on(talkers, is_dropped))

            (dropped,) = await server.logged("client_dropped", client=slow)
            is_dropped.set()
            longest = await talking

            assert dropped["stalled_seconds"] >= stall_seconds
            assert 0 < dropped["queued_messages"] < _MAX_MESSAGES
            assert 0 < dropped["queued_bytes"] < _MAX_BYTES
            assert longest < stall_seconds, "somebody had to wait for the client that does not read"
            await server.logged("connection_closed", client=slow, code=4000)
            await until(lambda: server.descriptors() == descriptors)
            assert len(await server.logged("client_dropped")) == 1


@pytest.mark.faults
async def test_a_client_that_takes_nothing_for_stall_seconds_is_dropped(uvloop: bool) -> None:
    """However little waits for it; meanwhile the others chat on."""
    async with running(settings={**UNLIMITED, "queue.stall_seconds": 2}, uvloop=uvloop) as server:
        await _stalls(server, 2)


@pytest.mark.faults
async def test_a_client_that_takes_nothing_is_dropped_with_the_settings_of_default_toml(uvloop: bool) -> None:
    """The same with ten seconds, and the others are not slowed for any of them."""
    async with running(settings=UNLIMITED, uvloop=uvloop) as server:
        await _stalls(server, 10)


async def _fill(server: Server, path: str, size: int) -> None:
    """Say `size` bytes in a room."""
    async with joined(server, [path]) as talkers:
        await _exchange(talkers, _lines(size // (8 * KIB), 8 * KIB))


@pytest.mark.faults
async def test_the_memory_of_those_who_are_dropped_is_free_at_once(uvloop: bool) -> None:
    """Thirty queues of a megabyte, each with lines of its own, leave nothing behind."""
    settings = {**UNLIMITED, "queue.stall_seconds": 2, "history.max_bytes": 4 * MIB}
    rooms = [f"/ws/{number}" for number in range(30)]
    async with running(settings=settings, uvloop=uvloop) as server:
        descriptors = server.descriptors()
        for number in range(10):
            await _fill(server, f"/ws/warm-{number}", MIB)
        before = server.rss_bytes()
        async with joined(server, rooms, receive_buffer=TINY):
            for room in rooms:
                await _fill(server, room, MIB)
            assert server.rss_bytes() - before > 20 * MIB, "what was to be freed was never there"

            await server.logged("client_dropped", len(rooms))
            await server.logged("connection_closed", len(rooms), code=4000)
            await until(lambda: server.descriptors() == descriptors)
            await until(lambda: server.rss_bytes() - before < 4 * MIB)


async def _flood(server: Server, floods: Sequence[bytes], codes: set[int], others: int = 0) -> None:
    """A client for each flood sends it over and over and never reads: all are dropped, and leave nothing behind."""
    before, descriptors = server.rss_bytes(), server.descriptors()
    async with joined(server, ["/ws"] * len(floods), receive_buffer=TINY) as flooders:
        pairs = zip(flooders, floods, strict=True)
        await asyncio.gather(*(flooder.send_until_gone(flood) for flooder, flood in pairs))
        for client in (await _clients(server, others + len(floods)))[others:]:
            (closed,) = await server.logged("connection_closed", client=client)
            assert closed["code"] in codes
        await until(lambda: server.descriptors() == descriptors)
    assert server.peak_bytes() - before < (2 + len(floods)) * MIB
    await until(lambda: server.rss_bytes() - before < 6 * MIB)


@pytest.mark.faults
async def test_a_pinger_that_never_reads_is_dropped(uvloop: bool) -> None:
    """However lively it seems. Of the pings it has no pong to yet only the newest is kept, so they cost nothing."""
    settings = {**UNLIMITED, "queue.stall_seconds": 2}
    async with running(settings=settings, uvloop=uvloop) as server, joined(server, ["/ws"]) as talkers:
        pinging = asyncio.create_task(_flood(server, [masked(b"p" * 125, PING)] * 2, {4000}, others=1))
        await server.logged("connection_opened", 3)
        await _exchange(talkers, _lines(5_000, 100))
        await pinging


async def _ask(settings: dict[str, Any], codes: set[int], uvloop: bool) -> None:
    """Five clients for each kind of question, in a room of 200 members and a long history."""
    questions = (b"/who", b"/history 300", b"/rooms", b"/what?")
    async with running(settings=settings, uvloop=uvloop) as server, joined(server, ["/ws"]) as talkers:
        await _exchange(talkers, _lines(60, 8 * KIB))
        async with joined(server, ["/ws"] * 200):
            await _flood(server, [masked(question) * 500 for question in questions] * 5, codes, others=201)


@pytest.mark.faults
async def test_who_asks_and_never_reads_the_answers_is_dropped() -> None:
    """Answers and errors count in the queue like any message."""
    await _ask({**UNLIMITED, "queue.stall_seconds": 2}, {4000}, uvloop=True)


@pytest.mark.faults
async def test_who_asks_and_never_reads_is_dropped_with_the_settings_of_default_toml(uvloop: bool) -> None:
    """The same where the rate limit ends most of them, on both loops."""
    await _ask({}, {4000, 4429}, uvloop)


async def test_the_holder_of_the_oldest_goes_first_when_all_queues_together_are_full() -> None:
    """Sixteen queues in rooms of their own, of which half fit: the later ones keep all they have."""
    settings = {**UNLIMITED, "queue.total_bytes": 6 * MIB, "queue.stall_seconds": 50}
    rooms = [f"/ws/{number}" for number in range(16)]
    async with running(settings=settings) as server, joined(server, rooms, receive_buffer=TINY) as slow:
        clients = await _clients(server, len(rooms))
        for room in rooms:
            await _fill(server, room, MIB)

        dropped = await server.logged("client_dropped")
        assert [line["client"] for line in dropped] == clients[: len(dropped)]
        assert {line["reason"] for line in dropped} == {"all outgoing queues together are full"}
        kept = len(rooms) - len(dropped)
        assert kept * dropped[0]["queued_bytes"] <= 6 * MIB < (kept + 2) * dropped[0]["queued_bytes"]
        for client in slow[len(dropped) :]:
            await client.hear_all(_lines(MIB // (8 * KIB), 8 * KIB))
