"""Pings, silence and the end of what does not end by itself, tick by tick."""

import weakref
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aiochat import keepalive as module
from aiochat.config import Keepalive as Settings
from aiochat.keepalive import GRACE_SECONDS, Keepalive
from aiochat.monitoring.lag import Lag

INTERVAL, SILENCE, GRACE, SECOND = 100, 180, 8, 4  # in ticks of a quarter second


class Connection:
    """What is kept alive, with a note of what was done to it at which tick."""

    def __init__(self, keepalive: Keepalive) -> None:
        self.keepalive = keepalive
        self.heard = self.beat = self.next_ping = 0
        self.reads = True
        self.looks = 0
        self.pings: list[int] = []
        self.silences: list[int] = []
        self.aborts: list[int] = []
        keepalive.add(self)

    @property
    def is_reading(self) -> bool:
        self.looks += 1
        return self.reads

    def ping(self) -> None:
        self.pings.append(self.keepalive.ticks)

    def silent(self) -> None:
        self.silences.append(self.keepalive.ticks)
        self.keepalive.discard(self)
        self.keepalive.end(self)

    def abort(self) -> None:
        self.aborts.append(self.keepalive.ticks)


def kept(interval: float = 25, timeout: float = 20, every_second: Callable[[], None] = lambda: None) -> Keepalive:
    """A keepalive that ticks by hand."""
    return Keepalive(Settings(ping_interval_seconds=interval, pong_timeout_seconds=timeout), every_second, Lag(60))


def tick(keepalive: Keepalive, times: int, *hearing: Connection) -> None:
    """Let time pass, in which each of `hearing` says something all the time."""
    for _ in range(times):
        keepalive.tick()
        for connection in hearing:
            connection.heard = keepalive.ticks


def test_pings_are_spread_over_the_interval() -> None:
    """Of 10,000 connections that came at once, no tick pings more than twice the average."""
    keepalive = kept()
    connections = [Connection(keepalive) for _ in range(10_000)]
    tick(keepalive, INTERVAL)
    pings = Counter(ping for connection in connections for ping in connection.pings)
    assert pings.total() == 10_000
    assert max(pings.values()) < 2 * 10_000 / INTERVAL


def test_a_connection_is_pinged_once_in_every_interval() -> None:
    """At the same distance from one to the next."""
    keepalive = kept()
    connection = Connection(keepalive)
    tick(keepalive, 5 * INTERVAL, connection)
    first = connection.pings[0]
    assert 1 <= first <= INTERVAL
    assert connection.pings == [first + number * INTERVAL for number in range(5)]
    assert connection.silences == []


@given(st.lists(st.integers(1, SILENCE), max_size=8))
def test_silence_is_interval_and_timeout_after_the_last_byte(pauses: list[int]) -> None:
    """To the tick, whenever bytes came before: any of them counts as life, and no other time does."""
    keepalive = kept()
    connection = Connection(keepalive)
    for pause in pauses:
        tick(keepalive, pause - 1)
        assert connection.silences == []
        connection.heard = keepalive.ticks
    last = keepalive.ticks
    tick(keepalive, 2 * SILENCE)
    assert connection.silences == [last + SILENCE]


def test_who_is_silent_is_pinged_no_more_and_aborted_after_the_grace() -> None:
    """Its Close may still reach it; then its socket is freed whether it reads or not."""
    keepalive = kept()
    connection = Connection(keepalive)
    tick(keepalive, 3 * SILENCE)
    assert connection.aborts == [SILENCE + GRACE]
    assert max(connection.pings) <= SILENCE


def test_a_connection_that_we_paused_is_not_silent() -> None:
    """It cannot show its pong: the time counts from the end of the pause."""
    keepalive = kept()
    connection = Connection(keepalive)
    connection.reads = False
    tick(keepalive, 10 * SILENCE)
    assert connection.silences == []
    assert connection.looks <= 2 * 10 * SILENCE / INTERVAL, "looked at all the time"
    connection.reads = True
    connection.heard = resumed = keepalive.ticks
    tick(keepalive, 2 * SILENCE)
    assert connection.silences == [resumed + SILENCE]


def test_whoever_ends_is_aborted_after_the_grace() -> None:
    """Two seconds, each by itself and once, even those that were never added."""
    keepalive = kept()
    first, second = Connection(keepalive), Connection(keepalive)
    for connection in (first, second):
        keepalive.discard(connection)
        keepalive.end(connection)
        tick(keepalive, 3)
    tick(keepalive, 3 * SILENCE)
    assert (first.aborts, second.aborts) == ([GRACE], [3 + GRACE])
    assert GRACE * keepalive.tick_seconds == GRACE_SECONDS
    assert (first.pings, first.silences) == ([], [])


def test_a_connection_that_has_gone_is_not_held() -> None:
    """Neither at once, nor as an empty place for ever."""
    keepalive = kept()
    gone = [weakref.ref(connection) for connection in [Connection(keepalive) for _ in range(100)]]
    for reference in gone:
        connection = reference()
        assert connection is not None
        keepalive.discard(connection)
        keepalive.discard(connection)
        del connection
    assert not any(reference() for reference in gone)
    tick(keepalive, SILENCE)
    assert not keepalive._beats


def test_what_is_done_every_second_is_done_every_second() -> None:
    """On the same timer, whatever the length of a tick."""
    for interval, ticks_in_a_second in ((25, 4), (2, 10), (0.2, 100)):
        done: list[int] = []
        keepalive = kept(interval, every_second=lambda done=done: done.append(0))  # type: ignore[misc]
        tick(keepalive, 3 * ticks_in_a_second)
        assert len(done) == 3


def test_short_intervals_have_short_ticks() -> None:
    """A twentieth of the interval, so that its pings are still spread; never more than a quarter second."""
    assert [kept(interval).tick_seconds for interval in (25, 5, 1)] == [0.25, 0.25, 0.05]


def test_a_connection_that_fails_is_aborted_and_the_others_are_looked_at() -> None:
    """Whatever its transport raises, those of the same tick are pinged, and found silent."""
    keepalive = kept()
    connections = [Connection(keepalive) for _ in range(1000)]
    broken = connections[::10]
    for connection in broken:
        connection.ping = Mock(side_effect=RuntimeError)  # type: ignore[method-assign]
    with capture_logs() as logged:
        tick(keepalive, SILENCE)
    assert [line["event"] for line in logged] == ["connection_failed"] * len(broken)
    for connection in connections:
        assert bool(connection.aborts) == (connection in broken)
        assert bool(connection.pings and connection.silences) == (connection not in broken)


class Stopped(Exception):
    """The end of a test's time."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for asyncio: `sleep` moves `now`, and some sleeps take far longer than they should."""
    clock = SimpleNamespace(now=1000.0, stalls=[], slept=[])

    async def sleep(seconds: float) -> None:
        if not clock.stalls:
            raise Stopped
        clock.slept.append(seconds)
        clock.now += seconds + clock.stalls.pop(0)

    loop = SimpleNamespace(time=lambda: clock.now)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: loop))
    return clock


async def test_a_late_tick_moves_every_deadline(clock: SimpleNamespace) -> None:
    """A process that was stopped for ten minutes has heard nobody, and calls nobody silent for it."""
    keepalive = kept()
    connection = Connection(keepalive)
    clock.stalls = [600.0] * (SILENCE - 1)
    with pytest.raises(Stopped):
        await keepalive.run()
    assert (keepalive.ticks, connection.silences) == (SILENCE - 1, [])
    clock.stalls = [0.0]
    with pytest.raises(Stopped):
        await keepalive.run()
    assert connection.silences == [SILENCE]


async def test_ticks_do_not_drift(clock: SimpleNamespace) -> None:
    """What a tick takes is not added to the time until the next one; what was missed is not made up for."""
    keepalive = kept()
    clock.stalls = [0.1, 0.1, 0.6, 0.0, 0.0]
    with pytest.raises(Stopped):
        await keepalive.run()
    assert clock.slept == pytest.approx([0.25, 0.15, 0.15, 0, 0.25])


async def test_a_tick_that_fails_is_not_the_last(clock: SimpleNamespace) -> None:
    """It is logged, and the timer goes on."""
    keepalive = kept(every_second=Mock(side_effect=RuntimeError))
    clock.stalls = [0.0] * 9
    with capture_logs() as logged, pytest.raises(Stopped):
        await keepalive.run()
    assert keepalive.ticks == 9
    assert [line["event"] for line in logged] == ["tick_failed"] * 2
