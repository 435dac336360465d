"""The SQLite room log when its file is damaged, a request is, or its process hangs: what fails, and what goes on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aiochat.errors import StoreError
from aiochat.roomlog import Appended, Draft
from tests.roomlogs import draft, erasure, said
from tests.test_sqlite_log import open_log, overwrite, writer_of

SEVEN: Any = "7"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a new log."""
    return tmp_path / "log.db"


def _no_entries(content: bytes) -> bytes:
    return content.replace(b"damageddamaged", b"\xc1" * 14)


def _no_pages(content: bytes) -> bytes:
    """Those that hold nothing else, after the number of the page that goes on with it."""
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    return b"".join(b"\xa5" * 4096 if page[4:11] in b"damageddamaged" else page for page in pages)


@pytest.mark.parametrize("damage", [_no_entries, _no_pages])
async def test_a_damaged_page(file: Path, damage: Callable[[bytes], bytes]) -> None:
    """Once a read has met it, nothing is appended, until what was damaged can be read again; other reads go on."""
    async with open_log(file) as log:
        await log.append("a", *["damaged" * 100] * 50)
        await log.append("b", *["good" * 100] * 50)
    content = await asyncio.to_thread(file.read_bytes)
    overwrite(file, damage(content))
    with capture_logs() as events:
        async with open_log(file) as log:
            with pytest.raises(StoreError, match="the file is damaged"):
                await log.read("a", 20)
            for batch in ({}, {"b": [draft("on")]}, {}):
                with pytest.raises(StoreError, match="the file is damaged"):
                    await log.append_drafts(batch)
                assert said(await log.read("b", 1)) == [(50, "good" * 100)]
            _put_back(file, content, damage(content))
            with pytest.raises(StoreError):
                await log.append_drafts({})  # which looked, and found it good
            await log.append_drafts({})
            assert (await log.append("a", "on")).newest == 51
            assert said(await log.read("a", 2)) == [(50, "damaged" * 100), (51, "on")]
    assert [event["event"] for event in events] == ["store_failed", "store_failed", "store_recovered"]


def _put_back(file: Path, content: bytes, damaged: bytes) -> None:
    """The pages that were damaged, and no others, which may have changed."""
    with file.open("r+b") as writing:
        for start in range(0, len(content), 4096):
            if content[start : start + 4096] != damaged[start : start + 4096]:
                writing.seek(start)
                writing.write(content[start : start + 4096])


async def test_an_append_that_meets_a_damaged_page(file: Path) -> None:
    """None is tried after it, and no probe works, until it could be made again; nothing of it is left then."""
    async with open_log(file) as log:
        await log.append("a", *["damaged" * 100] * 50)
        await log.append("b", "good")
    content = await asyncio.to_thread(file.read_bytes)
    overwrite(file, _no_entries(content))
    async with open_log(file) as log:
        with pytest.raises(StoreError, match="the file is damaged"):
            await log.append("a", erasure(20))
        for batch in ({}, {"b": [draft("on")]}):
            with pytest.raises(StoreError, match="the file is damaged"):
                await log.append_drafts(batch)
        _put_back(file, content, _no_entries(content))
        await log.append_drafts({})
        assert [(await log.read(room, 0)).newest for room in "ab"] == [50, 1]
        assert said(await log.read("a", 1, before=21)) == [(20, "damaged" * 100)]


@pytest.mark.parametrize(
    "bad", [draft("x", ts=2**63), draft("x", 2**70), draft("\ud800", key="key-0001"), erasure(2**70), erasure(SEVEN)]
)
async def test_what_cannot_be_written_fails_alone(file: Path, bad: Draft) -> None:
    """In its turn; the process lives, and what comes before and after it is there."""
    async with open_log(file) as log:
        writer = writer_of(log)
        answers = [log.append("a", "one"), log.append("a", bad), log.append("a", "two")]
        one, failed, two = await asyncio.gather(*answers, return_exceptions=True)
        assert isinstance(failed, StoreError)
        assert [said(good) for good in (one, two) if isinstance(good, Appended)] == [[(1, "one")], [(2, "two")]]
        assert (log.answered, writer_of(log)) == ([0, 1, 2], writer)


async def test_an_offset_out_of_range_fails_alone(file: Path) -> None:
    """The process lives."""
    async with open_log(file) as log:
        writer = writer_of(log)
        with pytest.raises(StoreError):
            await log.read("a", before=2**70)
        assert said(await log.read("a")) == []
        assert writer_of(log) == writer


async def test_a_process_that_hangs_is_killed_at_the_end(file: Path) -> None:
    """After two seconds; what was acknowledged is there."""
    began = asyncio.get_running_loop().time()
    with capture_logs() as events:
        async with open_log(file) as log:
            await log.append("a", "one")
            writer = writer_of(log)
            writer.suspend()
    assert not writer.is_running()
    assert asyncio.get_running_loop().time() - began < 5
    assert [event["event"] for event in events] == ["store_not_closed"]
    async with open_log(file) as log:
        assert said(await log.read("a")) == [(1, "one")]
