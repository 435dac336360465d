"""What workers tell and what is seen of the server become one timeline and one round."""

import pytest

from aiochat.loadtest.links import Judged, Tick
from aiochat.loadtest.machine import Usage
from aiochat.loadtest.meter.histogram import Counts, Histogram
from aiochat.loadtest.record import Outcome, Violation
from aiochat.loadtest.totals import KEPT_VIOLATIONS, Load, Looks, latency, outcome, round_of


def counts(*values: int) -> Counts:
    """A histogram of these, in microseconds."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram.counted()


def tick(number: int, sent: int, seconds: float = 1.0, **other: float) -> Tick:
    """Of a worker with 10 clients, each of which gets what is sent."""
    given = {"cpu_percent": 20.0, "lag_ms": 1.0} | other
    return Tick(
        number, number, seconds, sent, 10 * sent, 10, 0, counts(1000 * number), **given, frames=sent, messages=2 * sent
    )


def judged(found: Outcome | None = None, *latencies: int) -> Judged:
    """What a worker found."""
    return Judged(found or Outcome(), counts(*latencies), counts(), counts(), {1: 3, 2: 1})


def load(*seconds: list[Tick], warmup: int = 1, looks: Looks | None = None, ended: str = "") -> Load:
    """Of two workers; each of the seconds has a tick of both."""
    results = [judged(None, 1000, 2000), judged(None, 3000)]
    return Load(20, warmup, list(seconds), looks or Looks(None, None, []), results, ended)


def usage(at: float, cpu_seconds: float, resident_bytes: int = 50) -> Usage:
    """A look at the server."""
    return Usage(at, cpu_seconds, resident_bytes)


def test_what_workers_sent_adds_up_without_the_warm_up() -> None:
    """The last second is shorter: rates are of the time that it had."""
    result = round_of(load([tick(1, 99), tick(1, 99)], [tick(2, 10), tick(2, 20)], [tick(3, 5, 0.5), tick(3, 10, 0.5)]))
    assert [(second.phase, second.sent) for second in result.timeline] == [
        ("warmup", 198),
        ("measure", 30),
        ("measure", 30),
    ]
    assert [second.at for second in result.timeline] == [1, 2, 2.5]
    assert (result.seconds, result.sent_per_second, result.delivered_per_second) == (1.5, 30, 300)
    assert result.batches == [(1, 6), (2, 2)]
    assert result.timeline[0].batch == 2


def test_the_busiest_process_speaks_for_the_meter() -> None:
    """The mean of the others would hide that it was the limit."""
    result = round_of(load([tick(1, 1), tick(1, 1, cpu_percent=95.0, lag_ms=30.0)], warmup=0))
    assert (result.meter_cpu_percent, result.meter_lag_ms) == (95, 30)
    assert (result.timeline[0].meter_cpu_percent, result.timeline[0].meter_lag_ms) == (95, 30)


def test_cpu_and_memory_are_those_between_the_looks() -> None:
    """0.2 seconds of CPU in the measured second, for 100 deliveries; the warm-up is not counted."""
    looks = Looks(usage(0, 0), usage(1, 0), [usage(2, 1.0), usage(3, 1.9, 90), usage(4, 2.1, 70)])
    result = round_of(load([tick(1, 99)], [tick(2, 10)], looks=looks))
    assert result.cpu_percent == pytest.approx(20)
    assert result.cpu_us_per_delivery == pytest.approx(2000)
    assert [second.server_cpu_percent for second in result.timeline] == pytest.approx([90, 20])
    assert [second.server_memory_bytes for second in result.timeline] == [90, 70]
    assert result.memory_peak_bytes == 90
    assert result.connection_bytes is None, "20 clients are too few: memory grows in steps"


def test_a_server_that_is_gone_has_no_more_figures() -> None:
    """Those of the seconds before stay."""
    looks = Looks(usage(0, 0), usage(1, 0), [usage(2, 1.0), usage(3, 1.5), None])
    result = round_of(load([tick(1, 10)], [tick(2, 10, 0.3)], warmup=0, looks=looks, ended="the server ended"))
    assert [second.server_cpu_percent for second in result.timeline] == [50, None]
    assert (result.cpu_percent, result.ended_early) == (50, "the server ended")


def test_what_ended_in_the_warm_up_has_no_figures() -> None:
    """And is a round all the same."""
    result = round_of(load([tick(1, 10, 0.4)], ended="interrupted"))
    assert (result.seconds, result.sent_per_second, result.cpu_percent) == (0, 0, None)
    assert len(result.timeline) == 1


def test_outcomes_add_up_and_the_first_violations_are_kept() -> None:
    """Counts by sum, codes each for itself, the slowest by maximum."""
    violation = Violation("lost", 1, "room-0", 2, (3, 3))
    one = Outcome(lost=15, violations=[violation] * 15, dropped={1006: 1}, slow_dropped_after_seconds=2.0)
    two = Outcome(lost=9, violations=[violation] * 9, dropped={1006: 2, 4000: 1}, errors=1, first_error="no")
    both = outcome([judged(one), judged(two)])
    assert (both.lost, both.errors, both.first_error, both.slow_dropped_after_seconds) == (24, 1, "no", 2.0)
    assert len(both.violations) == KEPT_VIOLATIONS
    assert both.dropped == {1006: 3, 4000: 1}
    assert both.acknowledged is None
    assert not both.clean


def test_the_curve_of_latencies_ends_where_there_are_too_few() -> None:
    """Of a hundred messages nothing can be said beyond 99 %; of none nothing at all."""
    histogram = Histogram()
    assert latency(histogram) is None
    for value in range(1, 101):
        histogram.record(value * 1000)
    found = latency(histogram)
    assert found is not None
    assert found.curve[-1][0] == 99
    assert found.p50 == pytest.approx(50, rel=0.02)
    assert found.max == 100
