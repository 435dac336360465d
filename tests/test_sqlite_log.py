"""The SQLite room log over restarts: what it keeps, who owns the file, and when its epochs change."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

import aiochat.roomlog.sqlite
from aiochat.errors import StartError, StoreError
from aiochat.roomlog import Repeated
from aiochat.roomlog.backup import back_up
from tests.roomlogs import Log, draft, erasure, opened, said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a new log, in a directory that does not exist yet."""
    return tmp_path / "var" / "log.db"


@asynccontextmanager
async def open_log(file: Path, **settings: Any) -> AsyncIterator[Log]:
    """The log in this file."""
    async with opened(f"sqlite:///{file}", **settings) as log:
        yield log


async def epoch_of(file: Path, **settings: Any) -> str:
    """The epoch of room "a"."""
    async with open_log(file, **settings) as log:
        return (await log.read("a")).epoch


def writer_of(log: Log) -> psutil.Process:
    """The process that writes its file."""
    return psutil.Process(log.engine._process.pid)  # type: ignore[attr-defined]


async def restarted(log: Log) -> None:
    """Kill the process; wait until it was started again, or could not be."""
    writer_of(log).kill()
    with suppress(StoreError):
        while True:
            await log.read("a")
    await log.engine._restarting  # type: ignore[attr-defined]


def names_in(directory: Path) -> list[str]:
    """Its files and directories."""
    return sorted(path.name for path in directory.iterdir())


def overwrite(file: Path, content: bytes) -> None:
    """Keep the file, change what is in it."""
    file.write_bytes(content)


async def killed(file: Path, *texts: str, **settings: Any) -> str:
    """Append, and leave the file as `kill -9` of the server's machine would: the epoch."""
    async with open_log(file, **settings) as log:
        epoch = (await log.append("a", *texts)).epoch
        writer_of(log).kill()
    return epoch


async def test_a_restart_keeps_everything(file: Path) -> None:
    """Messages, erasures, offsets, epochs, keys and the secret."""
    async with open_log(file) as log:
        first = await log.append("a", "one", draft("two", [1], key="key-0001"), erasure(1))
        empty = await log.read("b")
        page, secret = await log.read("a"), log.engine.secret
    async with open_log(file) as log:
        assert await log.read("a") == page
        assert log.engine.secret == secret
        again = await log.append("a", draft("two", [1], key="key-0001"), "three")
        assert (again.epoch, again.newest) == (first.epoch, 4)
        assert isinstance(again.results[0], Repeated)
        assert (await log.append("b", "uno")).epoch == empty.epoch


async def test_closing_leaves_nothing_but_the_file(file: Path) -> None:
    """And the lock beside it; no process, no write-ahead log."""
    before = psutil.Process().children()
    async with open_log(file) as log:
        await log.append("a", "one")
        assert len(psutil.Process().children()) == len(before) + 1
    assert names_in(file.parent) == ["log.db", "log.db.lock"]
    assert psutil.Process().children() == before


async def test_closed_twice(file: Path) -> None:
    """The second time there is nothing to do; what is asked after it fails."""
    async with open_log(file) as log:
        await log.engine.close()
        with pytest.raises(StoreError):
            await log.read("a")


def test_the_process_is_light() -> None:
    """It starts anew when it died, while publishers wait."""
    heavy = "{'aiohttp', 'pydantic', 'structlog', 'asyncio'}"
    code = f"import sys, aiochat.roomlog.writer; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "set()\n"


async def test_signals_do_not_end_the_process(file: Path) -> None:
    """They are the server's, which still needs it to stop."""
    async with open_log(file) as log:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            writer_of(log).send_signal(number)
        assert (await log.append("a", "one")).newest == 1
        assert os.getsid(writer_of(log).pid) != os.getsid(0)


# The process dies


async def test_a_killed_process_is_started_again(file: Path) -> None:
    """What was under way fails; what was acknowledged is there, under the same epoch."""
    with capture_logs() as events:
        async with open_log(file) as log:
            first = await log.append("a", "one")
            writer = writer_of(log)
            writer.suspend()
            calls: list[asyncio.Future[Any]] = [log.append_drafts({"a": [draft("two")]}), log.read("a")]
            writer.kill()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [StoreError, StoreError]
            await log.engine._restarting  # type: ignore[attr-defined]
            page = await log.read("a")
            assert (page.epoch, said(page)[0]) == (first.epoch, (1, "one"))
            assert (await log.append("a", "three")).newest == page.newest + 1
    names = [event["event"] for event in events]
    assert names == ["store_failed", "store_failed", "store_writer_died", "store_writer_restarted", "store_recovered"]


async def test_a_process_that_dies_twice_is_the_end(file: Path) -> None:
    """The server is told, once; everything is answered."""
    async with open_log(file) as log:
        await restarted(log)
        await log.append("a", "one")
        await restarted(log)
        assert await log.ended == f"the process that writes {file} died twice within a minute"
        with pytest.raises(StoreError):
            await log.read("a")


async def test_what_cannot_be_started_again_is_the_end(file: Path) -> None:
    """With the reason that a start would give."""
    async with open_log(file) as log:
        writer = writer_of(log)
        writer.suspend()
        overwrite(file, b"something else" * 100)
        writer.kill()
        assert (await log.ended).startswith(f"{file} is no SQLite database, or a damaged one: ")


# The owner dies


async def test_what_was_acknowledged_survives_a_kill(file: Path) -> None:
    """Of the whole process, in the middle of its work; the writer commits what it has read, and ends."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.log_owner", f"sqlite:///{file}"), stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    writer = psutil.Process(int(await owner.stdout.readline()))
    acknowledged = [int(await owner.stdout.readline()) for _ in range(50)]
    owner.kill()
    acknowledged += [int(line) async for line in owner.stdout if line.endswith(b"\n")]
    await owner.wait()
    async with open_log(file) as log:  # which waits for the lock
        page = await log.read("a")
        assert page.newest >= acknowledged[-1]
        assert [entry.offset for entry in page.entries] == list(
            range(page.newest - len(page.entries) + 1, page.newest + 1)
        )
        epoch = page.epoch
    assert not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE  # where nobody reaps orphans
    assert await epoch_of(file) == epoch


async def test_a_second_owner_is_told(file: Path) -> None:
    """Of the first one; it has waited for it to stop."""
    async with open_log(file, drain_seconds=0.1) as log:
        with pytest.raises(StartError) as refused:
            await epoch_of(file, drain_seconds=0.1)
        assert str(refused.value).startswith(f"{file} is in use by process {os.getpid()} on ")
        assert "redis://" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert (await log.append("a", "one")).newest == 1


async def test_a_link_leads_to_the_same_file(file: Path) -> None:
    """Whatever name it goes by, it has one owner."""
    async with open_log(file, drain_seconds=0.1):
        link = file.parent.parent / "link.db"
        await asyncio.to_thread(link.symlink_to, file)
        with pytest.raises(StartError, match="is in use by process"):
            await epoch_of(link, drain_seconds=0.1)


async def test_a_deleted_room_stays_deleted(file: Path) -> None:
    """After a restart and after a kill; nothing of it is left in the tables once the writer has had time."""
    async with open_log(file) as log:
        before = (await log.append("a", "one", draft("two", key="key-0001"))).epoch
        deleted = await log.delete("a")
        assert (await log.append("a", "anew")).epoch == deleted.epoch != before
        await restarted(log)
        assert (said(page := await log.read("a")), page.epoch) == ([(1, "anew")], deleted.epoch)
    async with open_log(file) as log:
        assert (said(page := await log.read("a")), page.epoch) == ([(1, "anew")], deleted.epoch)
        await log.append("a", "more")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as tables:
            assert tables.execute("SELECT count(DISTINCT room) FROM chunks").fetchone() == (1,)


async def test_a_restart_may_overlap(file: Path) -> None:
    """The second owner opens the file as soon as the first one has closed it."""
    async with open_log(file) as log:
        epoch = (await log.append("a", "one")).epoch
        second = asyncio.create_task(epoch_of(file))
        await asyncio.wait([second], timeout=0.2)
        assert not second.done()
    assert await second == epoch


async def test_who_waits_can_give_up(file: Path) -> None:
    """A stop during the wait leaves no process."""
    async with open_log(file):
        before = psutil.Process().children()
        second = asyncio.create_task(epoch_of(file))
        await asyncio.wait([second], timeout=0.2)
        second.cancel()
        await asyncio.wait([second])
        assert psutil.Process().children() == before


# Epochs


async def test_a_killed_process_keeps_its_epochs(file: Path) -> None:
    """The operating system has what was committed."""
    epoch = await killed(file, "one")
    assert await epoch_of(file) == epoch


@pytest.mark.parametrize(("synchronous", "is_kept"), [("normal", False), ("full", True)])
async def test_a_power_cut(file: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str, is_kept: bool) -> None:
    """May have taken what clients saw, unless every commit went to the disk; offsets go on."""
    epoch = await killed(file, "one", synchronous=synchronous)
    monkeypatch.setattr(aiochat.roomlog.sqlite, "boot_id", lambda: "another")
    async with open_log(file, synchronous="normal") as log:
        appended = await log.append("a", "two")
    assert (appended.epoch == epoch, appended.newest) == (is_kept, 2)


async def test_a_clean_stop_before_another_boot(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was lost."""
    epoch = await epoch_of(file)
    monkeypatch.setattr(aiochat.roomlog.sqlite, "boot_id", lambda: "another")
    assert await epoch_of(file) == epoch


async def test_a_copy_has_epochs_of_its_own(file: Path) -> None:
    """From then on it goes another way than the file it was made of; so does one made of the whole directory."""
    epoch = await epoch_of(file)
    copy = file.with_name("copy.db")
    shutil.copy2(file, copy)
    directory = shutil.copytree(file.parent, file.parent.parent / "copies")
    epochs = {epoch, await epoch_of(copy), await epoch_of(directory / file.name)}
    assert len(epochs) == 3
    assert await epoch_of(copy) in epochs
    assert await epoch_of(file) == epoch


async def test_a_copy_put_back_has_new_epochs(file: Path) -> None:
    """Even in the same place: what was said after it was made is gone."""
    async with open_log(file) as log:
        await log.append("a", "one")
    copy = await asyncio.to_thread(file.read_bytes)
    async with open_log(file) as log:
        epoch = (await log.append("a", "two")).epoch
    overwrite(file, copy)
    async with open_log(file) as log:
        appended = await log.append("a", "another two")
    assert (appended.newest, appended.epoch != epoch) == (2, True)


async def test_a_directory_can_be_renamed(file: Path) -> None:
    """It is the same file."""
    epoch = await epoch_of(file)
    moved = file.parent.rename(file.parent.with_name("elsewhere"))
    assert await epoch_of(moved / file.name) == epoch


# Backups


async def test_a_backup_while_appending_is_consistent(file: Path, tmp_path: Path) -> None:
    """It holds all up to some moment, and knows that it is a copy."""
    target = tmp_path / "backup.db"
    async with open_log(file) as log:
        before = await log.append("a", *["x"] * 500)
        backup = asyncio.create_task(asyncio.to_thread(back_up, file, target))
        appends = 0
        while not backup.done() or not appends:
            after = await log.append("a", *["y"] * 50)
            appends += 1
        assert await backup == target.stat().st_size
    async with open_log(target) as log:
        page = await log.read("a", 100)
        assert before.newest <= page.newest <= after.newest
        assert (page.newest - before.newest) % 50 == 0
        assert [entry.offset for entry in page.entries] == list(range(page.newest - 99, page.newest + 1))
        assert page.epoch != before.epoch
    assert names_in(tmp_path) == ["backup.db", "backup.db.lock", "var"]


async def test_a_backup_put_in_the_place_of_the_file(file: Path, tmp_path: Path) -> None:
    """Has new epochs once, and its own from then on."""
    epoch = await killed(file, "one")
    back_up(file, tmp_path / "backup.db")
    overwrite(file, await asyncio.to_thread((tmp_path / "backup.db").read_bytes))
    file.with_name("log.db-wal").unlink(missing_ok=True)
    restored = await epoch_of(file)
    assert restored != epoch
    assert await epoch_of(file) == restored


async def test_a_backup_that_cannot_be_made(file: Path, tmp_path: Path) -> None:
    """One line says why; nothing is left of it."""
    target = tmp_path / "backup.db"
    with pytest.raises(StartError, match=r"log\.db does not exist"):
        back_up(file, target)
    await epoch_of(file)
    for wrong, why in ((file, "exists: "), (tmp_path / "none" / "b.db", "cannot be written: No such file")):
        with pytest.raises(StartError, match=why):
            back_up(file, wrong)
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(StartError, match="text: the file is damaged"):
        back_up(tmp_path / "text", target)
    assert names_in(tmp_path) == ["text", "var"]
