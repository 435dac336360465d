"""What all workers have told and the looks at the server, added up: one second of the timeline, and one round."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from aiochat.loadtest.links import Judged, Tick
from aiochat.loadtest.machine import Usage
from aiochat.loadtest.meter.histogram import Histogram, merged
from aiochat.loadtest.record import Latency, Outcome, Round, Second, added

KEPT_VIOLATIONS: Final = 20
LEAST_CPU_SECONDS: Final = 0.1  # the system counts in hundredths of a second
LEAST_CLIENTS: Final = 500  # memory grows in steps
_CURVE: Final = (*range(0, 100, 5), 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995, 99.999)
_SUMS: Final = (
    *("lost", "doubled", "out_of_order", "unacknowledged", "errors", "slow_dropped"),
    *("cuts", "resumed", "gaps", "newcomers"),
)


class Looks(NamedTuple):
    """At the server: before anybody came, with all connected, and after each second of load, of which the first is its
    beginning. None where there was nothing to see."""

    alone: Usage | None
    connected: Usage | None
    seconds: list[Usage | None]


class Load(NamedTuple):
    """All that was seen of one load. `ticks[n]` are those of second n + 1, one of each worker."""

    clients: int
    warmup: int  # seconds
    ticks: list[list[Tick]]
    looks: Looks
    judged: Sequence[Judged]
    ended_early: str

    @property
    def measured(self) -> list[list[Tick]]:
        return self.ticks[self.warmup :]


def second(load: Load, number: int) -> Second:
    """Number is from 1 on, as in a tick."""
    ticks, looks = load.ticks[number - 1], load.looks.seconds
    latencies = merged(tick.latency for tick in ticks)
    now = looks[number] if number < len(looks) else None
    frames, messages = sum(tick.frames for tick in ticks), sum(tick.messages for tick in ticks)
    return Second(
        at=number - 1 + max(tick.seconds for tick in ticks),
        phase="warmup" if number <= load.warmup else "measure",
        sent=sum(_rate(tick.sent, tick.seconds) for tick in ticks),
        delivered=sum(_rate(tick.delivered, tick.seconds) for tick in ticks),
        connected=sum(tick.connected for tick in ticks),
        p50_ms=_ms(latencies, 50),
        p99_ms=_ms(latencies, 99),
        max_ms=_ms(latencies, 100),
        server_cpu_percent=_cpu_percent(looks[number - 1], now) if number < len(looks) else None,
        server_memory_bytes=now and now.resident_bytes,
        meter_cpu_percent=max(tick.cpu_percent for tick in ticks),
        meter_lag_ms=max(tick.lag_ms for tick in ticks),
        dropped=sum(tick.dropped for tick in ticks),
        batch=messages / frames if frames else None,
    )


def round_of(load: Load) -> Round:
    workers = list(zip(*load.measured, strict=True))
    delivered = sum(tick.delivered for ticks in load.measured for tick in ticks)
    cpu = _cpu_seconds(*_ends(load))
    return Round(
        clients=load.clients,
        seconds=max((sum(tick.seconds for tick in ticks) for ticks in workers), default=0.0),
        sent_per_second=sum(_mean_rate([tick.sent for tick in ticks], ticks) for ticks in workers),
        delivered_per_second=sum(_mean_rate([tick.delivered for tick in ticks], ticks) for ticks in workers),
        cpu_us_per_delivery=cpu * 1e6 / delivered if cpu is not None and delivered else None,
        cpu_percent=_cpu_percent(*_ends(load)),
        latency=latency(merged(each.latency for each in load.judged)),
        connection_bytes=_connection_bytes(load),
        connect_cpu_us=_connect_cpu(load),
        memory_peak_bytes=max((look.resident_bytes for look in load.looks.seconds if look), default=None),
        batches=sorted(sum((Counter(each.batches) for each in load.judged), Counter[int]()).items()),
        meter_cpu_percent=max((_meter_cpu(ticks) for ticks in workers), default=0.0),
        meter_lag_ms=_percentile([tick.lag_ms for ticks in load.measured for tick in ticks], 0.99),
        outcome=outcome(load.judged),
        timeline=[second(load, number) for number in range(1, len(load.ticks) + 1)],
        ended_early=load.ended_early,
    )


def outcome(judged: Sequence[Judged]) -> Outcome:
    found = [each.outcome for each in judged]
    dropped = sum((Counter(each.dropped) for each in found), Counter[int]())
    slow = [each.slow_dropped_after_seconds for each in found if each.slow_dropped_after_seconds is not None]
    return Outcome(
        **{name: sum(getattr(each, name) for each in found) for name in _SUMS},
        violations=[violation for each in found for violation in each.violations][:KEPT_VIOLATIONS],
        dropped=dict(sorted(dropped.items())),
        acknowledged=added(each.acknowledged for each in found),
        first_error=next((each.first_error for each in found if each.first_error), ""),
        slow_dropped_after_seconds=max(slow, default=None),
        resume_ms=latency(merged(each.resume for each in judged)),
        newcomer_ms=latency(merged(each.newcomer for each in judged)),
    )


def latency(histogram: Histogram) -> Latency | None:
    """Of microseconds; None where there are none. The curve ends where there are too few for a higher percentage."""
    if not histogram.total:
        return None
    curve = [percent for percent in _CURVE if histogram.total * (100 - percent) >= 100]
    return Latency(
        p50=_at(histogram, 50),
        p90=_at(histogram, 90),
        p99=_at(histogram, 99),
        p999=_at(histogram, 99.9),
        max=_at(histogram, 100),
        curve=[(percent, _at(histogram, percent)) for percent in curve],
    )


def _at(histogram: Histogram, percent: float) -> float:
    return histogram.percentile(percent / 100) / 1000


def _ms(histogram: Histogram, percent: float) -> float | None:
    return _at(histogram, percent) if histogram.total else None


def _rate(count: float, seconds: float) -> float:
    return count / seconds if seconds else 0.0


def _mean_rate(counts: Iterable[int], ticks: Sequence[Tick]) -> float:
    return _rate(sum(counts), sum(tick.seconds for tick in ticks))


def _meter_cpu(ticks: Sequence[Tick]) -> float:
    return _rate(sum(tick.cpu_percent * tick.seconds for tick in ticks), sum(tick.seconds for tick in ticks))


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else 0.0


def _ends(load: Load) -> tuple[Usage | None, Usage | None]:
    """Where measuring began and ended; the last look at a server that has died came before that."""
    looks = [look for look in load.looks.seconds[load.warmup :] if look]
    return (looks[0], looks[-1]) if len(looks) > 1 else (None, None)


def _cpu_seconds(before: Usage | None, after: Usage | None) -> float | None:
    return after.cpu_seconds - before.cpu_seconds if before and after else None


def _cpu_percent(before: Usage | None, after: Usage | None) -> float | None:
    spent = _cpu_seconds(before, after)
    return None if spent is None or not before or not after else 100 * _rate(spent, after.at - before.at)


def _connection_bytes(load: Load) -> float | None:
    alone, connected = load.looks.alone, load.looks.connected
    if alone is None or connected is None or load.clients < LEAST_CLIENTS:
        return None
    return (connected.resident_bytes - alone.resident_bytes) / load.clients


def _connect_cpu(load: Load) -> float | None:
    spent = _cpu_seconds(load.looks.alone, load.looks.connected)
    return spent * 1e6 / load.clients if spent is not None and spent >= LEAST_CPU_SECONDS else None
