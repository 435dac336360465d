"""The writer's own parts, in this process: what it deletes and when, its schema, its frames."""

import sqlite3
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.roomlog import Draft, chunks, wire
from aiochat.roomlog.database import MIGRATIONS, Database, check, connect, migrate
from aiochat.roomlog.drafts import Digest
from aiochat.roomlog.wire import Frames
from aiochat.roomlog.writer import Writer
from tests.roomlogs import draft

KIB = 1 << 10
HOUR_MS = 3_600_000
LIMITS = wire.Open(
    path="",
    synchronous="normal",
    wait_seconds=1.0,
    pid=1,
    boot="boot",
    max_messages=20_000,
    max_bytes=1 << 30,
    max_rooms=10_000,
    max_age_ms=0.0,
    max_keys=1_000_000,
    key_ms=600_000.0,
)


class Store:
    """A writer without a process, and a look into its file."""

    def __init__(self, path: Path, **limits: Any) -> None:
        database = Database(path, "normal", "boot", 1)
        database.open(1.0, lambda _: True)
        values = {name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__}
        self.writer = Writer(database, wire.Open(**{**values, "path": str(path), **limits}))
        self._digest = Digest(database.secret)
        self._file = sqlite3.connect(path)

    def close(self) -> None:
        self._file.close()
        self.writer.close(is_clean=True)

    def append(self, room: str, *texts: str, **rest: Any) -> None:
        self.append_drafts(room, [draft(text, **rest) for text in texts])

    def append_drafts(self, room: str, drafts: list[Draft]) -> None:
        answered = self.writer.answer(wire.Append([chunks.encoded(room, drafts, self._digest)]))
        assert isinstance(answered, wire.Appended)

    def read(self, room: str) -> wire.Page:
        page = self.writer.answer(wire.Read(room, 300, None, None))
        assert isinstance(page, wire.Page)
        return page

    def idle(self) -> int:
        """Let it do all that nobody asks for: how many slices that took."""
        slices = 0
        while self.writer.idle_seconds() <= 0:
            self.writer.idle()
            slices += 1
        return slices

    def count(self, table: str) -> int:
        return int(self._file.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a new log."""
    return tmp_path / "log.db"


@pytest.fixture
def stores(path: Path) -> Iterator[list[Store]]:
    """Closes the stores that a test puts into it."""
    opened: list[Store] = []
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def make_store(path: Path, stores: list[Store]) -> Any:
    """Opens the log with some limits; after another one, that is closed first."""

    def make(**limits: Any) -> Store:
        while stores:
            stores.pop().close()
        stores.append(Store(path, **limits))
        return stores[0]

    return make


def test_a_batch_is_few_rows(make_store: Any) -> None:
    """64 entries or 16 KiB make one."""
    store = make_store()
    store.append("a", *["x"] * 200)
    assert store.count("chunks") == 4
    store.append("a", *["x" * 5 * KIB] * 6)
    assert store.count("chunks") == 4 + 2
    store.append("a", "x" * 100 * KIB, "y")
    assert store.count("chunks") == 4 + 2 + 2


def test_a_full_room_is_pruned_as_it_grows(make_store: Any) -> None:
    """Without anybody's idle time, and never below its limit."""
    store = make_store(max_messages=100)
    for _ in range(500):
        store.append("a", "x", "y")
        assert store.count("chunks") <= 60
    page = store.read("a")
    assert (page.oldest, page.newest) == (901, 1000)


def test_lower_limits_prune_what_is_there(make_store: Any) -> None:
    """In slices, while nobody asks for anything."""
    store = make_store()
    for _ in range(1000):
        store.append("a", "x")
        store.append("b", "x")
    store = make_store(max_messages=10)
    page = store.read("a")
    assert (page.oldest, page.newest) == (991, 1000)
    assert store.idle() > 5
    assert store.count("chunks") == 20
    assert store.read("a") == page


def test_a_forgotten_room_leaves_nothing(make_store: Any) -> None:
    """It is out of reach at once; its rows go in slices."""
    store = make_store(max_rooms=1)
    for _ in range(1000):
        store.append("a", "x")
    store.append("b", "x")
    assert (store.read("a").newest, store.count("chunks") > 500) == (0, True)
    store.idle()
    assert [store.count(table) for table in ("chunks", "rooms", "doomed", "forgotten")] == [1, 1, 0, 1]


def test_forgotten_rooms_do_not_pile_up_without_idle_time(make_store: Any) -> None:
    """Each append deletes more than it brings."""
    store = make_store(max_rooms=2)
    for number in range(300):
        store.append(f"room-{number}", *["x" * 10 * KIB] * 20)
    assert store.count("chunks") < 2 * 300


def test_the_bytes_of_all_rooms_are_bounded(make_store: Any) -> None:
    """Also when one room has them all; what is counted is what is there."""
    store = make_store(max_bytes=1000 * KIB)
    for number in range(300):
        store.append("ab"[number < 3], "x" * 10 * KIB)
    store.idle()
    size = store._file.execute("SELECT sum(length(content) + 64) FROM chunks").fetchone()[0]
    assert 900 * KIB < size <= 1000 * KIB
    assert store._file.execute("SELECT sum(bytes) FROM rooms").fetchone()[0] == size


def test_old_messages_are_deleted(make_store: Any) -> None:
    """In idle time, whole chunks of them."""
    now = time.time_ns() // 1_000_000
    store = make_store(max_age_ms=2.0 * HOUR_MS)
    for hours in (5, 4, 3, 1):
        store.append("a", "x", ts=now - hours * HOUR_MS)
    store.append("b", "x", ts=now - 3 * HOUR_MS)
    store.idle()
    assert store.count("chunks") == 1
    assert (store.read("a").oldest, store.read("b").oldest) == (4, 2)
    store.append("b", "y")
    assert store.read("b").start == 2


def test_keys_do_not_pile_up(make_store: Any) -> None:
    """Those beyond their number or time are deleted from the file as well."""
    store = make_store(max_keys=50)
    for number in range(200):
        store.append("a", "x", key=f"key-{number:04}")
    store.idle()
    assert store.count("keys") == 50
    store = make_store(key_ms=-1000.0)
    store.idle()
    assert store.count("keys") == 0


def test_keys_are_read_again(make_store: Any) -> None:
    """The newest of them, as many as are to be remembered."""
    store = make_store()
    for number in range(10):
        store.append("a", "x", key=f"key-{number:04}")
    store = make_store(max_keys=3)
    for number in (9, 8, 7):
        store.append("a", "x", key=f"key-{number:04}")
    assert store.read("a").newest == 10
    store.append("a", "x", key="key-0006")
    assert store.read("a").newest == 11


def test_a_batch_that_fails_leaves_nothing(make_store: Any) -> None:
    """No entries, no rooms, no keys; the next one takes the offsets."""
    store = make_store()
    store.append("a", "one")
    lock = sqlite3.connect(store._file.execute("PRAGMA database_list").fetchone()[2], isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    batch = wire.Append([chunks.encoded(room, [draft("x", key="key-0001")], store._digest) for room in "ab"])
    assert isinstance(store.writer.answer(batch), wire.Failed)
    lock.close()
    assert (store.count("rooms"), store.count("keys")) == (1, 0)
    answered = store.writer.answer(batch)
    assert isinstance(answered, wire.Appended)
    assert [(room.newest, room.refused) for room in answered.rooms] == [(2, {}), (1, {})]


@pytest.mark.parametrize("length", [10, 1000, 50_000])
def test_what_was_erased_is_not_in_the_file(make_store: Any, path: Path, length: int) -> None:
    """Nobody finds it there later, not even in parts that are unused."""
    store = make_store()
    store.append("a", "one", "secret" * length, "three")
    make_store()
    assert b"secretse" in path.read_bytes()
    stores = make_store()
    stores.append_drafts("a", [draft(None, target=2)])
    make_store()
    assert b"secretse" not in path.read_bytes()


def test_a_traceback_with_local_variables_does_not_show_the_secret(make_store: Any) -> None:
    """It signs the sessions, and a draft that cannot be encoded is logged with its traceback."""
    secret = bytes(range(32))
    digest, bad = Digest(secret), draft("x", key="key-0001", target=2**70)
    for encode in (lambda: chunks.encoded("a", [bad], digest), lambda: digest(bad)):
        with pytest.raises(OverflowError) as raised:
            encode()
        error, within = raised.value, raised.tb.tb_next
        shown = "".join(traceback.TracebackException(type(error), error, within, capture_locals=True).format())
        assert "key-0001" in shown
        assert repr(secret)[2:20] not in shown


def test_only_so_many_values_are_kept(make_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused; another value of a key that is there, or one instead of a forgotten one, is not."""
    store = make_store()
    monkeypatch.setattr("aiochat.roomlog.writer.KEPT_VALUES", 2)
    kept = [store.writer.answer(wire.Keep(key, b"1")) for key in "abca"]
    assert [isinstance(answered, wire.Kept) for answered in kept] == [True, True, False, True]
    store.writer.answer(wire.Keep("a", None))
    assert isinstance(store.writer.answer(wire.Keep("c", b"1")), wire.Kept)
    assert store.count("kept") == 2


# The schema

LATER = (*MIGRATIONS, "ALTER TABLE rooms ADD COLUMN topic TEXT")


def test_an_older_file_is_brought_up_to_date(path: Path, make_store: Any) -> None:
    """Step by step; what it holds stays."""
    make_store().append("a", "one")
    connection = connect(path, "rw")
    migrate(connection, check(connection, path), LATER)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(LATER),)
    assert connection.execute("SELECT name, topic FROM rooms").fetchall() == [("a", None)]
    migrate(connection, len(LATER), LATER)
    connection.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path, make_store: Any) -> None:
    """The next start tries again."""
    make_store().append("a", "one")
    connection = connect(path, "rw")
    with pytest.raises(sqlite3.OperationalError, match="no such table: theirs"):
        migrate(connection, len(MIGRATIONS), (*MIGRATIONS, f"{LATER[-1]}; DELETE FROM theirs"))
    connection.close()
    connection = connect(path, "rw")
    assert check(connection, path) == len(MIGRATIONS)
    assert "topic" not in connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'rooms'").fetchone()[0]
    connection.close()


# Frames


@given(bodies=st.lists(st.binary(max_size=300)), sizes=st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_in_any_pieces(bodies: list[bytes], sizes: list[int]) -> None:
    """However the stream is cut, the same bodies come out."""
    stream = b"".join(len(body).to_bytes(4) + body for body in bodies)
    frames, found, start = Frames(), list[bytes](), 0
    while start < len(stream):
        size = sizes[len(found) % len(sizes)]
        found += frames.feed(stream[start : start + size])
        start += size
    assert found == bodies


def test_requests_are_what_they_were() -> None:
    """The one type that holds all of them tells them apart."""
    page = wire.Page("epoch", 1, 2, 1, 2, [(1, b"chunk")])
    for answered in (wire.Opened(b"secret", {}), wire.Appended([]), page, wire.Failed("reason")):
        body = next(iter(Frames().feed(wire.frame(answered))))
        assert wire.decode_answer(body) == answered
