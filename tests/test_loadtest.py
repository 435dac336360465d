"""The load test finds out what a server does wrong, and finds nothing where nothing is wrong."""

import asyncio
import json
import os
import signal
import ssl
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any

import psutil
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import example, given
from hypothesis import strategies as st

from aiochat.cli import main
from aiochat.loadtest import crew, lines, worker
from aiochat.loadtest.clients import Complaints, CountingClient, Sender
from aiochat.loadtest.crew import Crew, Verdict, checked
from aiochat.loadtest.histogram import Histogram, merged
from aiochat.loadtest.order import Order
from aiochat.loadtest.plan import Workload
from aiochat.loadtest.schedule import due_times
from aiochat.loadtest.server import find
from aiochat.loadtest.worker import Judged, Times

SIZE = 40
# Client 0 sends 20 messages in 0.2 seconds and counts, client 1 checks, client 2 counts.
THREE = Workload(clients=3, senders=1, window=0, rate=100, size=SIZE, seconds=0.2, warmup=0)
Socket = web.WebSocketResponse


class Room:
    """Broadcasts, and does one thing wrong with the fifth message."""

    def __init__(self, fault: str) -> None:
        self.fifth = FAULTS[fault]
        self.members: dict[Socket, web.Request] = {}
        self.count = 0
        self.held: list[str] = []

    async def publish(self, line: str, sender: Socket) -> None:
        self.count += 1
        if self.count == 5:
            await self.fifth(self, line, sender)
        else:
            await self.send(line, *self.held)
            self.held.clear()

    async def send(self, *given: str) -> None:
        for member in self.members:
            for line in given:
                await member.send_str(line)

    def part(self, sender: Socket) -> dict[Socket, web.Request]:
        """Takes all members out but the sender."""
        gone, self.members = self.members, {sender: self.members[sender]}
        return {socket: request for socket, request in gone.items() if socket is not sender}


async def _good(room: Room, line: str, sender: Socket) -> None:
    await room.send(line)


async def _drops(room: Room, line: str, sender: Socket) -> None:
    """Nobody gets it."""


async def _doubles(room: Room, line: str, sender: Socket) -> None:
    await room.send(line, line)


async def _reorders(room: Room, line: str, sender: Socket) -> None:
    room.held.append(line)


async def _forgets_one(room: Room, line: str, sender: Socket) -> None:
    request = room.members.pop(sender)
    await room.send(line)
    room.members[sender] = request


async def _refuses(room: Room, line: str, sender: Socket) -> None:
    await sender.send_str("! not sent: try again")


async def _pings(room: Room, line: str, sender: Socket) -> None:
    await sender.ping(b"~~")
    await room.send(line)


async def _joins_lines(room: Room, line: str, sender: Socket) -> None:
    await room.send(f"* a notice\n{line}")


async def _names_senders(room: Room, line: str, sender: Socket) -> None:
    await room.send(f"guest-7: {line}")


async def _chats(room: Room, line: str, sender: Socket) -> None:
    await room.send("~hello", line)


async def _closes(room: Room, line: str, sender: Socket) -> None:
    for other in room.part(sender):
        await other.close(code=4000)
    await room.send(line)


async def _aborts(room: Room, line: str, sender: Socket) -> None:
    for request in room.part(sender).values():
        assert request.transport is not None
        request.transport.abort()
    await room.send(line)


FAULTS: dict[str, Callable[[Room, str, Socket], Awaitable[None]]] = {
    fault.__name__.removeprefix("_"): fault
    for fault in (
        *(_good, _drops, _doubles, _reorders, _forgets_one, _refuses),
        *(_pings, _joins_lines, _names_senders, _chats, _closes, _aborts),
    )
}
MIXED = {"room-0": "drops", "room-1": "doubles", "room-2": "reorders", "room-3": "aborts"}


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, dict[str, Room]]]:
    """Its URL, and its rooms: one at /FAULT for each fault; those at /mixed/ROOM have different ones."""
    rooms: dict[str, Room] = {}

    async def join(request: web.Request) -> Socket:
        fault = request.match_info["fault"]
        room = rooms.setdefault(request.path, Room(MIXED[request.match_info["room"]] if fault == "mixed" else fault))
        socket = Socket()
        await socket.prepare(request)
        room.members[socket] = request
        async for message in socket:
            await room.publish(message.data, socket)
        return socket

    app = web.Application()
    app.add_routes([web.get("/{fault}", join), web.get("/{fault}/{room}", join)])
    test_server = TestServer(app, host="127.0.0.1")
    await test_server.start_server(ssl=tls)
    try:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{test_server.port}", rooms
    finally:
        await test_server.close()


async def judged(plan: Workload, url: str) -> Judged:
    """What one worker says after its load."""
    clients = Crew(plan, find(url), first=0)
    assert await clients.connect() == []
    start = time.monotonic()
    times = Times(start, start + plan.warmup, start + plan.warmup + plan.seconds)
    loaded = await worker.load(clients, times)
    await worker.settle(clients, loaded.sent)
    clients.leave()
    return worker.judge(clients, loaded.sent, times)


async def loadtest(*flags: str) -> tuple[int | None, Any]:
    """The real command: its exit code, and its JSON."""
    command = (sys.executable, "-m", "aiochat", "loadtest", *flags, "--json")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return process.returncode, json.loads(output)


@pytest.fixture
def quiet_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is given up soon: these servers answer at once."""
    monkeypatch.setattr(worker, "QUIET_SECONDS", 0.3)


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ("good", Verdict()),
        ("drops", Verdict(lost=3)),
        ("doubles", Verdict(doubled=3)),
        ("reorders", Verdict(out_of_order=1)),
        ("forgets_one", Verdict(lost=1)),
        ("pings", Verdict()),
        ("joins_lines", Verdict()),
        ("names_senders", Verdict()),
        ("chats", Verdict(doubled=2)),
    ],
)
@pytest.mark.usefixtures("quiet_soon")
async def test_every_delivery_is_accounted_for(fault: str, verdict: Verdict) -> None:
    """Each fault is counted once for each receiver it hit, and what is no fault is none."""
    async with server() as (url, _):
        assert (await judged(THREE, f"{url}/{fault}")).verdict == verdict


@pytest.mark.usefixtures("quiet_soon")
async def test_errors_of_the_server_are_counted_and_the_first_is_kept() -> None:
    """A line beginning with `! ` is an error; what it refused was sent and came nowhere."""
    async with server() as (url, _):
        result = await judged(THREE, f"{url}/refuses")
    assert (result.errors, result.first_error, result.verdict.lost) == (1, "! not sent: try again", 3)


@pytest.mark.parametrize(("fault", "code"), [("closes", 4000), ("aborts", 1006)])
async def test_dropped_clients_are_counted_by_close_code_and_not_as_loss(fault: str, code: int) -> None:
    """Who was dropped is not also reported as having lost the rest."""
    async with server() as (url, _):
        result = await judged(THREE, f"{url}/{fault}")
    assert (result.dropped, result.verdict) == (Counter({code: 2}), Verdict())


async def test_a_closed_loop_keeps_its_window_in_flight() -> None:
    """Echoes are followed by new messages until the end, over TLS too, and in each room only its own come."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plan = Workload(clients=6, senders=3, window=4, size=SIZE, rooms=3, seconds=0.5, warmup=0)
    async with server(context) as (url, _):
        clients = Crew(plan, find(f"{url}/good"), first=0)
        assert await clients.connect() == []
        start = time.monotonic()
        loaded = await worker.load(clients, Times(start, start, start + plan.seconds))
        await worker.settle(clients, loaded.sent)
        clients.leave()
    assert min(loaded.sent.values()) > plan.window
    assert clients.judge(loaded.sent) == Verdict()
    assert clients.latencies.total > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
async def test_more_clients_than_an_address_has_ports_use_more_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here after two clients, really after 20,000."""
    monkeypatch.setattr(crew, "CLIENTS_PER_ADDRESS", 2)
    async with server() as (url, rooms):
        clients = Crew(Workload(clients=5), find(f"{url}/good"), first=0)
        assert await clients.connect() == []
        remotes = Counter(request.remote for request in rooms["/good"].members.values())
        clients.leave()
    assert remotes == {"127.0.0.1": 2, "127.0.0.2": 2, "127.0.0.3": 1}


async def test_the_command_finds_out_a_bad_server() -> None:
    """End to end, through worker processes, exit code and JSON: rooms 0 to 3 drop, double, reorder and abort."""
    flags = "--clients 12 --senders 4 --slow 1 --rooms 4 --rate 80 --size 40 --seconds 1 --warmup 0 --processes 2"
    async with server() as (url, _):
        code, result = await loadtest(f"{url}/mixed", *flags.split())
    assert code == 1
    assert (result["lost"], result["doubled"], result["out_of_order"]) == (3, 3, 1)
    assert (result["dropped_clients"], result["close_codes"]) == (1, {"1006": 1})
    assert result["slow_clients_dropped"] == 1
    assert 0 < result["slow_client_seconds"] <= 30


async def test_it_starts_a_server_of_its_own_and_ends_it() -> None:
    """Without a URL there are figures of CPU too, and nothing is left running."""
    before = psutil.Process().children(recursive=True)
    code, result = await loadtest("--clients", "4", "--senders", "2", "--seconds", "0.3", "--warmup", "0")
    assert (code, result["lost"], result["dropped_clients"]) == (0, 0, 0)
    assert result["cpu_us_per_delivery"] >= 0
    assert result["pinned"] is (hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) > 1)
    assert psutil.Process().children(recursive=True) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_run_leaves_nothing_behind(number: signal.Signals) -> None:
    """Its server and its workers end with it."""
    command = (sys.executable, "-m", "aiochat", "loadtest", "--clients", "4", "--seconds", "50")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    while len(children := psutil.Process(process.pid).children()) < 2:  # noqa: ASYNC110 - no event tells of them
        await asyncio.sleep(0.02)
    process.send_signal(number)
    _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors.decode().startswith("aiochat loadtest: interrupted\n")  # a worker just born may complain behind it
    _, left = psutil.wait_procs(children, timeout=10)
    assert left == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--clients 0", "--clients"),
        ("--clients 10 --senders 8 --slow 3", "--slow"),
        ("--senders 70000 --clients 70000", "--senders"),
        ("--window 5 --rate 10", "--rate"),
        ("--window 0", "--window"),
        ("--rate 0", "--rate"),
        ("--rate nan", "--rate"),
        ("--senders 0 --rate 10", "senders"),
        ("--size 28", "29"),
        ("--rooms 201", "--rooms"),
        ("--seconds 0", "--seconds"),
        ("--warmup -1", "--warmup"),
        ("--processes 0", "--processes"),
        ("--pid 1", "URL"),
        ("ftp://127.0.0.1/ws", "ws://"),
        ("127.0.0.1:8080", "ws://"),
        ("ws://127.0.0.1:1/ws", "no server"),
        ("ws://127.0.0.1:port/ws", "ws://"),
    ],
)
def test_flags_that_make_no_sense_end_in_one_line(flags: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the line says what is wrong."""
    assert main(["loadtest", *flags.split()]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert named in errors


class Wire:
    """In place of a transport: counts the pongs that are written."""

    pongs = 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.pongs += data[0] == lines.PONG


def line_frame(sender: int = 3, size: int = SIZE) -> bytes:
    """A line as a server delivers it."""
    line = b"%b%08x%016x" % (lines.key(sender), 7, 1)
    return lines.frame_head(lines.TEXT, size) + line.ljust(size, b"a")


PIECES = {
    "line": line_frame(),
    "own": line_frame(sender=4),
    "ping": lines.frame_head(lines.PING, 2) + b"~~",
    "error": lines.frame_head(lines.TEXT, 6) + b"! oops",
    "notice": lines.frame_head(lines.TEXT, 300) + b"* ".ljust(300, b"-"),
}


@given(
    st.lists(st.sampled_from([*PIECES, "line", "line", "line"]), max_size=30),
    st.lists(st.integers(1, 500), min_size=1, max_size=20),
)
@example(["ping", "line"], [2 + SIZE])
def test_counting_is_exact_however_the_bytes_arrive(names: list[str], reads: list[int]) -> None:
    """Frames of any kind between the lines, in reads that end anywhere."""
    sender, complaints = Sender(4, lines.LineFrames(SIZE)), Complaints()
    client = CountingClient(0, sender, lines.LineFrames(SIZE), bytearray(1024), complaints)
    wire: Any = Wire()
    client.attach(wire)
    sender.refilling = True
    left, sizes = b"".join(PIECES[name] for name in names), cycle(reads)
    while left:
        read, left = left[: (size := next(sizes))], left[size:]
        client.get_buffer(-1)[: len(read)] = read
        client.buffer_updated(len(read))
    assert client.delivered == names.count("line") + names.count("own")
    assert complaints.count == names.count("error")
    assert sender.sent == names.count("own")
    assert wire.pongs == names.count("ping")


@pytest.mark.parametrize("size", [29, 125, 126, 65_535, 65_536])
def test_a_sent_frame_is_the_line_masked(size: int) -> None:
    """Length, mask and fields are where RFC 6455 and the receiver expect them."""
    frame = lines.LineFrames(size).frame(sender=5, sequence=9, sent_us=123)
    head = lines.frame_head(lines.TEXT, size)
    assert (frame[0], frame[1]) == (head[0], head[1] | 0x80)
    mask, masked = frame[len(head) : len(head) + 4], frame[len(head) + 4 :]
    line = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
    assert (len(line), lines.fields(line), line.strip()) == (size, (5, 9, 123), line)
    assert line.startswith(lines.key(5))


def test_frames_yields_whole_frames_only() -> None:
    """A frame whose end has not come yet is left for later, wherever it is cut."""
    stream = line_frame() + line_frame(size=200)
    assert [start for _, start, _ in lines.frames(stream, len(stream))] == [2, 2 + SIZE + 4]
    assert all(len([*lines.frames(stream, end)]) == 1 for end in range(2 + SIZE, len(stream)))


@pytest.mark.parametrize(
    ("sequences", "lost", "doubled", "out_of_order"),
    [
        ([0, 1, 2, 3], 0, 0, 0),
        ([0, 2, 3], 1, 0, 0),
        ([0, 1], 2, 0, 0),
        ([], 4, 0, 0),
        ([0, 1, 1, 2, 3], 0, 1, 0),
        ([0, 2, 1, 3], 0, 0, 1),
        ([3, 2, 1, 0], 0, 0, 3),
        ([0, 2, 1, 1, 3], 0, 1, 1),
        ([0, 3, 1, 3], 1, 1, 1),
    ],
)
def test_order_knows_lost_doubled_and_late(sequences: list[int], lost: int, doubled: int, out_of_order: int) -> None:
    """Of four messages of one sender; another sender's numbers do not mix with them."""
    order = Order()
    for sequence in sequences:
        order.take(1, sequence)
        order.take(2, order.expected.get(2, 0))
    sent = {1: 4, 2: order.expected.get(2, 0)}
    assert (order.lost(sent), order.doubled, order.out_of_order) == (lost, doubled, out_of_order)


@given(st.lists(st.integers(0, 1 << 40), min_size=1), st.floats(0.01, 1))
def test_percentiles_are_at_most_a_bucket_too_high(values: list[int], share: float) -> None:
    """Never below the true value, and at most 1.6 % above it."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = next(value for count, value in enumerate(sorted(values), 1) if count >= share * len(values))
    assert true <= histogram.percentile(share) <= true * 65 / 64
    assert histogram.percentile(1) == max(values)


def test_histograms_of_two_workers_add_up() -> None:
    """As if one had recorded it all; an empty one has nothing to say."""
    ones = [Histogram(), Histogram(), Histogram()]
    for value in range(100):
        ones[value % 2].record(value)
    total = merged(ones)
    assert (total.total, total.percentile(0.5), total.percentile(1)) == (100, 49, 99)
    assert merged([]).percentile(0.5) == 0


def test_two_workers_share_one_schedule() -> None:
    """Message k leaves at k / rate, from sender k modulo all, whoever runs that sender."""
    senders = [Sender(number, lines.LineFrames(SIZE)) for number in range(5)]
    shares = [islice(due_times(senders[first::2], 5, rate=10, start=100), 20) for first in (0, 1)]
    due = sorted((round(moment, 6), sender.number) for share in shares for moment, sender in share)
    assert due[:20] == [(100 + k / 10, k % 5) for k in range(20)]


@pytest.mark.parametrize(
    ("clients", "rooms", "slow"), [(1, 1, 0), (200, 1, 0), (1000, 500, 0), (7, 3, 1), (2000, 20, 100), (5, 5, 4)]
)
def test_some_clients_of_each_room_check_every_message(clients: int, rooms: int, slow: int) -> None:
    """At least one in each of up to 20 rooms that has a reader, and never a slow one."""
    numbers = checked(Workload(clients=clients, rooms=rooms, slow=slow))
    rooms_read = {number % rooms for number in range(clients - slow)}
    per_room: dict[int, int] = defaultdict(int)
    for number in numbers:
        assert 0 <= number < clients - slow
        per_room[number % rooms] += 1
    assert len(per_room) == min(20, len(rooms_read))
