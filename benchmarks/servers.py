"""The servers that are compared: what each needs, how it is started on a core of its own, and ended."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple

from benchmarks import parts
from benchmarks.parts import Parts

HERE: Final = Path(__file__).resolve().parent
GORILLA: Final = HERE.parent / ".venv" / "gorilla"  # where make builds it
PORTS: Final = range(20_000, 32_000)
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0


class CannotStartError(Exception):
    """One line that says why a server is left out."""


Codec = Literal["json", "text", "socketio"]


class Server(NamedTuple):
    name: str
    title: str
    command: tuple[str, ...]  # `--port PORT` comes after it
    parts: Parts
    codec: Codec = "text"  # what it speaks where it is to speak JSON; Socket.IO is spoken always


class Running(NamedTuple):
    port: int
    pid: int
    codec: Codec


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


def _module(name: str) -> tuple[str, ...]:
    return sys.executable, "-m", name


def _node(script: str) -> tuple[str, ...]:
    return "node", str(HERE / script)


AIOCHAT: Final = Server(
    "aiochat",
    "aiochat",
    (
        *(*_module("aiochat"), "serve", "--config", str(HERE.parent / "config" / "loadtest.toml")),
        *("--host", "127.0.0.1", "--log-level", "warning"),
    ),
    parts.own(),
    "json",
)
FLOOR: Final = Server("floor", "the floor", _python("floor.py"), parts.python("aiohttp", "uvloop"), "json")
SERVERS: Final = (
    AIOCHAT,
    FLOOR,
    Server("uwebsockets", "uWebSockets", _python("uwebsockets.py"), parts.python("socketify")),
    Server("nchan", "nchan (nginx)", _python("nchan.py"), parts.nginx()),
    Server("gorilla", "gorilla (Go)", (str(GORILLA),), parts.gorilla(GORILLA)),
    Server("picows", "picows", _module("aiochat.loadtest.peer"), parts.python("picows", "uvloop")),
    Server("ws", "ws (Node)", _node("ws.js"), parts.node("ws")),
    Server("websockets", "websockets", _python("websockets_server.py"), parts.python("websockets", "uvloop")),
    Server("aiohttp", "plain aiohttp", _python("aiohttp_server.py"), parts.python("aiohttp", "uvloop")),
    Server("socketio", "Socket.IO (Node)", _node("socketio.js"), parts.node("socket.io"), "socketio"),
    Server(
        "python-socketio",
        "python-socketio",
        _python("python_socketio.py"),
        parts.python("python-socketio", "uvicorn", "uvloop"),
        "socketio",
    ),
)


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
            yield Running(port, process.pid, server.codec)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):  # and what it started
                os.killpg(process.pid, signal.SIGKILL)
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
