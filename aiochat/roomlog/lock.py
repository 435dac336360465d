"""One process owns a database file: it holds the lock on the file beside it, which says who that is.

The lock's file also holds the name of the database's last run, which the database holds too: where they differ, the
database is another one than the one that was here.
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from aiochat.errors import StartError

_POLL_SECONDS: Final = 0.05


class Holder(msgspec.Struct):
    """Who holds the lock, since when, and the names of runs that the database may be of."""

    pid: int
    host: str
    since: str
    runs: list[str]


class FileLock:
    """Held from `acquire` until `release` or the end of the process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._descriptor = -1
        self.runs: list[str] = []

    def acquire(self, wait_seconds: float, is_wanted: Callable[[float], bool]) -> None:
        """Wait for the lock. Raises `StartError` when somebody else has it for so long, or it is not wanted any more.

        `is_wanted` waits for the seconds it is given.
        """
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(f"{self._path} cannot be written: {error.strerror}; see store.url") from None
        deadline = time.monotonic() + wait_seconds
        while not self._is_locked():
            if not is_wanted(_POLL_SECONDS) or time.monotonic() > deadline:
                raise StartError(self._in_use())
        holder = self._holder()
        self.runs = holder.runs if holder is not None else []

    def write(self, pid: int, runs: list[str]) -> None:
        """Say who holds it; on the disk when this returns."""
        since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        holder = msgspec.json.encode(Holder(pid, socket.gethostname(), since, runs)) + b"\n"
        os.pwrite(self._descriptor, holder, 0)
        os.ftruncate(self._descriptor, len(holder))
        os.fsync(self._descriptor)
        self.runs = runs

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StartError(f"{self._path} cannot be locked: {error.strerror}; see store.url") from None
        return True

    def _holder(self) -> Holder | None:
        try:
            return msgspec.json.decode(os.pread(self._descriptor, 4096, 0), type=Holder)
        except msgspec.MsgspecError:
            return None

    def _in_use(self) -> str:
        holder = self._holder()
        who = f"process {holder.pid} on {holder.host} since {holder.since}" if holder else "another process"
        return (
            f"{self._database} is in use by {who}: stop that one, or give this one another store.url"
            " (several processes can share redis:// only; see docs/deployment.md)"
        )
