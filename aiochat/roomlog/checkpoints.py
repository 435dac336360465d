"""Brings what was written from SQLite's write-ahead log into the file: in a thread, as it may take the disk 50 ms."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiochat.roomlog.database import DatabaseError, connect

_SOON_BYTES: Final = 4 << 20
_SECONDS: Final = 5.0  # what a power cut may take under synchronous = "normal"


class Checkpoints:
    """At most so many seconds after a write, and sooner after many. SQLite lets writes go on meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0
        self._is_closing = False
        self._has_written = threading.Event()
        self._is_urgent = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wrote(self, size: int) -> None:
        self._bytes += size
        self._has_written.set()
        if self._bytes > _SOON_BYTES:
            self._bytes = 0
            self._is_urgent.set()

    def close(self) -> None:
        self._is_closing = True
        self._has_written.set()
        self._is_urgent.set()
        self._thread.join()

    def _run(self) -> None:
        connection = connect(self._path, "rw")
        while True:
            self._has_written.wait()
            self._is_urgent.wait(_SECONDS)
            if self._is_closing:
                break
            self._has_written.clear()
            self._is_urgent.clear()
            with suppress(DatabaseError):  # the next one will do more
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.close()
