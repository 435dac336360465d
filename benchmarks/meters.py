"""The two meters: `aiochat loadtest`, and the neutral one it is held against. Each is a program that prints JSON."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from benchmarks.servers import Cores, Running, pinned
from benchmarks.workloads import MESSAGE_BYTES, Sample, Workload

SPARE_SECONDS: Final = 120  # to connect the clients and to finish


class MeterError(Exception):
    """One line of the meter's that says why it has no figures."""


class Meter(Protocol):
    def command(self, workload: Workload, seconds: float, server: Running) -> list[str]: ...

    def sample(self, workload: Workload, printed: dict[str, Any]) -> Sample: ...


class Aiochat:
    def command(self, workload: Workload, seconds: float, server: Running) -> list[str]:
        scheme = "wss" if workload.tls else "ws"
        load = {"window": workload.window} if workload.window else {"rate": workload.rate} if workload.rate else {}
        flags = {
            "clients": workload.clients,
            "senders": workload.senders,
            **load,
            "size": MESSAGE_BYTES,
            "rooms": workload.rooms,
            "seconds": seconds,
            "warmup": workload.warmup,
            "pid": server.pid,
            "codec": workload.codec,
        }
        url = f"{scheme}://127.0.0.1:{server.port}/ws"
        return [sys.executable, "-m", "aiochat", "loadtest", url, *_flags(flags), "--json"]

    def sample(self, workload: Workload, printed: dict[str, Any]) -> Sample:
        memory = printed["memory_per_connection_bytes"]
        return {
            "cpu_us_per_delivery": printed["cpu_us_per_delivery"],
            "delivered_per_second": printed["delivered_per_second"],
            "p99_ms": printed["latency_ms"] and printed["latency_ms"]["p99"],
            "dropped": printed["dropped_clients"],
            "wrong": printed["lost"] + printed["doubled"] + printed["out_of_order"],
            "unacknowledged": printed["unacknowledged"],
            "memory_kb": None if memory is None else memory / 1000,
            "connect_us": printed["connect_cpu_us"],
            "meter_cpu_percent": printed["meter_cpu_percent"],
        }


class Wsload(NamedTuple):
    """A compiled copy of wsload.c, which looks at /proc and so runs on Linux alone."""

    program: Path

    def command(self, workload: Workload, seconds: float, server: Running) -> list[str]:
        if workload.tls:
            raise MeterError("wsload does not speak TLS")
        if workload.codec != "text":
            raise MeterError("wsload is run with text alone")
        load = {"rate": workload.rate} if workload.rate else {"window": workload.window}
        flags = {
            "port": server.port,
            "path": "/ws" if workload.rooms == 1 else "/ws/room",  # the number of the room comes after it
            "clients": workload.clients,
            "senders": workload.senders,
            **load,
            "size": MESSAGE_BYTES,
            "rooms": workload.rooms,
            "dur": seconds,
            "warm": workload.warmup,
            "pid": server.pid,
        }
        return [str(self.program), *_flags(flags)]

    def sample(self, workload: Workload, printed: dict[str, Any]) -> Sample:
        return {
            "cpu_us_per_delivery": printed["us_per_deliv"] or None,
            "delivered_per_second": printed["deliv_s"],
            "p99_ms": printed["p99"] / 1000,
            "dropped": workload.clients - printed["open_end"],
            "memory_kb": printed["kB_per_conn"] * 1.024,
            "connect_us": printed["conn_cpu_us"],
            "meter_cpu_percent": printed["gen_cpu_pct"],
        }


def _flags(values: dict[str, Any]) -> list[str]:
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


@contextlib.contextmanager
def started(
    meter: Meter, workload: Workload, seconds: float, server: Running, cores: Cores
) -> Iterator[subprocess.Popen[str]]:
    """The meter at work; ended if the block ends before it."""
    with pinned(cores.meter):
        process = subprocess.Popen(
            meter.command(workload, seconds, server),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def finish(meter: Meter, workload: Workload, seconds: float, process: subprocess.Popen[str]) -> Sample:
    try:
        printed, complaint = process.communicate(timeout=seconds + SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        raise MeterError("the meter did not finish") from None
    try:
        return meter.sample(workload, json.loads(printed))
    except ValueError:
        raise MeterError(complaint.strip().rpartition("\n")[2] or "the meter printed no figures") from None
