"""Which charts a record makes: one typical round over time, and distributions. Nothing is drawn of what was not."""

from collections.abc import Callable, Sequence
from typing import Final

from aiochat.loadtest.record import Latency, Record, Round, Second
from aiochat.loadtest.report import charts
from aiochat.loadtest.report.charts import Points, Series

_WIDE: Final = 20.0  # times the lowest: from there on a logarithmic axis shows more than a linear one
_LATENCY: Final = "milliseconds"


def typical(rounds: Sequence[Round]) -> int:
    """The one whose p99 is the median, or else whose rate is."""
    order = sorted(range(len(rounds)), key=lambda index: _order(rounds[index]))
    return order[len(order) // 2] if order else 0


def over_time(record: Record) -> list[str]:
    if not record.rounds or not (seconds := record.rounds[typical(record.rounds)].timeline):
        return []
    warmup = max((second.at for second in seconds if second.phase == "warmup"), default=0.0)

    def drawn(title: str, unit: str, log: bool = False, **values: Callable[[Second], float | None]) -> list[str]:
        series = [(name.replace("_", " "), _points(seconds, value)) for name, value in values.items()]
        series = [(name, points) for name, points in series if any(value for _, value in points)]
        return [charts.lines(title, series, unit, log=log and _is_wide(series), warmup=warmup)] if series else []

    found = [
        *drawn(
            "Latency",
            _LATENCY,
            log=True,
            p50=lambda second: second.p50_ms,
            p99=lambda second: second.p99_ms,
            max=lambda second: second.max_ms,
        ),
        *drawn("Delivered", "messages a second", delivered=lambda second: second.delivered),
        *drawn("Sent", "messages a second", sent=lambda second: second.sent),
        *drawn(
            "CPU",
            "% of a core",
            server=lambda second: second.server_cpu_percent,
            busiest_meter_process=lambda second: second.meter_cpu_percent,
        ),
        *drawn(
            "Server memory",
            "MB",
            memory=lambda second: None if second.server_memory_bytes is None else second.server_memory_bytes / 1e6,
        ),
        *drawn("Lag of the meter", _LATENCY, lag=lambda second: second.meter_lag_ms),
    ]
    if len({second.connected for second in seconds}) > 1:
        found += drawn("Connected", "clients", connected=lambda second: second.connected)
    return found + drawn("Dropped", "clients, so far", dropped=lambda second: second.dropped)


def distributions(record: Record) -> list[str]:
    if not record.rounds:
        return []
    ours = record.rounds[typical(record.rounds)]
    curves = [("aiochat" if record.server.own else "server", _curve(ours.latency))]
    if record.peer_rounds:
        curves.append(("peer", _curve(record.peer_rounds[typical(record.peer_rounds)].latency)))
    return [
        *_percentiles("Latency by percentile", curves, "deliveries"),
        *_batches(ours),
        *_percentiles("Back after a cut", [("back", _curve(ours.outcome.resume_ms))], "cuts"),
        *_percentiles("A newcomer's first message", [("returned", _curve(ours.outcome.newcomer_ms))], "newcomers"),
    ]


def _order(each: Round) -> tuple[float, float]:
    return each.latency.p99 if each.latency else 0.0, each.delivered_per_second


def _points(seconds: Sequence[Second], value: Callable[[Second], float | None]) -> Points:
    return [(second.at, value(second)) for second in seconds]


def _is_wide(series: Series) -> bool:
    values = [value for _, points in series for _, value in points if value]
    return bool(values) and max(values) > _WIDE * min(values)


def _curve(latency: Latency | None) -> Points:
    return latency.curve if latency else []


def _percentiles(title: str, curves: Series, of: str) -> list[str]:
    drawn = [(name, points) for name, points in curves if points]
    return [charts.percentiles(title, drawn, _LATENCY, of=of, log=_is_wide(drawn))] if drawn else []


def _batches(each: Round) -> list[str]:
    counts = dict(each.batches)
    if not (total := sum(counts.values())):
        return []
    sizes = [1 << power for power in range(max(counts).bit_length())]
    values = [(_span(size), float(f"{100 * counts.get(size, 0) / total:.2g}")) for size in sizes]
    return [charts.columns("Messages in one WebSocket message", values, "% of WebSocket messages", "messages")]


def _span(size: int) -> str:
    """Sizes up to a power of two."""
    return str(size) if size <= 2 else f"{size // 2 + 1}–{size}"
