"""The server under test: starting and ending one of our own, pinning it, and what CPU and memory it takes."""

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import IO, Final, NamedTuple
from urllib.parse import urlsplit

import psutil

from aiochat.loadtest.crew import Target
from aiochat.loadtest.plan import PlanError

CONFIG: Final = Path("config/loadtest.toml")
# What that file says, for where it is not: an installed aiochat.
ENVIRONMENT: Final = {
    "AIOCHAT_LIMITS__MESSAGES_PER_SECOND": "0",
    "AIOCHAT_LIMITS__BYTES_PER_SECOND": "0",
    "AIOCHAT_STORE__URL": "memory:",
}
OWN_PORTS: Final = range(
    20_000, 32_000
)  # below those that outgoing connections are given: none of ours takes it meanwhile
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0


class Usage(NamedTuple):
    """Of a process and its children: when, CPU seconds so far, resident bytes now."""

    at: float
    cpu_seconds: float
    resident_bytes: int


def usage(pid: int) -> Usage:
    """Raises psutil.Error if the process has ended or is not ours to look at."""
    at = time.monotonic()
    process = psutil.Process(pid)
    cpu_seconds, resident_bytes = _usage(process)
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            more_seconds, more_bytes = _usage(child)
            cpu_seconds, resident_bytes = cpu_seconds + more_seconds, resident_bytes + more_bytes
    return Usage(at, cpu_seconds, resident_bytes)


def _usage(process: psutil.Process) -> tuple[float, int]:
    times = process.cpu_times()[:4]  # user and system: its own, and of its children that have ended
    return sum(times), process.memory_info().rss


def find(url: str) -> Target:
    """The address of the URL that accepts a connection, or PlanError."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=5) as probe:
            return Target(url, probe.getpeername()[:2], probe.family)
    except OSError as error:
        raise PlanError(f"no server at {url}: {error}") from error


class Own(NamedTuple):
    """A server that we started."""

    target: Target
    pid: int
    pinned: bool


@contextlib.contextmanager
def own_server() -> Iterator[Own]:
    """`aiochat serve` on a free port, up and answering; gone afterwards, whatever happens."""
    port, process = _free_port(), None
    with tempfile.TemporaryFile() as log:
        try:
            with _interrupts_held():
                process = _start(port, log)
            with _pinned(process.pid) as pinned:
                _wait_until_up(process, port, log)
                yield Own(find(f"ws://127.0.0.1:{port}/ws"), process.pid, pinned)
        finally:
            if process is not None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    finally:
        process.kill()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM count when the block is over: what is half started cannot be ended."""
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: held.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt


def _free_port() -> int:
    while True:
        port = random.choice(OWN_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _start(port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    config = ["--config", str(CONFIG)] if CONFIG.exists() else []
    flags = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    return subprocess.Popen(
        [sys.executable, "-m", "aiochat", "serve", *config, *flags],
        env=os.environ if config else os.environ | ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is ours to handle: the server is ended after its last figures
    )


@contextlib.contextmanager
def _pinned(pid: int) -> Iterator[bool]:
    """Gives the server one core, and us and the workers we start the others, on systems that can and have two."""
    ours = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(ours) < 2:
        yield False
        return
    os.sched_setaffinity(pid, ours[:1])
    os.sched_setaffinity(0, ours[1:])
    try:
        yield True
    finally:
        os.sched_setaffinity(0, ours)


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise PlanError(f"the server did not start: {last or 'it does not answer GET /healthz'}")
        time.sleep(0.05)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
