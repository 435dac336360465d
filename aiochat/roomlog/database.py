"""The SQLite file: opening and checking it, its schema, its incarnation. In the writer process, and for a backup."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiochat.errors import StartError, StoreError
from aiochat.roomlog.lock import FileLock
from aiochat.roomlog.wire import DAMAGED, DAMAGES

Connection = sqlite3.Connection
DatabaseError = sqlite3.Error
FAILURES: Final = (sqlite3.Error, *DAMAGES)  # of SQLite, and of decoding what it found

_APPLICATION_ID: Final = 0x61696F63  # "aioc"
_MAGIC: Final = b"SQLite format 3\0"
_BUSY_SECONDS: Final = 0.25
_CHECKPOINT_PAGES: Final = 16_000  # 64 MiB, if those in the background cannot keep up
_PROBE_BYTES: Final = 16 << 10

# Each takes the schema one version further; PRAGMA user_version is how many a file has had.
MIGRATIONS: Final = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given again: what is left of a forgotten room stays unreachable
        name TEXT NOT NULL UNIQUE,
        generation INTEGER NOT NULL, -- how many rooms of its bucket were forgotten before
        newest INTEGER NOT NULL,
        oldest INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        touched INTEGER NOT NULL -- counts on with each append to any room
    );
    CREATE TABLE chunks ( -- of consecutive entries; ts is that of the last one
        id INTEGER PRIMARY KEY, -- new ones go to the end, whatever room they are of: a third cheaper than by room
        room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, ts INTEGER NOT NULL, content BLOB NOT NULL
    );
    CREATE UNIQUE INDEX chunks_by_room ON chunks (room, first);
    CREATE TABLE keys ( -- of one batch; the id is the last one's number, counted over all of them
        id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, content BLOB NOT NULL
    );
    CREATE TABLE forgotten (bucket INTEGER PRIMARY KEY, rooms INTEGER NOT NULL);
    CREATE TABLE doomed (room INTEGER PRIMARY KEY); -- forgotten rooms of which there are chunks
    """,
    "CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
)

_REASONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "another program has locked the file",
    sqlite3.SQLITE_LOCKED: "another program has locked the file",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_PERM: "the file is read-only",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}
_ADVICE: Final = {
    "the disk is full": "make room on it",
    "another program has locked the file": "end that program",
    DAMAGED: "restore a backup, or move it away to begin anew; the -wal file beside it goes with it",
}
_OTHER_ADVICE: Final = "this user must be able to write it and its directory; or choose another store.url"


def reason(error: Exception) -> str:
    """Why SQLite or the decoding of a chunk failed, for people."""
    if isinstance(error, DAMAGES):
        return DAMAGED
    code = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{_REASONS.get(code & 0xFF, str(error))} ({name})"


def unusable(path: Path, why: str) -> StartError:
    """The line for people when the file cannot be used at the start."""
    return StartError(f"{path}: {why}: {_ADVICE.get(why.partition(' (')[0], _OTHER_ADVICE)}")


def connect(path: Path, mode: str) -> Connection:
    """`mode` is ro, rw or rwc."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", _BUSY_SECONDS, isolation_level=None, uri=True)


def check(connection: Connection, path: Path) -> int:
    """The version of its schema. Raises `StartError` for a file of another program or a newer version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != _APPLICATION_ID and (application or tables or version):
        raise StartError(f"{path} is the database of another program: choose another store.url")
    if version > len(MIGRATIONS):
        raise StartError(f"{path} is of a newer version of aiochat: start that one, or choose another store.url")
    return int(version)


def migrate(connection: Connection, version: int, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring a schema of this version up to date; each step is all or nothing."""
    for number, script in enumerate(migrations[version:], version + 1):
        marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {number}"
        connection.executescript(f"BEGIN IMMEDIATE; {script}; {marks}; COMMIT")


class Database:
    """Two connections: one that writes, and one that only reads and goes on when the first one cannot."""

    def __init__(self, path: Path, synchronous: str, boot: str | None, pid: int) -> None:
        self.path = path
        self.on_rollback: Callable[[], None] = lambda: None
        self._synchronous = synchronous
        self._boot = boot
        self._pid = pid
        self._lock = FileLock(path.resolve())  # whatever links lead to it

    def open(self, wait_seconds: float, is_wanted: Callable[[float], bool]) -> None:
        """Raises `StartError`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"{self.path.parent} cannot be made: {error.strerror}; see store.url") from None
        self._lock.acquire(wait_seconds, is_wanted)
        self._check_header()
        try:
            self._connect()
        except sqlite3.Error as error:
            raise unusable(self.path, reason(error)) from None
        except (StoreError, OSError) as error:
            raise unusable(self.path, str(error)) from None

    def close(self, *, is_clean: bool) -> None:
        """Let go of the file; `is_clean` says that everything was answered."""
        try:
            if is_clean:
                self._begin_run(is_clean=True)
            self.reader.close()
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (sqlite3.Error, StoreError, OSError):
            pass  # it is as good as killed, which the next start knows how to take
        finally:
            self.writer.close()
            self._lock.release()

    def look(self) -> None:
        """Raises `StoreError` unless the file is still where it was: the next start would find another one, or none."""
        try:
            is_there = self.path.stat().st_ino == self._inode
        except OSError:
            is_there = False
        if not is_there:
            raise StoreError("the file was moved or deleted")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises `StoreError`."""
        try:
            self.writer.execute("BEGIN IMMEDIATE")
            yield
            self.writer.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, FAILURES):
                raise StoreError(reason(error)) from None
            raise

    @contextmanager
    def overwriting(self) -> Iterator[None]:
        """What is deleted meanwhile is not left in unused parts of the file, for people to find."""
        self.writer.execute("PRAGMA secure_delete = ON").fetchall()
        yield
        self.writer.execute("PRAGMA secure_delete = OFF").fetchall()

    def probe(self) -> None:
        """Write. Raises `StoreError`."""
        with self.transaction():
            self.set("probe", secrets.token_bytes(_PROBE_BYTES))

    def read_anew(self) -> None:
        """What is read next comes from the disk. Raises `StoreError`."""
        try:
            for connection in (self.reader, self.writer):
                connection.execute("PRAGMA shrink_memory").fetchall()
        except sqlite3.Error as error:
            raise StoreError(reason(error)) from None

    def get(self, name: str) -> Any:
        found = self.writer.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def set(self, name: str, value: Any) -> None:
        self.writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def kept(self) -> dict[str, bytes]:
        return dict(self.writer.execute("SELECT key, value FROM kept").fetchall())

    def keep(self, key: str, value: bytes | None) -> int:
        """Within a transaction; None forgets it. How many there are then."""
        if value is None:
            self.writer.execute("DELETE FROM kept WHERE key = ?", (key,))
        else:
            self.writer.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, value))
        (count,) = self.writer.execute("SELECT count(*) FROM kept").fetchone()
        return int(count)

    def _check_header(self) -> None:
        try:
            with self.path.open("rb") as file:
                header = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StartError(f"{self.path} cannot be read: {error.strerror}; see store.url") from None
        if header != _MAGIC and (header or self._lock.runs):
            raise StartError(
                f"{self.path} is no SQLite database, or a damaged one:"
                " restore a backup, move it away to begin anew, or choose another store.url"
            )

    def _connect(self) -> None:
        self.writer = connect(self.path, "rwc")
        migrate(self.writer, check(self.writer, self.path))
        if self.writer.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StartError(f"{self.path} is on a file system that SQLite's WAL does not work on: {_OTHER_ADVICE}")
        for pragma in (
            f"synchronous = {self._synchronous}",
            f"fullfsync = {self._synchronous == 'full'}",  # of macOS, where fsync alone does not reach the disk
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            "journal_size_limit = 67108864",
            "cache_size = -16384",
            "secure_delete = OFF",
        ):
            self.writer.execute(f"PRAGMA {pragma}").fetchall()
        self._begin_run(is_clean=False)
        self.reader = connect(self.path, "ro")
        self.reader.execute("PRAGMA cache_size = -4096")

    def _begin_run(self, *, is_clean: bool) -> None:
        """Name the run, in the database and beside it; a stop between the two leaves either name valid."""
        self._inode = self.path.stat().st_ino
        last, run = self.get("run"), secrets.token_hex(8)
        was_lost = self._was_lost()
        if last is not None:
            self._lock.write(self._pid, [last, run])
        with self.transaction():
            if was_lost:
                self.set("incarnation", secrets.token_hex(5))
            if last is None:
                self.set("secret", secrets.token_bytes(32))
            for name, value in (
                *(("run", run), ("is_clean", is_clean), ("is_copy", False), ("boot", self._boot)),
                *(("synchronous", self._synchronous), ("inode", self._inode)),
            ):
                self.set(name, value)
        self._lock.write(self._pid, [run])
        self.secret: bytes = self.get("secret")
        self.incarnation: str = self.get("incarnation")

    def _was_lost(self) -> bool:
        """Whether clients may have seen what is not here: after a power cut, or in a copy."""
        was_cut = not self.get("is_clean") and self.get("synchronous") != "full"
        return bool(
            self.get("is_copy")
            or self.get("run") not in self._lock.runs
            or self.get("inode") != self._inode
            or (was_cut and (self._boot is None or self.get("boot") != self._boot))
        )

    def _roll_back(self) -> None:
        self.on_rollback()
        try:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself
