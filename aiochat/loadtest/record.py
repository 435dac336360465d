"""All that a load test has measured, as its JSON file holds it; table, page and comparison are made of this alone."""

from collections.abc import Iterable
from typing import Literal

import msgspec

VERSION = 1  # of the file; a comparison refuses others

Kind = Literal["lost", "doubled", "out of order", "not acknowledged"]
Phase = Literal["warmup", "measure"]


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from when a message was due (closed loop: sent) to its arrival, over the measured seconds."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    curve: list[tuple[float, float]]  # (percent, milliseconds), up to 99.999


class Second(msgspec.Struct, frozen=True):
    """One second of the load; None is what was not measured."""

    at: float  # its end, seconds from the start of the load
    phase: Phase
    sent: float  # messages a second
    delivered: float
    connected: int  # at its end
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    server_cpu_percent: float | None  # 100 is one core
    server_memory_bytes: int | None
    meter_cpu_percent: float  # of the busiest process
    meter_lag_ms: float  # the longest that a turn of a meter's loop kept another waiting
    dropped: int  # clients, so far
    batch: float | None  # messages in a WebSocket message, mean


class Violation(msgspec.Struct, frozen=True):
    """What one receiver in one room did not get, or got twice or in the wrong order."""

    kind: Kind
    receiver: int
    room: str
    sender: int
    sequences: tuple[int, int]  # first and last
    offsets: tuple[int, int] | None = None  # in the room's log, where the server tells


class Outcome(msgspec.Struct, frozen=True):
    """What was wrong, counted for each receiver; the clients that were slow on purpose are not judged."""

    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    unacknowledged: int = 0
    acknowledged: int | None = None  # messages; None where the server does not tell
    violations: list[Violation] = []  # the first ones
    dropped: dict[int, int] = {}  # close code -> clients that were closed and should not have been
    errors: int = 0  # that the server answered
    first_error: str = ""
    slow_dropped: int = 0
    slow_dropped_after_seconds: float | None = None  # the last of them
    cuts: int = 0  # connections broken on purpose
    resumed: int = 0  # that came back and were told that nothing is missing
    gaps: int = 0  # that came back and were told what is missing
    resume_ms: Latency | None = None  # from the break to being caught up
    newcomers: int = 0
    newcomer_ms: Latency | None = None  # from connecting to their first message's return

    @property
    def clean(self) -> bool:
        return not any((self.lost, self.doubled, self.out_of_order, self.unacknowledged, self.dropped, self.errors))


def added(counts: Iterable[int | None]) -> int | None:
    """None if there is nothing to add."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class Round(msgspec.Struct, frozen=True):
    """One run of the scenario against one server; rates and CPU are means over the measured seconds."""

    clients: int
    seconds: float  # that were measured; less than asked for where it ended early
    sent_per_second: float
    delivered_per_second: float
    cpu_us_per_delivery: float | None  # of the server, user and system
    cpu_percent: float | None
    latency: Latency | None
    connection_bytes: float | None  # of the server's memory, for each client
    connect_cpu_us: float | None
    memory_peak_bytes: int | None
    batches: list[tuple[int, int]]  # (messages in a WebSocket message, up to, how often), powers of two
    meter_cpu_percent: float  # of the busiest process
    meter_lag_ms: float  # p99
    outcome: Outcome
    timeline: list[Second]
    ended_early: str = ""  # why


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured, and with what."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    versions: dict[str, str]  # python, aiochat, uvloop, picows, ...


class Server(msgspec.Struct, frozen=True):
    """What was measured. `settings` are those of its own server that differ from the defaults."""

    url: str
    own: bool
    pinned: bool
    settings: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True):
    """One load test. `scenario` is the file's content with all that was overridden."""

    scenario_name: str
    scenario: dict[str, object]
    command: str
    started: str  # ISO 8601, UTC
    machine: Machine
    server: Server
    rounds: list[Round]
    peer_rounds: list[Round] = []
    processes: int = 1  # that the clients ran in
    version: int = VERSION
