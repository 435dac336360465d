"""Real redis-server processes for tests, on unix sockets; each keeps nothing but what it is told to save.

`TEST_REDIS=/usr/bin/valkey-server make test` takes another program.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_DATABASES: Final = 4096
_START_SECONDS: Final = 10
PROGRAM: Final = os.environ.get("TEST_REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")

_databases = count()
_shared: "list[RedisServer]" = []
_urls: dict[Path, str] = {}


class RedisServer:
    """One server; `ask` is a connection of the test's own to it."""

    def __init__(self, directory: Path, *options: str) -> None:
        if PROGRAM is None:
            pytest.skip("needs redis-server")
        self.directory = directory
        self.path = directory / "redis.sock"
        self.url = f"unix://{self.path}"
        self._options = options
        self.ask: Any = redis.Redis(unix_socket_path=str(self.path), retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        """Start it, or start it again, with what it has saved."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [
                *(PROGRAM, "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.directory)),
                *("--save", "", "--appendonly", "no", "--databases", str(_DATABASES), "--enable-debug-command", "yes"),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.ask.ping()
                return
            except redis.AuthenticationError:
                return
            except redis.RedisError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)

    def stop(self) -> None:
        """Kill it; what it has not saved is gone."""
        self._process.kill()
        self._process.wait()
        self.ask.connection_pool.disconnect()
        self.path.unlink(missing_ok=True)

    def pause(self) -> None:
        """It is there, and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def new_url(self) -> str:
        """That of a database which nobody has used."""
        return f"{self.url}?db={next(_databases) % _DATABASES}"


def client(port: int) -> Any:
    """A connection of the test's own to a server on a port."""
    return redis.Redis(port=port, retry=Retry(NoBackoff(), 0))


@contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """A server of this test's own."""
    with tempfile.TemporaryDirectory(prefix="aiochat-redis-") as directory:
        server = RedisServer(Path(directory), *options)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def sentinel(port: int, master_port: int, *lines: str) -> Iterator[None]:
    """One that watches a master and decides alone."""
    with tempfile.TemporaryDirectory(prefix="aiochat-sentinel-") as directory:
        config = Path(directory) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master_port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
            + "".join(f"{line}\n" for line in lines)
        )
        assert PROGRAM is not None
        process = subprocess.Popen([PROGRAM, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def knows_replica(port: int) -> bool:
    """Whether the Sentinel on this port could fail over to one."""
    with client(port) as sentinel:
        return bool(sentinel.execute_command("SENTINEL", "REPLICAS", "main"))


def shared() -> RedisServer:
    """One for all tests of this process, which each keep to a database of their own."""
    if not _shared:
        _shared.append(RedisServer(Path(tempfile.mkdtemp(prefix="aiochat-redis-"))))
    return _shared[0]


def stop_shared() -> None:
    """At the end of all tests."""
    for server in _shared:
        server.stop()
        shutil.rmtree(server.directory)
    _shared.clear()


def url_of(directory: Path) -> str:
    """The database that stands for this directory."""
    if directory not in _urls:
        _urls[directory] = shared().new_url()
    return _urls[directory]
