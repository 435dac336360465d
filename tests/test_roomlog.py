"""What every room log promises, whichever engine: one suite for all of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiochat.config import load
from aiochat.errors import ConfigError
from aiochat.messages import Message
from aiochat.roomlog import data_path, open_log
from tests.roomlogs import ALICE, Log, draft, opened, said

ENGINES = ["memory:"]
HOUR_MS = 3_600_000
KIB = 1 << 10

pytestmark = pytest.mark.parametrize("url", ENGINES)


@pytest.fixture
async def log(url: str) -> AsyncIterator[Log]:
    """A new log with the default limits."""
    async with opened(url) as log:
        yield log


async def test_offsets_count_from_one_in_each_room(log: Log) -> None:
    """Within a batch and from one to the next, whatever goes on in other rooms."""
    first = await log.append_drafts({"a": [draft("one"), draft("two")], "b": [draft("uno")]})
    second = await log.append_drafts({"b": [draft("dos")], "a": [draft("three")]})
    assert [said(first[room]) for room in "ab"] == [[(1, "one"), (2, "two")], [(1, "uno")]]
    assert [said(second[room]) for room in "ab"] == [[(3, "three")], [(2, "dos")]]
    assert [first["a"].newest, second["a"].newest, second["b"].newest] == [2, 3, 2]


async def test_a_message_is_what_its_draft_was(log: Log) -> None:
    """Whoever said it, when, and what: in the answer and when read."""
    data = {"a": [1, 2.5, None, True, "ü"]}
    answered = (await log.append_drafts({"küche": [draft("hällo", data, ts=1234), draft(None, [])]}))["küche"]
    assert answered.messages == (
        Message("küche", 1, 1234, ALICE, "hällo", data),
        Message("küche", 2, answered.messages[1].ts, ALICE, None, []),
    )
    assert (await log.read("küche")).messages == answered.messages


async def test_a_page_holds_the_newest_oldest_first(log: Log) -> None:
    """As many as asked for, or all there are; none of them is still told where the room stands."""
    await log.append("a", "one", "two", "three")
    assert said(await log.read("a", 2)) == [(2, "two"), (3, "three")]
    assert said(await log.read("a", 300)) == [(1, "one"), (2, "two"), (3, "three")]
    nothing = await log.read("a", 0)
    assert (nothing.newest, nothing.messages) == (3, ())


async def test_a_page_is_bounded_in_bytes(log: Log) -> None:
    """256 KiB of content, but one message in any case: whoever reads has to take it in one go."""
    await log.append("a", *["x" * 60 * KIB] * 10)
    assert [message.offset for message in (await log.read("a")).messages] == [7, 8, 9, 10]
    await log.append("a", "x" * 300 * KIB)
    assert [message.offset for message in (await log.read("a")).messages] == [11]


async def test_a_room_never_written_to_is_empty(log: Log) -> None:
    """Not an error; and its epoch is that of its first message."""
    empty = await log.read("a")
    assert (empty.newest, empty.messages) == (0, ())
    assert (await log.read("a")).epoch == empty.epoch
    assert (await log.append("a", "one")).epoch == empty.epoch


async def test_an_epoch_stays(log: Log) -> None:
    """As long as no offset is used again, whoever reads or writes where."""
    epoch = (await log.append("a", "one")).epoch
    await log.append("b", "uno")
    await log.read("c")
    assert (await log.append("a", "two")).epoch == epoch
    assert (await log.read("a")).epoch == epoch


async def test_answers_come_in_the_order_of_the_calls(log: Log) -> None:
    """Each once; and a page holds exactly what was appended before it was asked for."""
    calls: list[asyncio.Future[Any]] = [
        *(log.read("a"), log.append_drafts({"a": [draft("one")]}), log.read("a")),
        *(log.append_drafts({"a": [draft("two")], "b": [draft("uno")]}), log.read("b"), log.read("a")),
    ]
    pages = await asyncio.gather(*calls)
    assert log.answered == [0, 1, 2, 3, 4, 5]
    assert [said(pages[number]) for number in (0, 2, 4, 5)] == [
        *([], [(1, "one")], [(1, "uno")]),
        [(1, "one"), (2, "two")],
    ]


async def test_a_full_room_forgets_its_oldest(url: str) -> None:
    """Offsets and epoch go on: nothing is used again."""
    async with opened(url, max_messages=3) as log:
        epoch = (await log.append("a", "one", "two")).epoch
        page = await log.append("a", "three", "four")
        assert (page.epoch, said(page)) == (epoch, [(3, "three"), (4, "four")])
        page = await log.read("a")
        assert (page.epoch, page.newest) == (epoch, 4)
        assert said(page) == [(2, "two"), (3, "three"), (4, "four")]


async def test_a_batch_larger_than_a_room_is_answered_whole(url: str) -> None:
    """What was appended is delivered, even if the room keeps less of it."""
    async with opened(url, max_messages=2) as log:
        assert said(await log.append("a", "1", "2", "3")) == [(1, "1"), (2, "2"), (3, "3")]
        assert said(await log.read("a")) == [(2, "2"), (3, "3")]


async def test_of_too_many_rooms_the_longest_idle_is_forgotten(url: str) -> None:
    """When it is back, its offsets begin again, and so its epoch is another; the others are as they were."""
    async with opened(url, max_rooms=2) as log:
        before = {room: await log.append(room, room) for room in ("idle", "busy")}
        before["new"] = await log.append("new", "new")
        assert (await log.read("busy")).epoch == before["busy"].epoch
        back = await log.append("idle", "again")
        assert said(back) == [(1, "again")]
        assert back.epoch != before["idle"].epoch
        assert said(await log.read("new")) == [(1, "new")]


async def test_with_too_many_bytes_the_longest_idle_room_is_forgotten(url: str) -> None:
    """And a room that is too large by itself forgets its oldest, under the same epoch."""
    async with opened(url, max_bytes=100 * KIB) as log:
        idle = await log.append("idle", "x" * 40 * KIB)
        epoch = (await log.append("large", *["x" * 40 * KIB] * 2)).epoch
        back = await log.read("idle")
        assert (back.newest, back.messages, back.epoch != idle.epoch) == (0, (), True)
        page = await log.append("large", "x" * 40 * KIB)
        assert (page.epoch, page.newest) == (epoch, 3)
        assert [message.offset for message in (await log.read("large")).messages] == [2, 3]


async def test_a_message_larger_than_everything_is_delivered_and_forgotten(url: str) -> None:
    """Nothing is left of it but its offset."""
    async with opened(url, max_bytes=KIB) as log:
        assert said(await log.append("a", "x" * 2 * KIB)) == [(1, "x" * 2 * KIB)]
        assert ((await log.read("a")).newest, (await log.read("a")).messages) == (1, ())


async def test_the_bound_in_bytes_holds_however_texts_are_used(url: str) -> None:
    """A text that was encoded takes more memory than before: if it counted, the sum of all would drift away."""
    async with opened(url, max_bytes=100 * KIB, max_messages=10) as log:
        for _ in range(100):
            page = await log.append("a", "ä" * KIB)
            msgspec.json.encode(page.messages)
        await log.append("b", "x" * 40 * KIB)
        await log.append("b", "x" * 40 * KIB)
        assert (await log.read("a")).messages == ()
        assert [message.offset for message in (await log.read("b")).messages] == [1, 2]


async def test_old_messages_are_not_read(url: str) -> None:
    """Past `max_age_hours` they are gone; offsets and epoch go on."""
    now = time.time_ns() // 1_000_000
    async with opened(url, max_age_hours=2) as log:
        drafts = [draft(str(hours), ts=now - hours * HOUR_MS) for hours in (5, 3, 1, 0)]
        epoch = (await log.append_drafts({"a": drafts}))["a"].epoch
        page = await log.read("a")
        assert (page.epoch, said(page)) == (epoch, [(3, "1"), (4, "0")])


ROOMS = st.sampled_from("abcd")
STEPS = st.lists(st.tuples(ROOMS, st.lists(st.integers(0, 20), max_size=4), st.integers(0, 6)), max_size=25)


@given(steps=STEPS, max_rooms=st.integers(1, 4), max_messages=st.integers(1, 5), max_bytes=st.integers(800, 5000))
@settings(max_examples=50)
async def test_an_epoch_and_an_offset_name_one_message(
    url: str, steps: list[tuple[str, list[int], int]], max_rooms: int, max_messages: int, max_bytes: int
) -> None:
    """Whatever is forgotten: under one epoch offsets count on, and a page is the end of what was appended under it."""
    appended: dict[tuple[str, str], list[str]] = {}
    async with opened(url, max_rooms=max_rooms, max_messages=max_messages, max_bytes=max_bytes) as log:
        for room, lengths, limit in steps:
            if lengths:
                texts = ["x" * length for length in lengths]
                page = await log.append(room, *texts)
                known = appended.setdefault((room, page.epoch), [])
                assert said(page) == list(enumerate(texts, len(known) + 1))
                known += texts
            page = await log.read(room, limit)
            known = appended.get((room, page.epoch), [])
            assert page.newest == len(known)
            assert len(page.messages) <= min(limit, max_messages)
            first = len(known) - len(page.messages)
            assert said(page) == list(enumerate(known[first:], first + 1))


@given(steps=STEPS, max_messages=st.integers(1, 5))
@settings(max_examples=50)
async def test_nothing_is_forgotten_before_it_must_be(
    url: str, steps: list[tuple[str, list[int], int]], max_messages: int
) -> None:
    """With place for all rooms and bytes, a page is the newest of a list of `max_messages`."""
    model: dict[str, list[tuple[int, str]]] = {}
    async with opened(url, max_messages=max_messages) as log:
        for room, lengths, limit in steps:
            known = model.setdefault(room, [])
            known += enumerate(["x" * length for length in lengths], len(known) + 1)
            await log.append_drafts({room: [draft("x" * length) for length in lengths]} if lengths else {})
            kept = known[-max_messages:]
            assert said(await log.read(room, limit)) == kept[max(0, len(kept) - limit) :]


async def test_closing_answers_everything_first(url: str) -> None:
    """Nobody waits for ever."""
    async with opened(url) as log:
        calls: list[asyncio.Future[Any]] = [log.append_drafts({"a": [draft("one")]}), log.read("a")]
        await log.engine.close()
        assert all(call.done() for call in calls)


def test_the_scheme_picks_the_engine(url: str) -> None:
    """Any other is refused with the list of those there are; a person can read where the data is."""
    for unknown in ("", "memory", "postgres://", url.partition(":")[0].upper() + ":"):
        with pytest.raises(ConfigError) as refused:
            open_log(load(flags={"store": {"url": unknown}}))
        assert str(refused.value).startswith(f"store.url: got {unknown!r}, takes a URL that begins with one of memory:")
    assert data_path(load(flags={"store": {"url": url}}))
