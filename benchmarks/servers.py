"""The servers that are compared: what each needs, how it is started on a core of its own, and ended."""

import contextlib
import importlib.util
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent
PORTS: Final = range(20_000, 32_000)
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0


class CannotStartError(Exception):
    """One line that says why a server is left out."""


class Server(NamedTuple):
    name: str
    title: str
    command: tuple[str, ...]  # `--port PORT` comes after it
    module: str | None = None  # the Python package it needs, beyond aiochat's own

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if self.command[0] == "node":
            return _missing_of_node()
        if self.module and not importlib.util.find_spec(self.module):
            return f"the Python package {self.module} is not installed"
        return None


class Running(NamedTuple):
    port: int
    pid: int


class Cores(NamedTuple):
    """Which cores the server and the meter may use; both empty where a process cannot be pinned."""

    server: frozenset[int]
    meter: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
        if len(usable) < 2:
            return cls(frozenset(), frozenset())
        return cls(frozenset(usable[:1]), frozenset(usable[1:]))


def _python(script: str) -> tuple[str, ...]:
    return sys.executable, str(HERE / script)


AIOCHAT: Final = Server(
    "aiochat",
    "aiochat",
    (
        *(sys.executable, "-m", "aiochat", "serve", "--config", str(HERE.parent / "config" / "loadtest.toml")),
        *("--host", "127.0.0.1", "--log-level", "warning"),
    ),
)
SERVERS: Final = (
    AIOCHAT,
    Server("floor", "the floor", _python("floor.py"), "uvloop"),
    Server("uwebsockets", "uWebSockets", _python("uwebsockets.py"), "socketify"),
    Server("picows", "picows", _python("picows_server.py"), "picows"),
    Server("ws", "ws (Node)", ("node", str(HERE / "ws.js"))),
    Server("websockets", "websockets", _python("websockets_server.py"), "websockets"),
    Server("aiohttp", "plain aiohttp", _python("aiohttp_server.py"), "uvloop"),
)


def _missing_of_node() -> str | None:
    if not shutil.which("node"):
        return "there is no node on the PATH"
    if not (HERE / "node_modules" / "ws").is_dir():
        return "ws is not installed: npm install --prefix benchmarks"
    return None


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What is started in this block stays on these cores; without any, wherever the system puts it."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(server: Server, cores: Cores, environment: Mapping[str, str], *, show: bool = False) -> Iterator[Running]:
    """The server on a free port, accepting connections; gone afterwards, whatever happens. `show` its last line."""
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        with pinned(cores.server):
            process = _start([*server.command, "--port", str(port)], environment, log)
        try:
            _wait_until_up(process, port, log)
            yield Running(port, process.pid)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()
            if show:
                log.seek(0)
                print(log.read().decode(errors="replace").strip().rpartition("\n")[2])


def _start(command: list[str], environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is the benchmark's to handle
    )


def _free_port() -> int:
    """Below the ports that systems give to clients: one of the meter could take it before the server does."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise CannotStartError("no port is free")


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _accepts(port):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise CannotStartError(last or "it does not accept connections")
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
