"""What `make run-cluster` runs: a Redis of this checkout, with its data in var/redis, and `aiochat serve` on it.

Ctrl-C reaches the servers first; Redis is told to stop when they are gone, for they still write to it.
"""

import fcntl
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

CONFIG: Final = Path(__file__).with_name("redis.conf")
DATA: Final = Path("var/redis")
START_SECONDS: Final = 30.0  # in which it reads what it has kept
MISSING: Final = (
    "make run-cluster needs Redis 7 or newer, or Valkey:"
    " sudo apt install redis-server (Debian, Ubuntu) or brew install redis (macOS)"
)


def main(arguments: list[str]) -> int:
    """Run both until the servers end; their exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until there is a server to pass it on to
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        return _refuse(MISSING)
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="aiochat-") as private:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _refuse(f"another make run-cluster has {DATA.absolute()}")
        path = Path(private, "redis.sock")  # a short path: a socket's may have about 100 characters
        with _redis(program, path, lock.fileno()) as redis:
            if not _answers(redis, path):
                return _refuse(f"{program} did not start; see {DATA / 'redis.log'}")
            return _serve(["--store", f"unix://{path}", *arguments])


@contextmanager
def _redis(program: str, path: Path, lock: int) -> "Iterator[subprocess.Popen[bytes]]":
    """It has the lock, too: if this process is killed, nobody else may write to the data while Redis does."""
    place = ("--dir", str(DATA), "--unixsocket", str(path), "--logfile", "redis.log")
    # In a session of its own an interrupt from the terminal does not reach it.
    redis = subprocess.Popen(
        [program, str(CONFIG), *place], stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[lock]
    )
    try:
        yield redis
    finally:
        redis.terminate()
        redis.wait()


def _answers(redis: "subprocess.Popen[bytes]", path: Path) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while redis.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(path))
            asking.sendall(b"PING\r\n")
            if asking.recv(100).startswith(b"+PONG"):
                return True
        time.sleep(0.05)
    return False


def _serve(arguments: list[str]) -> int:
    server = subprocess.Popen([sys.executable, "-m", "aiochat", "serve", *arguments])
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal sends it to the server, too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: server.terminate())
    return server.wait()


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
