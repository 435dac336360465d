"""The figures of a workload, as one JSON object and as a column of the table, and the verdict in plain words."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from aiochat.loadtest.histogram import Histogram

METER_LIMIT_PERCENT: Final = 90.0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from sending (in an open loop: from when it was due) to arrival."""

    p50: float
    p99: float
    p999: float
    max: float


class Result(msgspec.Struct, frozen=True):
    """One workload; None is what was not measured, or too little for the resolution of the system's clocks."""

    name: str
    clients: int
    sent_per_second: float
    delivered_per_second: float
    cpu_us_per_delivery: float | None
    cpu_percent: float | None
    latency_ms: Latency | None
    memory_per_connection_bytes: float | None
    connect_cpu_us: float | None
    lost: int
    doubled: int
    out_of_order: int
    unacknowledged: int
    dropped_clients: int
    close_codes: dict[int, int]
    errors: int
    first_error: str
    slow_clients: int
    slow_clients_dropped: int
    slow_client_seconds: float | None
    meter_cpu_percent: float
    pinned: bool

    @property
    def clean(self) -> bool:
        return not any(
            (self.lost, self.doubled, self.out_of_order, self.unacknowledged, self.dropped_clients, self.errors)
        )


def latency(histogram: Histogram) -> Latency | None:
    if not histogram.total:
        return None
    return Latency(*(histogram.percentile(share) / 1000 for share in (0.5, 0.99, 0.999, 1)))


def as_json(results: Sequence[Result]) -> str:
    return msgspec.json.encode(results[0] if len(results) == 1 else results).decode()


Cell = Callable[[Result], float | None]
_ROWS: Final[tuple[tuple[str, str, Cell], ...]] = (
    ("clients", ",.0f", lambda r: r.clients),
    ("messages sent a second", ",.0f", lambda r: r.sent_per_second),
    ("messages delivered a second", ",.0f", lambda r: r.delivered_per_second),
    ("server CPU per delivery, µs", ".3f", lambda r: r.cpu_us_per_delivery),
    ("server CPU, %", ".0f", lambda r: r.cpu_percent),
    ("latency p50, ms", ".2f", lambda r: r.latency_ms.p50 if r.latency_ms else None),
    ("latency p99, ms", ".2f", lambda r: r.latency_ms.p99 if r.latency_ms else None),
    ("latency p99.9, ms", ".2f", lambda r: r.latency_ms.p999 if r.latency_ms else None),
    ("latency max, ms", ".2f", lambda r: r.latency_ms.max if r.latency_ms else None),
    (
        "memory of a connection, kB",
        ".1f",
        lambda r: r.memory_per_connection_bytes and r.memory_per_connection_bytes / 1000,
    ),
    ("CPU of a connect, µs", ".0f", lambda r: r.connect_cpu_us),
    ("meter CPU, %", ".0f", lambda r: r.meter_cpu_percent),
)


def print_table(results: Sequence[Result], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column()
    for result in results:
        table.add_column(result.name, justify="right")
    for label, shape, cell in _ROWS:
        values = [cell(result) for result in results]
        if any(value is not None for value in values):
            table.add_row(label, *("–" if value is None else format(value, shape) for value in values))
    console.print(table)
    for line in (_pinning(results[0]), *(line for result in results for line in verdict(result))):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _pinning(result: Result) -> str:
    if result.pinned:
        return "the server was pinned to one core, the meter to the others"
    return "nothing was pinned to a core: the figures depend on what else runs, and on where"


def verdict(result: Result) -> list[str]:
    """The lines under the table, each beginning with the name of its workload."""
    faults = {"lost": result.lost, "doubled": result.doubled, "out of order": result.out_of_order}
    wrong = ", ".join(f"{count:,} {fault}" for fault, count in faults.items() if count)
    said = [f"{wrong} (counted for each receiver)" if wrong else "nothing lost, doubled or out of order"]
    if result.unacknowledged:
        said.append(f"{result.unacknowledged:,} messages were not acknowledged")
    if result.dropped_clients:
        codes = ", ".join(f"{count} with {code}" for code, count in sorted(result.close_codes.items()))
        said.append(f"{result.dropped_clients:,} clients were dropped: {codes}")
    if result.errors:
        said.append(f"{result.errors:,} errors from the server, the first: {result.first_error}")
    if result.slow_clients:
        said.append(_slow(result))
    if result.meter_cpu_percent > METER_LIMIT_PERCENT:
        said.append("the meter was the limit: more messages a second need more --processes, on more cores")
    return [f"{result.name}: {line}" for line in said]


def _slow(result: Result) -> str:
    dropped = f"{result.slow_clients_dropped} of {result.slow_clients} slow clients were dropped"
    return (
        dropped
        if result.slow_client_seconds is None
        else f"{dropped}, the last after {result.slow_client_seconds:.1f} s"
    )
