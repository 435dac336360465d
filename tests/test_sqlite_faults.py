"""The SQLite room log when its file cannot be used: at the start one line, later `StoreError` until it can be again."""

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from aiochat.errors import StartError, StoreError
from tests.roomlogs import Log, draft
from tests.test_sqlite_log import epoch_of, open_log, overwrite, writer_of

KIB = 1 << 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a new log."""
    return tmp_path / "log.db"


async def refusal(file: Path) -> str:
    """The line that a start ends with."""
    before = await asyncio.to_thread(lambda: file.read_bytes() if file.is_file() else None)
    with pytest.raises(StartError) as refused:
        await epoch_of(file, drain_seconds=0.1)
    assert before is None or await asyncio.to_thread(file.read_bytes) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


# At the start


def _text(file: Path) -> None:
    file.write_text("These are no messages.\n" * 100)


def _emptied(file: Path) -> None:
    asyncio.run(epoch_of(file))
    file.write_bytes(b"")


def _truncated(file: Path) -> None:
    asyncio.run(epoch_of(file))
    file.write_bytes(file.read_bytes()[:8192])


def _scribbled_over(file: Path) -> None:
    asyncio.run(epoch_of(file))
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


def _foreign(file: Path) -> None:
    _execute(file, "CREATE TABLE theirs (value)")


def _newer(file: Path) -> None:
    asyncio.run(epoch_of(file))
    _execute(file, "PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_text, "is no SQLite database, or a damaged one: restore a backup"),
        (_emptied, "is no SQLite database, or a damaged one: restore a backup"),
        (_truncated, "the file is damaged (SQLITE_CORRUPT): restore a backup"),
        (_scribbled_over, "the file is damaged (SQLITE_CORRUPT): restore a backup"),
        (_foreign, "is the database of another program: choose another store.url"),
        (_newer, "is of a newer version of aiochat: start that one"),
    ],
)
def test_a_file_that_is_not_ours_or_damaged(file: Path, spoil: Callable[[Path], None], why: str) -> None:
    """The start ends with one line that names it and says what to do; the file is left as it is."""
    spoil(file)
    line = asyncio.run(refusal(file))
    assert line.startswith(str(file))
    assert why in line


async def test_a_directory_that_cannot_be_made(file: Path) -> None:
    """There is a file in its place."""
    overwrite(file, b"")
    assert (await refusal(file / "sub" / "log.db")).startswith(f"{file}/sub cannot be made: Not a directory")


async def test_a_directory_in_the_place_of_the_file(tmp_path: Path) -> None:
    """It cannot be read."""
    assert await refusal(tmp_path) == f"{tmp_path} cannot be read: Is a directory; see store.url"


async def test_a_file_locked_by_another_program(file: Path) -> None:
    """By one that does not know about the lock beside it."""
    await epoch_of(file)
    with Lock(file):
        assert "another program has locked the file (SQLITE_BUSY): end that program" in await refusal(file)


# Later


async def fails_and_recovers(log: Log, reason: str, let_go: Callable[[], object], *, is_known: bool = False) -> None:
    """Appends and probes fail for the reason while reads go on, until what is in the way is let go of."""
    with capture_logs() as events:
        before = await log.read("a")
        message = draft("x" * 100 * KIB, key="key-0001")
        for _ in range(3):
            with pytest.raises(StoreError, match=reason):
                await log.append("a", message)
            with pytest.raises(StoreError, match=reason):
                await log.append_drafts({})
            assert await log.read("a") == before
        let_go()
        await log.append_drafts({})
        appended = await log.append("a", message)
        assert (appended.epoch, [entry.offset for entry in appended.entries]) == (before.epoch, [before.newest + 1])
    names = [event["event"] for event in events]
    assert names == ([] if is_known else ["store_failed"]) + ["store_recovered"]
    assert is_known or reason in events[0]["reason"]


async def test_locked_by_another_program(file: Path) -> None:
    """Until that one lets go."""
    async with open_log(file) as log:
        await log.append("a", "one")
        lock = Lock(file)
        await fails_and_recovers(log, "another program has locked the file", lock.close)


async def test_a_limit_to_the_size_of_files(file: Path) -> None:
    """As of a quota: until there is room again."""
    async with open_log(file) as log:
        await log.append("a", "one")
        writer = writer_of(log).pid
        unlimited = resource.prlimit(writer, resource.RLIMIT_FSIZE)
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (8 * KIB, unlimited[1]))
        await fails_and_recovers(log, "the disk", lambda: resource.prlimit(writer, resource.RLIMIT_FSIZE, unlimited))


async def test_a_file_that_was_moved_away(file: Path) -> None:
    """Or deleted: what is written to it now, the next start would not find. Until it is back."""
    async with open_log(file) as log:
        await log.append("a", "one")
        away = await asyncio.to_thread(file.rename, file.with_name("away.db"))
        with pytest.raises(StoreError):
            await log.append_drafts({})  # it looks for the file now and then, and when it is asked
        await fails_and_recovers(log, "the file was moved or deleted", lambda: away.rename(file), is_known=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.faults
async def test_a_full_disk(small_disk: Path) -> None:
    """Until there is room again."""
    filler = small_disk / "filler"
    async with open_log(small_disk / "log.db") as log:
        await log.append("a", "one")
        with pytest.raises(OSError, match="No space left"):
            overwrite(filler, b"x" * 4096 * KIB)
        await fails_and_recovers(log, "the disk is full", filler.unlink)


@pytest.mark.faults
async def test_a_disk_filled_by_messages(small_disk: Path) -> None:
    """What was acknowledged is there, also after a restart; nothing else is."""
    file = small_disk / "log.db"
    async with open_log(file) as log:
        newest = await _fill(log)
        page = await log.read("a", 5)
        assert (page.newest, len(page.entries)) == (newest, 5)
    assert newest > 50
    async with open_log(file) as log:
        assert await log.read("a", 5) == page


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], object]]:
    """Makes the directory read-only: for root, to whom modes mean nothing, by a mount."""
    if os.geteuid():
        yield lambda: tmp_path.chmod(0o555)
        tmp_path.chmod(0o755)
        return
    mount = ["mount", "--bind", str(tmp_path), str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root cannot mount")
    yield lambda: subprocess.check_call(["mount", "-o", "remount,bind,ro", str(tmp_path)])
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


async def test_a_directory_that_cannot_be_written(file: Path, read_only: Callable[[], object]) -> None:
    """Neither at the start nor later; what can be read is."""
    await epoch_of(file)
    read_only()
    assert "cannot be written: " in await refusal(file)


@pytest.mark.faults
async def test_the_memory_of_the_process_is_bounded(file: Path) -> None:
    """Whatever goes through it: a batch, a page, SQLite's caches and the keys."""
    async with open_log(file, max_bytes=64 << 20, max_keys=10_000) as log:
        writer = writer_of(log)
        for number in range(20):
            texts = [draft("x" * 16 * KIB, key=f"key-{number:04}-{index}") for index in range(1000)]
            await log.append(f"room-{number % 3}", *texts)
            await log.read(f"room-{number % 3}")
        assert writer.memory_info().rss < 120 << 20
        assert (await asyncio.to_thread(file.stat)).st_size < 128 << 20


async def _fill(log: Log) -> int:
    """Append until the disk is full: the newest offset."""
    newest = 0
    with suppress(StoreError):
        while True:
            newest = (await log.append("a", "x" * 10 * KIB)).newest
    with pytest.raises(StoreError, match="the disk is full"):
        await log.append("a", "x" * 10 * KIB)
    return newest


def _execute(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()


class Lock:
    """Another program's connection in the middle of writing."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.close()
