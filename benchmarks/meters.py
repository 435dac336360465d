"""The two meters: `aiochat loadtest`, and the neutral one it is held against. Each is a program that prints JSON."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from aiochat.loadtest.meter.lines import LineFrames
from aiochat.loadtest.record import Record, Round
from aiochat.loadtest.scenario import Scenario
from benchmarks.figures import CPU, Sample
from benchmarks.servers import Cores, Running, pinned
from benchmarks.workloads import Workload

SPARE_SECONDS: Final = 120  # to connect the clients and to finish
SOCKETIO_PATH: Final = "/socket.io/?EIO=4&transport=websocket&room=room"


class MeterError(Exception):
    """One line of the meter's that says why it has no figures."""


class Load(NamedTuple):
    """What a meter is to do: the workload's scenario, with what this run has changed in it."""

    workload: Workload
    overrides: dict[str, Any]

    @property
    def scenario(self) -> Scenario:
        return self.workload.scenario(**self.overrides)


class Meter(Protocol):
    def command(self, load: Load, server: Running) -> list[str]: ...

    def sample(self, load: Load, printed: str) -> Sample: ...


class Aiochat(NamedTuple):
    """`processes` of 0: as many as it finds right."""

    processes: int = 0

    def command(self, load: Load, server: Running) -> list[str]:
        changes = load.overrides | self._spoken(load, server)
        url = f"{'wss' if load.workload.tls else 'ws'}://127.0.0.1:{server.port}{self._path(server)}"
        settings = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
        target = ["--url", url, "--pid", str(server.pid), "--json", "-"]
        target += ["--processes", str(self.processes)] if self.processes else []
        return [sys.executable, "-m", "aiochat", "loadtest", str(load.workload.path), *target, *settings]

    def _spoken(self, load: Load, server: Running) -> dict[str, Any]:
        """Who passes on what it is sent gets lines of text as long as the JSON: it knows neither from the other."""
        scenario = load.scenario
        if server.codec == "socketio":
            return {"codec": server.codec}
        if scenario.codec == "text" or server.codec == "json":
            return {}
        return {"codec": "text", "size": LineFrames(scenario.size, "json", "room").payload_bytes}

    def _path(self, server: Running) -> str:
        return SOCKETIO_PATH if server.codec == "socketio" else "/ws"

    def sample(self, load: Load, printed: str) -> Sample:
        measured = msgspec.json.decode(printed, type=Record).rounds[0]
        if measured.ended_early:
            raise MeterError(measured.ended_early)
        outcome = measured.outcome
        return {
            CPU: measured.cpu_us_per_delivery,
            "delivered_per_second": measured.delivered_per_second,
            "behind_percent": behind(load.scenario, measured.delivered_per_second),
            "p99_ms": measured.latency.p99 if measured.latency else None,
            "dropped": sum(outcome.dropped.values()),
            "wrong": outcome.lost + outcome.doubled + outcome.out_of_order,
            "unacknowledged": outcome.unacknowledged,
            "gone_seconds": outcome.slow_dropped_after_seconds,
            "stays": load.scenario.slow - outcome.slow_dropped,
            "memory_kb": _thousandth(measured.connection_bytes),
            "connect_us": measured.connect_cpu_us,
            **_of_meter(measured),
        }


def _of_meter(measured: Round) -> Sample:
    return {"meter_cpu_percent": measured.meter_cpu_percent, "meter_lag_ms": measured.meter_lag_ms}


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def behind(scenario: Scenario, delivered_per_second: float) -> float | None:
    """The share of what an open loop was to deliver, in percent, that was not delivered in its time."""
    if not scenario.rate:
        return None
    sizes = scenario.room_sizes()
    receivers = sum(size * size for size in sizes) / sum(sizes)  # of a message, in the mean: senders are drawn evenly
    return max(0.0, 100 - 100 * delivered_per_second / (scenario.rate * receivers))


class Wsload(NamedTuple):
    """A compiled copy of wsload.c, which looks at /proc and so runs on Linux alone."""

    program: Path

    def command(self, load: Load, server: Running) -> list[str]:
        scenario = load.scenario
        sizes = scenario.room_sizes()
        for fits, reason in (
            (not load.workload.tls, "wsload does not speak TLS"),
            (scenario.codec == "text" and server.codec != "socketio", "wsload is run with text alone"),
            (len(set(sizes)) == 1 and not scenario.slow, "wsload has rooms of one size, and clients that read"),
        ):
            if not fits:
                raise MeterError(reason)
        flags = {
            "port": server.port,
            "path": "/ws" if len(sizes) == 1 else "/ws/room",  # the number of the room comes after it
            "clients": scenario.clients,
            "senders": scenario.sender_count,
            **({"window": scenario.window} if scenario.window else {"rate": scenario.rate}),
            "size": scenario.size,
            "rooms": len(sizes),
            "dur": scenario.seconds,
            "warm": scenario.warmup,
            "pid": server.pid,
        }
        return [str(self.program), *(part for name, value in flags.items() for part in (f"--{name}", str(value)))]

    def sample(self, load: Load, printed: str) -> Sample:
        measured = msgspec.json.decode(printed)
        return {
            CPU: measured["us_per_deliv"] or None,
            "delivered_per_second": measured["deliv_s"],
            "behind_percent": behind(load.scenario, measured["deliv_s"]),
            "p99_ms": measured["p99"] / 1000,
            "dropped": load.scenario.clients - measured["open_end"],
            "memory_kb": measured["kB_per_conn"] * 1.024,
            "connect_us": measured["conn_cpu_us"],
            "meter_cpu_percent": measured["gen_cpu_pct"],
        }


@contextlib.contextmanager
def _started(command: list[str], cores: Cores) -> Iterator[subprocess.Popen[str]]:
    """The meter at work; ended if the block ends before it."""
    with pinned(cores.meter):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def measure(meter: Meter, load: Load, server: Running, cores: Cores) -> Sample:
    """MeterError if there are no figures."""
    with _started(meter.command(load, server), cores) as process:
        try:
            printed, complaint = process.communicate(timeout=load.scenario.seconds + SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            raise MeterError("the meter did not finish") from None
    try:
        return meter.sample(load, printed)
    except msgspec.MsgspecError:
        raise MeterError(complaint.strip().rpartition("\n")[2] or "the meter printed no figures") from None
