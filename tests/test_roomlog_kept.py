"""What every room log promises of the values that it keeps for the server, beside what is said."""

import asyncio
from pathlib import Path

import pytest

from aiochat.errors import StoreError
from aiochat.roomlog.contract import KEPT_BYTES
from tests.roomlogs import ENGINES, opened, url_of

DURABLE = [engine for engine in ENGINES if engine != "memory"]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What names a new log of each engine."""
    return url_of(request.param, tmp_path)


@pytest.mark.parametrize("engine", DURABLE)
async def test_what_is_kept_is_there_at_the_next_start(engine: str, tmp_path: Path) -> None:
    """The newest value of each key; what was forgotten is not."""
    url = url_of(engine, tmp_path)
    async with opened(url) as log:
        assert log.engine.kept == {}
        for key, value in (("a", b"1"), ("b", b"2"), ("a", b"\0\xff"), ("ключ", b""), ("b", None)):
            await log.keep(key, value)
    async with opened(url) as log:
        assert log.engine.kept == {"a": b"\0\xff", "ключ": b""}


async def test_keeping_is_answered_in_its_turn(url: str) -> None:
    """Also what forgets a key that was never there; the rooms do not see any of it."""
    async with opened(url) as log:
        append = log.append_drafts({})
        calls = [log.keep("a", b"1"), log.keep("nothing", None)]
        assert [await append, await asyncio.gather(*calls)] == [{}, [None, None]]
        assert log.answered == [0, 1, 2]
        assert (await log.read("a")).newest == 0


@pytest.mark.parametrize("engine", DURABLE)
async def test_a_value_of_too_many_bytes_is_refused(engine: str, tmp_path: Path) -> None:
    """And the one before stays."""
    url = url_of(engine, tmp_path)
    async with opened(url) as log:
        await log.keep("a", b"x" * KEPT_BYTES)
        with pytest.raises(StoreError):
            await log.keep("a", b"y" * (KEPT_BYTES + 1))
    async with opened(url) as log:
        assert log.engine.kept == {"a": b"x" * KEPT_BYTES}
