"""Keys in every room log: published again, it is one message."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiochat.messages import Sender
from aiochat.roomlog import Repeated
from tests.roomlogs import BOUNDED_IN_ALL, ENGINES, Log, draft, erasure, opened, refusal_of, said, url_of

MINUTE_MS = 60_000
NOW = time.time_ns() // 1_000_000


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What names a new log of each engine."""
    return url_of(request.param, tmp_path)


@pytest.fixture
async def log(url: str) -> AsyncIterator[Log]:
    """A new log with the default limits."""
    async with opened(url) as log:
        yield log


async def test_a_key_is_one_message(log: Log) -> None:
    """However often it is published, with the offset and the time of the first."""
    first = await log.append("a", draft("one", key="key-0001", ts=NOW))
    again = await log.append("a", draft("one", key="key-0001", ts=NOW + 5), draft("two", key="key-0002"))
    assert list(again.results) == [Repeated(1, NOW), again.entries[0]]
    assert said(again) == [(2, "two")]
    assert again.epoch == first.epoch
    assert said(await log.read("a")) == [(1, "one"), (2, "two")]


async def test_a_key_with_other_content_is_refused(log: Log) -> None:
    """Whatever differs; data is the same in any order of its keys."""
    await log.append("a", draft("one", {"x": 1, "y": 2}, key="key-0001"))
    others = [draft("two", {"x": 1, "y": 2}), draft("one", {"x": 1}), draft("one"), draft(None, {"x": 1, "y": 2})]
    with_key = [draft(other.text, other.data, key="key-0001") for other in others]
    refused = await log.append("a", *with_key, draft("one", {"y": 2, "x": 1}, key="key-0001"))
    assert [refusal_of(result) for result in refused.results[:4]] == [("key_reused", "key")] * 4
    assert isinstance(refused.results[4], Repeated)
    assert refused.newest == 1


async def test_keys_within_one_batch(log: Log) -> None:
    """The same twice is one message; another content under it is refused."""
    drafts = [("one", "key-0001"), ("one", "key-0001"), ("two", "key-0001"), ("three", None), ("one", "key-0002")]
    appended = await log.append("a", *(draft(text, key=key) for text, key in drafts))
    assert said(appended) == [(1, "one"), (2, "three"), (3, "one")]
    assert isinstance(appended.results[1], Repeated)
    assert appended.results[1].offset == 1
    assert refusal_of(appended.results[2]) == ("key_reused", "key")


async def test_whose_key_it_is(log: Log) -> None:
    """A user's on all its clients, else one client's; and of one room."""
    senders = [Sender("c1"), Sender("c2"), Sender("c1", user="u"), Sender("c3", user="u"), Sender("u"), Sender("c9")]
    appended = await log.append("a", *(draft("one", key="key-0001", sender=sender) for sender in senders))
    assert [isinstance(result, Repeated) for result in appended.results] == [False, False, False, True, False, False]
    assert (await log.append("b", draft("one", key="key-0001"))).newest == 1


async def test_a_key_is_forgotten_after_its_time(url: str) -> None:
    """Counted from the first message with it."""
    async with opened(url, key_minutes=10) as log:
        times = [0, 10 * MINUTE_MS, 10 * MINUTE_MS + 1, 20 * MINUTE_MS + 1, 20 * MINUTE_MS + 2]
        appended = [await log.append("a", draft("one", key="key-0001", ts=NOW + after)) for after in times]
        assert [len(part.entries) for part in appended] == [1, 0, 1, 0, 1]


async def test_of_too_many_keys_the_oldest_is_forgotten(url: str) -> None:
    """And the others are still known."""
    async with opened(url, max_keys=3) as log:
        for number in range(4):
            await log.append("a", draft("one", key=f"key-000{number}"))
        known = [
            len((await log.append("a", draft("one", key=f"key-000{number}"))).entries) == 0 for number in (3, 2, 1)
        ]
        assert known == [True] * 3
        assert len((await log.append("a", draft("one", key="key-0000"))).entries) == 1


async def test_a_key_outlives_its_message(url: str) -> None:
    """As long as its time lasts, also when the message was erased or is kept no longer."""
    async with opened(url, max_messages=2) as log:
        await log.append("a", draft("one", key="key-0001", ts=NOW), erasure(1), "three", "four")
        assert (await log.append("a", draft("one", key="key-0001"))).results[0] == Repeated(1, NOW)


@pytest.mark.parametrize("engine", BOUNDED_IN_ALL)
async def test_a_key_does_not_outlive_its_room(engine: str, tmp_path: Path) -> None:
    """Its offset would be one of another epoch."""
    async with opened(url_of(engine, tmp_path), max_rooms=1) as log:
        await log.append("a", draft("one", key="key-0001"))
        await log.append("b", "uno")
        assert said(await log.append("a", draft("one", key="key-0001"))) == [(1, "one")]
