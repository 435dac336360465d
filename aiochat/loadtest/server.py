"""The server under test: one of our own with a folder and a core to itself, the reference peer, or that of a URL."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
import psutil

from aiochat.config import defaults, is_secret, load
from aiochat.loadtest.interrupts import Interrupts
from aiochat.loadtest.machine import Usage, listener, usage
from aiochat.loadtest.scenario import CannotRun
from aiochat.loadtest.target import Target, find

_HERE: Final = Path(__file__).parent
CONFIG: Final = next(
    (path for path in (_HERE / "server.toml", _HERE.parent.parent / "config" / "loadtest.toml") if path.exists()),
    _HERE / "server.toml",
)
# Below those that outgoing connections are given: none of ours takes it meanwhile.
OWN_PORTS: Final = range(20_000, 32_000)
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 15.0
_NO_SETTINGS: Final = ("server.host", "server.port", "logging.level")  # of what is measured


class Server:
    """A server that runs. `pids` has the process of each node; none where they are not ours to look at."""

    def __init__(self, target: Target, pids: Sequence[int], *, pinned: bool = False) -> None:
        self.target = target
        self.pids = pids
        self.pinned = pinned
        self._process: subprocess.Popen[bytes] | None = None

    def usage(self) -> Usage | None:
        """None once it has ended."""
        with contextlib.suppress(psutil.Error):
            return usage(*self.pids) if self.pids else None
        return None

    def end(self) -> str:
        """How it has ended; empty while it runs, as far as one can see."""
        if self._process is not None:
            code = self._process.poll()
            return "" if code is None else f"the server ended, {_fate(code)}"
        gone = next((pid for pid in self.pids if not psutil.pid_exists(pid)), None)
        return "" if gone is None else f"the server, process {gone}, ended"

    def answers(self) -> bool:
        """Whether a node still accepts a connection."""
        for node in self.target.nodes:
            with contextlib.suppress(CannotRun):
                find(node.url)
                return True
        return False

    @classmethod
    def started(cls, target: Target, process: subprocess.Popen[bytes], *, pinned: bool) -> "Server":
        server = cls(target, [process.pid], pinned=pinned)
        server._process = process
        return server


def _fate(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def at_urls(urls: Sequence[str], pid: int | None) -> Server:
    """The one whose nodes listen there; its processes are found if they run here. CannotRun if there is none."""
    first, *others = map(find, urls)
    target = msgspec.structs.replace(first, others=tuple(others))
    if pid is None:
        found = {listener(node) for node in target.nodes}
        return Server(target, [each for each in found if each is not None] if None not in found else [])
    try:
        usage(pid)
    except psutil.Error as error:
        raise CannotRun(f"--pid {pid}: no look at this process ({error})") from None
    return Server(target, [pid])


@contextlib.contextmanager
def own(interrupts: Interrupts) -> Iterator[Server]:
    """`aiochat serve`, the whole product: it keeps what is said in a SQLite file. Gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="aiochat-loadtest-") as folder:
        store = f"sqlite:///{folder}/aiochat.db"
        flags = ["--config", str(CONFIG), "--host", "127.0.0.1", "--log-level", "warning", "--store", store]
        with _started(["aiochat", "serve", *flags], interrupts) as server:
            yield server


@contextlib.contextmanager
def peer(interrupts: Interrupts) -> Iterator[Server]:
    with _started(["aiochat.loadtest.peer"], interrupts) as server:
        yield server


def settings() -> dict[str, str]:
    """Of our own server, those that differ from the defaults."""
    given, default = load(CONFIG, {}).model_dump(mode="json", exclude={"room"}), defaults()
    differing = {
        f"{section}.{key}": str(value)
        for section, values in given.items()
        for key, value in values.items()
        if value != default[section][key] and f"{section}.{key}" not in _NO_SETTINGS and not is_secret(section, key)
    }
    return differing | {"store.url": "sqlite: a file in a temporary folder"}


@contextlib.contextmanager
def _started(command: Sequence[str], interrupts: Interrupts) -> Iterator[Server]:
    port, process = _free_port(), None
    with tempfile.TemporaryFile() as log:
        try:
            with _one_core_apart() as pinned:
                with interrupts.held():
                    process = _start([*command, "--port", str(port)], log)
                pinned.leave()
                yield Server.started(_up(process, port, log), process, pinned=pinned.possible)
        finally:
            if process is not None:
                _end(process)


class _Cores:
    """One for the server, the others for us and the workers we start, on systems that can and have two."""

    def __init__(self) -> None:
        self.all = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
        self.possible = len(self.all) > 1

    def enter(self, cores: Sequence[int]) -> None:
        if self.possible:
            os.sched_setaffinity(0, cores)

    def leave(self) -> None:
        self.enter(self.all[1:])


@contextlib.contextmanager
def _one_core_apart() -> Iterator[_Cores]:
    """We are on the server's core until `leave`, so that all that it starts inherits it."""
    cores = _Cores()
    cores.enter(cores.all[:1])
    try:
        yield cores
    finally:
        cores.enter(cores.all)


def _start(command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "aiochat.loadtest.tethered", *command],
        stdin=subprocess.PIPE,  # nothing is written: it ends when we do, even by SIGKILL
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is ours to handle: the server is ended after its last figures
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _free_port() -> int:
    while True:
        port = random.choice(OWN_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _up(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> Target:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(CannotRun):
            return find(f"ws://127.0.0.1:{port}/ws")
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise CannotRun(f"the server did not start: {last or 'it does not listen'}")
        time.sleep(0.05)
