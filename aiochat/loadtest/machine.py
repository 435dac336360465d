"""The machine: what a record says of it, and what CPU and memory a process on it takes."""

import contextlib
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from aiochat import __version__
from aiochat.loadtest.record import Machine
from aiochat.loadtest.target import Target

_PARTS: Final = ("aiohttp", "uvloop", "picows", "msgspec")


class Usage(NamedTuple):
    """Of processes and their children: when, CPU seconds so far, resident bytes now."""

    at: float
    cpu_seconds: float
    resident_bytes: int


def usage(*pids: int) -> Usage:
    """Raises psutil.Error if one of the processes has ended or is not ours to look at."""
    at = time.monotonic()
    cpu_seconds, resident_bytes = 0.0, 0
    for process in map(psutil.Process, pids):
        own_seconds, own_bytes = _usage(process)
        cpu_seconds, resident_bytes = cpu_seconds + own_seconds, resident_bytes + own_bytes
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                more_seconds, more_bytes = _usage(child)
                cpu_seconds, resident_bytes = cpu_seconds + more_seconds, resident_bytes + more_bytes
    return Usage(at, cpu_seconds, resident_bytes)


def _usage(process: psutil.Process) -> tuple[float, int]:
    times = process.cpu_times()[:4]  # user and system: its own, and of its children that have ended
    return sum(times), process.memory_info().rss


def listener(target: Target) -> int | None:
    """The process that listens there, if it runs on this machine and is ours to look at."""
    if target.address[0] not in _own_addresses():
        return None
    pids = _listening(target.address[1])
    for pid in sorted(pids):  # of a server with several, the parent: its children are counted with it
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).ppid() not in pids:
                usage(pid)
                return pid
    return None


def _own_addresses() -> set[str]:
    return {each.address for addresses in psutil.net_if_addrs().values() for each in addresses} | {"127.0.0.1", "::1"}


def _listening(port: int) -> set[int]:
    """The processes that do, of those that can be looked into: macOS lets nobody but root ask for all at once."""
    try:
        found = [(each.pid, each) for each in psutil.net_connections("tcp")]
    except psutil.AccessDenied:
        found = [(process.pid, each) for process in psutil.process_iter() for each in _of(process)]
    return {pid for pid, each in found if pid and each.status == psutil.CONN_LISTEN and each.laddr[1:2] == (port,)}


def _of(process: psutil.Process) -> list[Any]:
    with contextlib.suppress(psutil.Error):
        return list(process.net_connections("tcp"))
    return []


def machine() -> Machine:
    """The one that this runs on, as a record says it."""
    versions = {"python": platform.python_version(), "aiochat": __version__}
    for name in _PARTS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        versions=versions,
    )


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """That we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
