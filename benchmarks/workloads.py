"""What is measured: a scenario of the meter's each, with what is looked at and what aiochat has to reach in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiochat.loadtest.scenario import Scenario, load
from benchmarks.figures import CPU, Figure, Measure, against, ours, ratio

SCENARIOS: Final = Path(__file__).resolve().parent / "scenarios"
STALL_SECONDS: Final = 10  # queue.stall_seconds in config/default.toml
BUSY_PERCENT: Final = 90  # of a core: with more, the meter itself may be what is late

CPU_TEXT: Final = "CPU per delivery"
CPU_MEASURE: Final = Measure(CPU, "CPU per delivery, µs", ",.3f", "cost")
FAULTS: Final = (
    Measure("wrong", "lost, doubled, disordered", kind="fault"),
    Measure("dropped", "clients dropped", kind="fault"),
)
METER: Final = (Measure("meter_cpu_percent", "CPU of the meter, %"),)
# As much as the server can: a fast one gets more messages than a slow one, so latencies cannot be compared.
CLOSED: Final = (
    CPU_MEASURE,
    Measure("delivered_per_second", "delivered a second"),
    Measure("p99_ms", "p99, ms", ",.1f"),
    *FAULTS,
    *METER,
)
# The same for all, whether they keep up or not.
OPEN: Final = (
    CPU_MEASURE,
    Measure("p99_ms", "p99, ms", ",.1f", "cost"),
    Measure("behind_percent", "not delivered in time, %", ",.1f", "fault", tolerated=1),
    *FAULTS,
    *METER,
)
IDLE: Final = (
    Measure("memory_kb", "memory of a connection, kB", ",.1f", "cost"),
    Measure("connect_us", "CPU of a connect, µs", kind="cost"),
)
SLOW: Final = (
    Measure("gone_seconds", "gone after, s", ",.1f"),
    Measure("stays", "still there at the end"),
    Measure("p99_ms", "others' p99, ms", ",.1f"),
    Measure("p99_alone_ms", "p99 without it, ms", ",.1f"),
    Measure("delivered_per_second", "delivered to others a second"),
    Measure("dropped", "others dropped"),
    Measure("memory_mb", "memory afterwards, MB", ",.1f"),
    Measure("memory_alone_mb", "memory without it, MB", ",.1f"),
)
NOTHING_WRONG: Final = ours("wrong", "messages lost, doubled, disordered", 0)
NOBODY_DROPPED: Final = ours("dropped", "clients dropped", 0)
ALL_ACKNOWLEDGED: Final = ours("unacknowledged", "messages not acknowledged", 0)
ROOM_TO_SPARE: Final = ours("meter_cpu_percent", "CPU of the meter, %", BUSY_PERCENT)


class Workload(NamedTuple):
    """One scenario; of `fixed_seconds`, its length is not the user's to set."""

    name: str
    measures: tuple[Measure, ...]
    figures: tuple[Figure, ...]
    file: str = ""  # of the scenario; if "", the workload's name
    addition: str = ""  # to its title
    fixed_seconds: bool = False
    environment: Mapping[str, str] = {}
    sqlite: bool = False  # our room log is a file, not memory
    tls: bool = False
    with_and_without: bool = False  # the slow client
    peers: tuple[str, ...] | None = None  # the names of those it is for; None: all

    def is_for(self, server: str) -> bool:
        return server == "aiochat" or self.peers is None or server in self.peers

    @property
    def path(self) -> Path:
        return SCENARIOS / f"{self.file or self.name}.toml"

    @property
    def title(self) -> str:
        return self.scenario().title + self.addition

    def scenario(self, **overrides: Any) -> Scenario:
        return load(str(self.path), overrides)


FAST: Final = ("uwebsockets", "nchan", "gorilla", "picows", "ws")  # a slower one is only late, for minutes
KEY_PEERS: Final = ("floor", "uwebsockets", "picows")
NO_LOG_LINES: Final = {"AIOCHAT_LOGGING__CONNECTIONS": "false"}

WORKLOADS: Final = (
    Workload(
        "chat",
        OPEN,
        (
            against("ws", CPU, f"{CPU_TEXT}, times that of ws (Node)", 1),
            against("ws", "p99_ms", "p99, times that of ws (Node)", 1),
            NOTHING_WRONG,
            ALL_ACKNOWLEDGED,
            ROOM_TO_SPARE,
        ),
        sqlite=True,
    ),
    Workload(
        "broadcast20",
        OPEN,
        (
            against("uwebsockets", "p99_ms", "p99, times uWebSockets'", 1.2),
            NOTHING_WRONG,
            ALL_ACKNOWLEDGED,
            ROOM_TO_SPARE,
        ),
        sqlite=True,
        peers=FAST,
    ),
    Workload(
        "broadcast100",
        OPEN,
        (NOTHING_WRONG, NOBODY_DROPPED, ALL_ACKNOWLEDGED),
        sqlite=True,
        peers=FAST,
    ),
    Workload(
        "json",
        CLOSED,
        (
            against("floor", CPU, f"{CPU_TEXT}, times the JSON floor's", 1.8),
            against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1 / 10),
            NOTHING_WRONG,
            ALL_ACKNOWLEDGED,
        ),
        addition=", acks, SQLite",
        sqlite=True,
    ),
    Workload("json-memory", CLOSED, (ALL_ACKNOWLEDGED,), file="json", addition=", acks, no file", peers=()),
    Workload("busy", CLOSED, (against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1 / 15), NOBODY_DROPPED)),
    Workload(
        "crowd", CLOSED, (against("floor", CPU, f"{CPU_TEXT}, times the floor's", 1.7), NOBODY_DROPPED), peers=KEY_PEERS
    ),
    Workload("light", CLOSED, (against("uwebsockets", CPU, f"{CPU_TEXT}, times uWebSockets'", 1.3),), peers=KEY_PEERS),
    Workload("rate", OPEN, (against("picows", CPU, f"{CPU_TEXT}, times picows'", 1.3),)),
    Workload("pairs", CLOSED, (against("picows", CPU, f"{CPU_TEXT}, times picows'", 1.0),)),
    Workload(
        "idle",
        IDLE,
        (
            ours("memory_kb", "memory of an idle connection, kB", 4.5),
            against("floor", "connect_us", "CPU of a connect, times the floor's", 1.6),
        ),
        fixed_seconds=True,
        environment=NO_LOG_LINES,
    ),
    Workload("idle-tls", IDLE, (), fixed_seconds=True, environment=NO_LOG_LINES, tls=True, peers=()),
    Workload(
        "slow",
        SLOW,
        (
            ours("gone_seconds", "seconds until it is gone", STALL_SECONDS + 1),
            ours("stays", "still there at the end", 0),
            Figure(
                "the others' p99, times what it is without it",
                1.3,
                lambda found: ratio(found, ("aiochat", "p99_ms"), ("aiochat", "p99_alone_ms")),
            ),
            Figure(
                "memory afterwards, times what it is without it",
                1.05,
                lambda found: ratio(found, ("aiochat", "memory_mb"), ("aiochat", "memory_alone_mb")),
            ),
        ),
        fixed_seconds=True,
        with_and_without=True,
        peers=(),
    ),
)
BY_NAME: Final = {workload.name: workload for workload in WORKLOADS}
