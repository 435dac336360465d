"""Records of load tests that were never run, for what shows and compares them."""

from collections.abc import Sequence
from typing import Any

from aiochat.loadtest.record import Latency, Machine, Outcome, Record, Round, Second, Server, Violation

SCENARIO = {"title": "Rooms of all sizes", "clients": 1000, "codec": "json", "rate": 200.0, "rooms": [{"size": 5}]}
MACHINE = Machine("A CPU", 2, 8_000_000_000, "Linux", {"python": "3.11.7"})
WRONG = (
    Violation("lost", 17, "room-3", 5, (100, 112), (2001, 2013)),
    Violation("doubled", 18, "room-4", 9, (77, 77)),
    Violation("out of order", 19, "room-4", 9, (80, 81)),
    Violation("not acknowledged", 9, "room-4", 9, (82, 82)),
)
FAULTY = Outcome(
    lost=13,
    doubled=1,
    out_of_order=2,
    unacknowledged=1,
    violations=list(WRONG),
    dropped={1006: 2, 1011: 1},
    errors=2,
    first_error="too_fast: slow down",
)


def latency(p99: float) -> Latency:
    """A hundred times as much at its most as at the median."""
    curve = [(0.0, p99 / 20), (50.0, p99 / 10), (90.0, p99 / 2), (99.0, p99), (99.9, p99 * 4), (99.99, p99 * 8)]
    return Latency(p99 / 10, p99 / 2, p99, p99 * 4, p99 * 10, curve)


def timeline(seconds: int = 12, warmup: int = 2, **values: Any) -> list[Second]:
    """Two seconds of warming up, and a load that hardly changes."""
    given: dict[str, Any] = {
        "p50_ms": 1.0,
        "p99_ms": 10.0,
        "max_ms": 80.0,
        "server_cpu_percent": 30.0,
        "server_memory_bytes": 90_000_000,
        "batch": 2.5,
        "connected": 1000,
        "dropped": 0,
    }
    return [
        Second(
            at=float(second),
            phase="warmup" if second <= warmup else "measure",
            sent=200.0 + second,
            delivered=14_000.0 + second,
            meter_cpu_percent=40.0,
            meter_lag_ms=1.0,
            **(given | values),
        )
        for second in range(1, seconds + 1)
    ]


def measured(cpu: float | None = 4.0, p99: float | None = 10.0, **values: Any) -> Round:
    """`cpu` is microseconds for each delivery, `p99` milliseconds."""
    given: dict[str, Any] = {
        "clients": 1000,
        "seconds": 10.0,
        "sent_per_second": 200.0,
        "delivered_per_second": 14_000.0,
        "cpu_percent": 31.0,
        "connection_bytes": 30_000.0,
        "connect_cpu_us": 200.0,
        "memory_peak_bytes": 90_000_000,
        "batches": [(1, 60), (2, 30), (4, 10)],
        "meter_cpu_percent": 40.0,
        "meter_lag_ms": 1.0,
        "outcome": Outcome(),
        "timeline": timeline(),
    }
    return Round(cpu_us_per_delivery=cpu, latency=None if p99 is None else latency(p99), **(given | values))


def record(*rounds: Round, peers: Sequence[Round] = (), server: Server | None = None, **scenario: Any) -> Record:
    """Of one good round, if no others are given."""
    return Record(
        scenario_name="chat",
        scenario=SCENARIO | scenario,
        command="aiochat loadtest chat --seconds 10",
        started="2026-11-23T02:58:11+00:00",
        machine=MACHINE,
        server=server or Server("ws://127.0.0.1:4321/ws", own=True, pinned=True),
        rounds=list(rounds or [measured()]),
        peer_rounds=list(peers),
    )
