"""What every room log forgets, and when; and that it does what a simple model of it does."""

import asyncio
import time
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiochat.messages import Erased, Message, Sender
from aiochat.roomlog import Draft
from tests.room_model import Model, codes
from tests.roomlogs import ALICE, BOUNDED_IN_ALL, ENGINES, Log, another, draft, erasure, opened, said, url_of

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
KIB = 1 << 10
NOW = time.time_ns() // 1_000_000


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What names a new log of each engine."""
    return url_of(request.param, tmp_path)


@pytest.fixture(params=BOUNDED_IN_ALL)
def url_in_all(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same of those engines that bound all rooms together."""
    return url_of(request.param, tmp_path)


async def test_a_full_room_forgets_its_oldest(url: str) -> None:
    """Offsets and epoch go on: nothing is used again."""
    async with opened(url, max_messages=3) as log:
        epoch = (await log.append("a", "one", "two")).epoch
        appended = await log.append("a", "three", "four")
        assert (appended.epoch, said(appended)) == (epoch, [(3, "three"), (4, "four")])
        page = await log.read("a")
        assert (page.epoch, page.oldest, page.newest) == (epoch, 2, 4)
        assert said(page) == [(2, "two"), (3, "three"), (4, "four")]
        assert said(await log.read("a", 1, after=0)) == [(2, "two")]
        assert said(await log.read("a", before=2)) == []


async def test_a_batch_larger_than_a_room_is_answered_whole(url: str) -> None:
    """What was appended is delivered, even if the room keeps less of it."""
    async with opened(url, max_messages=2) as log:
        assert said(await log.append("a", "1", "2", "3")) == [(1, "1"), (2, "2"), (3, "3")]
        assert said(await log.read("a")) == [(2, "2"), (3, "3")]


async def test_of_too_many_rooms_the_longest_idle_is_forgotten(url_in_all: str) -> None:
    """When it is back, its offsets begin again, and so its epoch is another; the others are as they were."""
    async with opened(url_in_all, max_rooms=2) as log:
        before = {room: await log.append(room, room) for room in ("idle", "busy")}
        before["new"] = await log.append("new", "new")
        assert (await log.read("busy")).epoch == before["busy"].epoch
        empty = await log.read("idle")
        assert (empty.newest, empty.epoch != before["idle"].epoch) == (0, True)
        back = await log.append("idle", "again")
        assert (said(back), back.epoch) == ([(1, "again")], empty.epoch)
        assert said(await log.read("new")) == [(1, "new")]


async def test_with_too_many_bytes_the_longest_idle_room_is_forgotten(url_in_all: str) -> None:
    """And a room that is too large by itself forgets its oldest, under the same epoch."""
    async with opened(url_in_all, max_bytes=100 * KIB) as log:
        idle = await log.append("idle", "x" * 40 * KIB)
        epoch = (await log.append("large", *["x" * 40 * KIB] * 2)).epoch
        back = await log.read("idle")
        assert (back.newest, back.entries, back.epoch != idle.epoch) == (0, (), True)
        appended = await log.append("large", "x" * 40 * KIB)
        assert (appended.epoch, appended.newest) == (epoch, 3)
        page = await log.read("large")
        assert (page.oldest, [entry.offset for entry in page.entries]) == (2, [2, 3])


async def test_a_message_larger_than_everything_is_delivered_and_forgotten(url: str) -> None:
    """Nothing is left of it but its offset."""
    async with opened(url, max_bytes=KIB) as log:
        assert said(await log.append("a", "x" * 2 * KIB)) == [(1, "x" * 2 * KIB)]
        page = await log.read("a")
        assert (page.oldest, page.newest, page.entries) == (2, 1, ())


async def test_the_bound_in_bytes_holds_however_texts_are_used(url_in_all: str) -> None:
    """A text that was encoded takes more memory than before: if it counted, the sum of all would drift away."""
    async with opened(url_in_all, max_bytes=100 * KIB, max_messages=10) as log:
        for _ in range(100):
            appended = await log.append("a", "ä" * KIB)
            msgspec.json.encode(appended.entries)
        await log.append("b", "x" * 40 * KIB)
        await log.append("b", "x" * 40 * KIB)
        assert (await log.read("a")).entries == ()
        assert [entry.offset for entry in (await log.read("b")).entries] == [1, 2]


async def test_erased_messages_give_back_their_bytes(url_in_all: str) -> None:
    """What is left of them is small."""
    async with opened(url_in_all, max_bytes=100 * KIB) as log:
        for number in range(10):
            await log.append("a", "x" * 60 * KIB)
            await log.append("a", erasure(2 * number + 1))
        assert (await log.read("a")).oldest == 1


async def test_old_messages_are_not_read(url: str) -> None:
    """Past `max_age_hours` they are gone; offsets and epoch go on."""
    async with opened(url, max_age_hours=2) as log:
        drafts = [draft(str(hours), ts=NOW - hours * HOUR_MS) for hours in (5, 3, 1, 0)]
        epoch = (await log.append("a", *drafts)).epoch
        page = await log.read("a")
        assert (page.epoch, page.oldest, said(page)) == (epoch, 3, [(3, "1"), (4, "0")])
        await log.append("b", draft("old", ts=NOW - 3 * HOUR_MS))
        page = await log.read("b")
        assert (page.oldest, page.newest, page.entries) == (2, 1, ())
        assert said(await log.append("b", "new")) == [(2, "new")]
        assert said(await log.read("b")) == [(2, "new")]


# Anything goes

TEXTS = st.sampled_from(["one", "two"])
KEYS = st.none() | st.sampled_from(["key-0001", "key-0002", "key-0003"])
DRAFTS = st.lists(
    st.tuples(TEXTS | st.integers(-1, 25), KEYS, st.sampled_from([ALICE, Sender("c2"), Sender("c3", user="u")])),
    max_size=8,
)
BOUNDS = st.none() | st.integers(0, 25)
APPENDS_AND_READS = st.lists(st.tuples(DRAFTS, st.integers(0, 12), BOUNDS, BOUNDS), max_size=10)


def test_an_engine_does_what_the_model_does(url: str) -> None:
    """Messages, keys and erasures in any order, in batches of any size; pages of any kind."""
    rooms = (f"room-{number}" for number in count())

    @given(steps=APPENDS_AND_READS, step_ms=st.sampled_from([1, MINUTE_MS]))
    @settings(max_examples=100)
    def check(steps: list[Any], step_ms: int) -> None:
        runner.run(_compare(log, Model(6, 5 * MINUTE_MS), next(rooms), steps, step_ms))

    with asyncio.Runner() as runner:
        context = opened(url, max_messages=6, key_minutes=5)
        log = runner.run(context.__aenter__())
        try:
            check()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def _compare(log: Log, model: Model, room: str, steps: list[Any], step_ms: int) -> None:
    now = NOW
    for wanted, limit, before, after in steps:
        drafts: list[Draft] = []
        for what, key, sender in wanted:
            now += step_ms
            made = draft(what, ts=now) if isinstance(what, str) else erasure(what, ts=now)
            drafts.append(msgspec.structs.replace(made, key=key, sender=sender))
        appended = await log.append(room, *drafts)
        assert codes(appended.results) == model.append(room, drafts)
        assert list(appended.entries) == [entry for entry in appended.results if isinstance(entry, Message | Erased)]
        assert appended.newest == model.newest
        page = await log.read(room, limit, before=None if after is not None else before, after=after)
        assert (page.oldest, page.newest, page.epoch) == (model.oldest, model.newest, appended.epoch)
        assert list(page.entries) == model.page(limit, before, after)


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.lists(st.integers(0, 20), max_size=4), st.integers(0, 6)), max_size=25
)


@given(steps=STEPS, max_rooms=st.integers(1, 4), max_messages=st.integers(1, 5), max_bytes=st.integers(800, 5000))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_an_epoch_and_an_offset_name_one_message(
    url: str, steps: list[tuple[str, list[int], int]], max_rooms: int, max_messages: int, max_bytes: int
) -> None:
    """Whatever is forgotten: under one epoch offsets count on, and a page is the end of what was appended under it."""
    appended: dict[tuple[str, str], list[str]] = {}
    async with opened(another(url), max_rooms=max_rooms, max_messages=max_messages, max_bytes=max_bytes) as log:
        for room, lengths, limit in steps:
            if lengths:
                texts = ["x" * length for length in lengths]
                answered = await log.append(room, *texts)
                known = appended.setdefault((room, answered.epoch), [])
                assert said(answered) == list(enumerate(texts, len(known) + 1))
                known += texts
            page = await log.read(room, limit)
            known = appended.get((room, page.epoch), [])
            assert page.newest == len(known)
            assert len(page.entries) <= min(limit, max_messages)
            first = max(page.oldest - 1, len(known) - limit)
            assert said(page) == list(enumerate(known[first:], first + 1))
