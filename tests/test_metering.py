"""The byte budget of a connection: what floods below the level of messages cost, and that nothing of them is lost."""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import pytest

from aiochat.auth.identity import ANYBODY, Identity
from aiochat.codecs import DEFAULT_CODEC
from aiochat.connection import Connection
from aiochat.connections import Connections
from tests.hubs import Chat
from tests.raw import CONTINUATION, PING, masked

PONG = 0xA
RATE = 10_000
KIB = 1 << 10


class Clock:
    """A loop's time and timers; `move` lets both go on."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        heappush(self._timers, (self.now + seconds, len(self._timers), call))

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, call = heappop(self._timers)
            call()
        self.now = end


class Socket(asyncio.Transport):
    """Takes everything; says whether it is read from, and for how long at most it was not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self.longest_pause = 0.0
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self._since is None

    def pause_reading(self) -> None:
        if self._since is None:
            self._since = self._clock.now

    def resume_reading(self) -> None:
        if self._since is not None:
            self.longest_pause = max(self.longest_pause, self._clock.now - self._since)
        self._since = None


class Line:
    """One connection, by hand."""

    def __init__(self, **limits: Any) -> None:
        self.chat = Chat(limits={"bytes_per_second": RATE, "messages_per_second": 0, **limits})
        self.clock = Clock()
        self.shared = Connections(self.chat.config, self.chat.hub)
        self.shared.loop = self.clock  # type: ignore[assignment]

    async def connect(self, user: str | None = None, address: str = "") -> tuple[Connection, Socket]:
        socket = Socket(self.clock)
        identity = ANYBODY if user is None else Identity(user=user)
        connection = Connection(self.shared, socket, address, DEFAULT_CODEC, identity)
        self.chat.hub.attach(connection.client, "lobby")
        await self.chat.turn(2)
        return connection, socket


@pytest.mark.parametrize(
    ("piece", "costs"),
    [
        pytest.param(masked(b"", PING), 70, id="pings"),
        pytest.param(masked(b"", PONG), 70, id="pongs"),
        pytest.param(masked(b""), 70, id="empty messages"),
        pytest.param(masked(b"", CONTINUATION, fin=False), 6, id="empty continuations"),
        pytest.param(masked(b"x", CONTINUATION, fin=False), 7, id="one-byte fragments"),
    ],
)
async def test_a_flood_of_frames_is_parsed_at_the_rate_of_its_cost(piece: bytes, costs: int) -> None:
    """A burst, and one slice of 4 KiB in debt; then so much a second, whatever is in one read."""
    line = Line()
    connection, socket = await line.connect()
    connection.data_received(masked(b"begin", fin=piece[0] != CONTINUATION))
    flood = piece * (64 * KIB // len(piece))
    connection.data_received(flood)
    assert not socket.is_reading()
    slice_costs = 4 * KIB // len(piece) * costs
    for _ in range(60):
        line.clock.move(0.25)
        if connection._rest is None:
            break
        parsed = len(flood) - len(connection._rest)
        assert parsed // len(piece) * costs <= RATE + RATE * line.clock.now + slice_costs + costs + 100
    assert (connection._rest is None) == (len(flood) // len(piece) * costs < 15 * RATE)


async def test_what_waits_for_the_budget_is_not_lost() -> None:
    """Each line comes, in order, also those that came while the first ones waited."""
    line = Line()
    connection, socket = await line.connect()
    lines = [f"{number:0500}" for number in range(60)]
    frames = [masked(line.encode()) for line in lines]
    connection.data_received(b"".join(frames[:50]))
    connection.data_received(b"".join(frames[50:]))
    assert not socket.is_reading()
    for _ in range(100):
        line.clock.move(0.1)
        await line.chat.turn(2)
    assert socket.is_reading()
    heard = bytes(socket.written)
    positions = [heard.index(line.encode()) for line in lines]
    assert positions == sorted(positions)


async def test_no_pause_is_longer_than_five_seconds() -> None:
    """Whatever is owed: a client that cannot be heard cannot show that it lives."""
    line = Line(bytes_per_second=100)
    connection, socket = await line.connect()
    for _ in range(5):
        connection.data_received(masked(b"x" * 3000))
        line.clock.move(5)
        assert socket.is_reading()
    assert 4.9 < socket.longest_pause <= 5


async def test_what_waits_is_dropped_at_the_end() -> None:
    """After a Close of ours nothing that a client sent before counts; what still comes is read, and dropped."""
    line = Line()
    connection, socket = await line.connect()
    connection.data_received(masked(b"x" * 500) * 50)
    assert connection._rest is not None
    connection.outbox.close(4400, "enough")
    assert socket.is_reading()
    connection.data_received(masked(b"y" * 500) * 50)
    line.clock.move(10)
    await line.chat.turn(2)
    assert connection.client.messages_in < 50
    assert connection._rest is None


@pytest.mark.parametrize("limit", ["user_bytes_per_second", "address_bytes_per_second"])
async def test_all_clients_of_a_user_or_address_share_bytes(limit: str) -> None:
    """One that sends puts the other, which did not, into debt; a third one is not concerned."""
    line = Line(bytes_per_second=0, **{limit: RATE})
    mine = ("alice", "2001:db8::1")
    (one, first), (two, second) = await line.connect(*mine), await line.connect("alice", "2001:db8::2")
    other, third = await line.connect("bob", "2001:db8:0:1::1")
    one.data_received(masked(b"x" * 3000) * 5)
    for connection in (two, other):
        connection.data_received(masked(b"hi"))
    assert [socket.is_reading() for socket in (first, second, third)] == [False, False, True]
