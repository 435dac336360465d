"""What is measured, and the figures that aiochat has to reach. A message is 100 bytes of text."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

Sample = Mapping[str, float | None]
Medians = Mapping[str, Sample]  # of each server, in one workload

MESSAGE_BYTES: Final = 100
STALL_SECONDS: Final = 10  # queue.stall_seconds in config/default.toml


class Measure(NamedTuple):
    """A line of the table."""

    key: str
    label: str
    shape: str = ",.0f"


class Figure(NamedTuple):
    """What aiochat has to reach: `value` of the medians, None where something was not measured, is at most `limit`."""

    text: str
    limit: float
    value: Callable[[Medians], float | None]


class Workload(NamedTuple):
    name: str
    title: str
    clients: int
    figures: tuple[Figure, ...]
    measures: tuple[Measure, ...]
    senders: int = 0
    window: int = 0  # messages in flight for each sender, or
    rate: int = 0  # messages a second in all
    rooms: int = 1
    seconds: int = 0  # if 0, what --seconds says
    warmup: int = 1
    rounds: int = 0  # if 0, what --rounds says
    environment: Mapping[str, str] = {}
    tls: bool = False
    codec: str = "text"
    sqlite: bool = False  # our room log is a file, not memory
    slow_reader: bool = False

    @property
    def ours_alone(self) -> bool:
        return self.tls or self.slow_reader


def against(server: str, key: str, text: str, limit: float) -> Figure:
    """The median of aiochat as a share of that server's."""
    return Figure(text, limit, lambda medians: ratio(medians, ("aiochat", key), (server, key)))


def ours(key: str, text: str, limit: float) -> Figure:
    return Figure(text, limit, lambda medians: find(medians, "aiochat", key))


def find(medians: Medians, server: str, key: str) -> float | None:
    return medians.get(server, {}).get(key)


def ratio(medians: Medians, over: tuple[str, str], under: tuple[str, str]) -> float | None:
    dividend, divisor = find(medians, *over), find(medians, *under)
    return dividend / divisor if dividend is not None and divisor else None


CPU, CPU_TEXT = "cpu_us_per_delivery", "CPU per delivery"
FAN_OUT: Final = (
    Measure(CPU, "CPU per delivery, µs", ",.3f"),
    Measure("delivered_per_second", "delivered a second"),
    Measure("p99_ms", "latency p99, ms", ",.1f"),
    Measure("dropped", "clients dropped"),
    Measure("wrong", "lost, doubled, disordered"),
    Measure("meter_cpu_percent", "CPU of the meter, %"),
)
NOBODY: Final = ours("dropped", "clients dropped", 0)
NO_LOG_LINES: Final = {"AIOCHAT_LOGGING__CONNECTIONS": "false"}

WORKLOADS: Final = (
    Workload(
        "busy",
        "200 clients, 20 x 20 in flight",
        clients=200,
        senders=20,
        window=20,
        measures=FAN_OUT,
        figures=(against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1 / 15), NOBODY),
    ),
    Workload(
        "crowd",
        "1000 clients, 20 x 5 in flight",
        clients=1000,
        senders=20,
        window=5,
        measures=FAN_OUT,
        figures=(against("floor", CPU, f"{CPU_TEXT}, times the floor's", 1.7), NOBODY),
    ),
    Workload(
        "json",
        "200 clients, 20 x 20 in flight, JSON, acks, SQLite",
        clients=200,
        senders=20,
        window=20,
        codec="json",
        sqlite=True,
        measures=FAN_OUT,
        figures=(
            against("floor", CPU, f"{CPU_TEXT}, times the JSON floor's", 1.8),
            against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1 / 10),
            ours("wrong", "lost, doubled, disordered", 0),
            ours("unacknowledged", "messages not acknowledged", 0),
        ),
    ),
    Workload(
        "json-memory",
        "the same without the file",
        clients=200,
        senders=20,
        window=20,
        codec="json",
        measures=FAN_OUT,
        figures=(ours("unacknowledged", "messages not acknowledged", 0),),
    ),
    Workload(
        "light",
        "200 clients, 10 x 2 in flight",
        clients=200,
        senders=10,
        window=2,
        measures=FAN_OUT,
        figures=(against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1.3),),
    ),
    Workload(
        "rate",
        "100 clients, 500 a second",
        clients=100,
        senders=10,
        rate=500,
        measures=FAN_OUT,
        figures=(against("picows", CPU, f"{CPU_TEXT}, times picows'", 1.3),),
    ),
    Workload(
        "pairs",
        "500 rooms of two, all sending",
        clients=1000,
        senders=1000,
        window=1,
        rooms=500,
        measures=FAN_OUT,
        figures=(against("picows", CPU, f"{CPU_TEXT}, times picows'", 1.0),),
    ),
    Workload(
        "idle",
        "8000 idle connections",
        clients=8000,
        seconds=1,
        warmup=0,
        environment=NO_LOG_LINES,
        measures=(
            Measure("memory_kb", "memory of a connection, kB", ",.1f"),
            Measure("connect_us", "CPU of a connect, µs"),
        ),
        figures=(
            ours("memory_kb", "memory of an idle connection, kB", 4.5),
            against("floor", "connect_us", "CPU of a connect, times the floor's", 1.6),
        ),
    ),
    Workload(
        "idle-tls",
        "2000 idle, over TLS",
        clients=2000,
        seconds=1,
        warmup=0,
        environment=NO_LOG_LINES,
        measures=(
            Measure("memory_kb", "memory of a connection, kB", ",.1f"),
            Measure("connect_us", "CPU of a connect, µs"),
        ),
        figures=(),
        tls=True,
    ),
    Workload(
        "slow",
        "one of 201 stops reading",
        clients=200,
        senders=200,
        rate=20_000,
        seconds=STALL_SECONDS + 3,
        rounds=5,
        measures=(
            Measure("gone_seconds", "gone after, s", ",.1f"),
            Measure("p99_ms", "others' p99, ms", ",.1f"),
            Measure("p99_alone_ms", "p99 without it, ms", ",.1f"),
            Measure("delivered_per_second", "delivered to others a second"),
            Measure("dropped", "others dropped"),
            Measure("peak_mb", "peak memory, MB", ",.1f"),
            Measure("memory_mb", "memory afterwards, MB", ",.1f"),
            Measure("memory_alone_mb", "memory without it, MB", ",.1f"),
        ),
        figures=(
            ours("gone_seconds", "seconds until it is gone", STALL_SECONDS + 1),
            Figure(
                "the others' p99, times what it is without it",
                1.3,
                lambda medians: ratio(medians, ("aiochat", "p99_ms"), ("aiochat", "p99_alone_ms")),
            ),
            Figure(
                "memory afterwards, times what it is without it",
                1.05,
                lambda medians: ratio(medians, ("aiochat", "memory_mb"), ("aiochat", "memory_alone_mb")),
            ),
        ),
        slow_reader=True,
    ),
)
