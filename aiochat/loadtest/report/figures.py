"""The figures of a round, as table, page and comparison show them: what each is called, its unit, which way is better.

Of several rounds the median counts, and how far they lie apart is their median absolute deviation: of five rounds one
may be far off, as on a machine that others use too, and neither the median nor the deviation moves. Lowest to highest
would grow with that one and hide what is worse: with every tenth round half to twice as slow again, it finds a doubling
in 78 of 100 comparisons of five rounds, the deviation in 99, and both cry wolf in less than 1.
"""

from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Final, Literal

import msgspec

from aiochat.loadtest.record import Latency, Outcome, Round

Kind = Literal["time", "memory", "count", "load"]  # of load one can't say that less of it is better


class Figure(msgspec.Struct, frozen=True):
    label: str
    unit: str
    kind: Kind
    of: Callable[[Round], float | None]
    more_is_better: bool = False

    def values(self, rounds: Sequence[Round]) -> list[float]:
        return [value for each in rounds if (value := self.of(each)) is not None]


class Middle(msgspec.Struct, frozen=True):
    """The median, and the median absolute deviation from it."""

    median: float
    spread: float

    @property
    def percent(self) -> str:
        return f"{self.spread / self.median:.1%}" if self.median else ""


def middle(values: Sequence[float]) -> Middle | None:
    if not values:
        return None
    centre = median(values)
    return Middle(centre, median(abs(value - centre) for value in values))


def text(value: float) -> str:
    """Three digits, and all of a large number: 0.0124, 3.40, 98.1, 12,345; whole ones as they are."""
    return f"{value:,.0f}" if value >= 99.95 or value == int(value) else f"{value:#.3g}"


def ratio(ours: Middle, peers: Middle) -> str:
    return f"{ours.median / peers.median:.2f}" if peers.median else ""


def batch(each: Round) -> float | None:
    """Messages in a WebSocket message, mean over the measured seconds."""
    means = [second.batch for second in each.timeline if second.phase == "measure" and second.batch is not None]
    return fmean(means) if means else None


def _latency(
    of: Callable[[Round], Latency | None], part: Callable[[Latency], float]
) -> Callable[[Round], float | None]:
    return lambda each: None if (found := of(each)) is None else part(found)


def _scaled(of: Callable[[Round], float | None], unit: float) -> Callable[[Round], float | None]:
    return lambda each: None if (found := of(each)) is None else found / unit


def _latencies(name: str, of: Callable[[Round], Latency | None]) -> tuple[Figure, ...]:
    parts: tuple[tuple[str, Kind, Callable[[Latency], float]], ...] = (
        ("p50", "time", lambda latency: latency.p50),
        ("p90", "time", lambda latency: latency.p90),
        ("p99", "time", lambda latency: latency.p99),
        ("p99.9", "time", lambda latency: latency.p999),
        ("max", "load", lambda latency: latency.max),  # a single event, which nobody can compare
    )
    return tuple(Figure(f"{name}, {part}", "ms", kind, _latency(of, what)) for part, kind, what in parts)


LATENCIES: Final = _latencies("latency", lambda each: each.latency)
_RESUMES: Final = _latencies("back after a cut", lambda each: each.outcome.resume_ms)
_NEWCOMERS: Final = _latencies("newcomer's first message", lambda each: each.outcome.newcomer_ms)

CLIENTS: Final = Figure("clients", "", "load", lambda each: each.clients)
SENT: Final = Figure("messages sent", "/s", "load", lambda each: each.sent_per_second or None)
DELIVERED: Final = Figure("messages delivered", "/s", "time", lambda each: each.delivered_per_second or None, True)
CPU: Final = Figure("server CPU, of one core", "%", "load", lambda each: each.cpu_percent)
CPU_PER_DELIVERY: Final = Figure("server CPU per delivery", "µs", "time", lambda each: each.cpu_us_per_delivery)
CONNECTION: Final = Figure("server memory per client", "kB", "memory", _scaled(lambda each: each.connection_bytes, 1e3))
PEAK: Final = Figure("server memory, peak", "MB", "memory", _scaled(lambda each: each.memory_peak_bytes, 1e6))

GROUPS: Final = (
    (CLIENTS, SENT, DELIVERED),
    LATENCIES,
    tuple(_RESUMES[index] for index in (0, 2, 4)),
    tuple(_NEWCOMERS[index] for index in (0, 2, 4)),
    (
        CPU,
        CPU_PER_DELIVERY,
        Figure("server CPU of a connect", "µs", "time", lambda each: each.connect_cpu_us),
        CONNECTION,
        PEAK,
        Figure("messages in a WebSocket message", "", "load", batch),
    ),
    (
        Figure("meter CPU, busiest process", "%", "load", lambda each: each.meter_cpu_percent),
        Figure("meter lag, p99", "ms", "load", lambda each: each.meter_lag_ms),
    ),
)


def _count(label: str, of: Callable[[Outcome], int]) -> Figure:
    return Figure(label, "", "count", lambda each: of(each.outcome))


COUNTS: Final = (
    _count("lost", lambda outcome: outcome.lost),
    _count("doubled", lambda outcome: outcome.doubled),
    _count("out of order", lambda outcome: outcome.out_of_order),
    _count("not acknowledged", lambda outcome: outcome.unacknowledged),
    _count("clients dropped", lambda outcome: sum(outcome.dropped.values())),
    _count("errors from the server", lambda outcome: outcome.errors),
    _count("resumes with a gap", lambda outcome: outcome.gaps),
)
