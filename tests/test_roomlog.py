"""What every room log promises, whichever engine: one suite for all of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiochat.errors import ConfigError, Reply
from aiochat.messages import Erased, Message, Sender
from aiochat.roomlog import PAGE_BYTES, Draft, Repeated, content_bytes
from aiochat.roomlog.engines import data_path, make_log
from tests.room_model import Model, codes
from tests.roomlogs import ALICE, Log, config_of, draft, erasure, opened, said

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
KIB = 1 << 10
NOW = time.time_ns() // 1_000_000


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What names a new log of each engine."""
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/log.db"


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


async def test_an_entry_is_what_its_draft_was(log: Log) -> None:
    """Whoever said it, when, what, and with which key: in the answer and when read."""
    data: dict[str, Any] = {"a": [1, 2.5, None, True, "ü", -(2**53), 2**53, {}]}
    bob = Sender("c2", None, "bob@example.org")
    answered = await log.append(
        "küche", draft("hällo", data, ts=1234), draft(None, [], ts=1235, sender=bob, key="key-12345")
    )
    assert list(answered.entries) == [
        Message("küche", 1, 1234, ALICE, "hällo", data),
        Message("küche", 2, 1235, bob, None, [], "key-12345"),
    ]
    assert list(answered.results) == list(answered.entries)
    assert list((await log.read("küche")).entries) == list(answered.entries)


async def test_a_page_holds_the_newest_oldest_first(log: Log) -> None:
    """As many as asked for, or all there are; none of them is still told where the room stands."""
    await log.append("a", "one", "two", "three")
    assert said(await log.read("a", 2)) == [(2, "two"), (3, "three")]
    assert said(await log.read("a", 300)) == [(1, "one"), (2, "two"), (3, "three")]
    nothing = await log.read("a", 0)
    assert (nothing.oldest, nothing.newest, nothing.entries) == (1, 3, ())


async def test_pages_lead_through_the_log_in_both_directions(log: Log) -> None:
    """The last ones before an offset, the first ones after one, whatever batches they came in."""
    for texts in ("1234", "5", "678", "9"):
        await log.append("a", *texts)
    assert [offset for offset, _ in said(await log.read("a", 3, before=6))] == [3, 4, 5]
    assert [offset for offset, _ in said(await log.read("a", 3, before=3))] == [1, 2]
    assert [offset for offset, _ in said(await log.read("a", 3, before=100))] == [7, 8, 9]
    assert [offset for offset, _ in said(await log.read("a", 3, after=0))] == [1, 2, 3]
    assert [offset for offset, _ in said(await log.read("a", 3, after=3))] == [4, 5, 6]
    assert [offset for offset, _ in said(await log.read("a", 3, after=8))] == [9]
    for beyond in ({"before": 1}, {"before": 0}, {"after": 9}, {"after": 2**53 - 1}):
        assert (await log.read("a", 3, **beyond)).entries == ()


async def test_a_page_is_bounded_in_bytes(log: Log) -> None:
    """256 KiB of content, but one entry in any case: whoever reads has to take it in one go."""
    await log.append("a", *["x" * 60 * KIB] * 10)
    assert [entry.offset for entry in (await log.read("a")).entries] == [7, 8, 9, 10]
    assert [entry.offset for entry in (await log.read("a", before=10)).entries] == [6, 7, 8, 9]
    assert [entry.offset for entry in (await log.read("a", after=2)).entries] == [3, 4, 5, 6]
    await log.append("a", "x" * 300 * KIB)
    assert [entry.offset for entry in (await log.read("a")).entries] == [11]
    assert [entry.offset for entry in (await log.read("a", after=10)).entries] == [11]


async def test_a_page_is_bounded_in_bytes_of_memory(log: Log) -> None:
    """One emoji makes every character of a text four times as wide."""
    await log.append("a", *["x" * 2000 + "\N{CAT}"] * 200)
    page = await log.read("a")
    size = sum(content_bytes(entry.text, None) for entry in page.entries if isinstance(entry, Message))
    assert PAGE_BYTES * 0.9 < size <= PAGE_BYTES
    assert page.entries[-1].offset == 200


async def test_a_room_never_written_to_is_empty(log: Log) -> None:
    """Not an error; and its epoch is that of its first message."""
    empty = await log.read("a")
    assert (empty.oldest, empty.newest, empty.entries) == (1, 0, ())
    assert (await log.read("a")).epoch == empty.epoch
    assert (await log.append("a", "one")).epoch == empty.epoch


async def test_an_epoch_stays(log: Log) -> None:
    """As long as no offset is used again, whoever reads or writes where."""
    epoch = (await log.append("a", "one")).epoch
    await log.append("b", "uno")
    await log.read("c")
    assert (await log.append("a", "two")).epoch == epoch
    assert (await log.read("a")).epoch == epoch


async def test_rooms_that_are_only_read_push_out_nothing(url: str) -> None:
    """Who asks for invented rooms must not make others lose their history."""
    async with opened(url, max_rooms=2) as log:
        for room in "ab":
            await log.append(room, room)
        for number in range(10):
            await log.read(f"invented-{number}")
            await log.append(f"invented-{number}", erasure(1))
        assert [said(await log.read(room)) for room in "ab"] == [[(1, "a")], [(1, "b")]]


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


async def test_an_empty_batch_tries_whether_it_can(log: Log) -> None:
    """It is answered, and leaves nothing behind."""
    assert await log.append_drafts({}) == {}
    assert (await log.append("a", "one")).newest == 1


async def test_the_secret_is_random(url: str, tmp_path: Path) -> None:
    """32 bytes, another for each log."""
    other = "memory:" if url == "memory:" else f"sqlite:///{tmp_path}/other.db"
    async with opened(url) as log, opened(other) as another:
        assert len(log.engine.secret) == len(another.engine.secret) == 32
        assert log.engine.secret != another.engine.secret


# Erasures


async def test_an_erasure_is_an_entry_and_blanks_its_target(log: Log) -> None:
    """Who reads later sees that there was a message, and neither what nor whose."""
    await log.append("a", "one", "secret", "three")
    erased = await log.append("a", erasure(2, ts=1234), "four")
    assert erased.entries[0] == Erased("a", 4, 1234, 2)
    page = await log.read("a")
    assert said(page) == [(1, "one"), (2, "erased"), (3, "three"), (4, "erases 2"), (5, "four")]
    blank = page.entries[1]
    assert blank == Message("a", 2, blank.ts, erased=True)


async def test_what_is_not_there_cannot_be_erased(log: Log) -> None:
    """Nor what was erased before, nor an erasure; nothing is appended."""
    await log.append("a", "one", "two")
    await log.append("a", erasure(1))
    refused = await log.append("a", *map(erasure, (0, 1, 3, 4, 99)))
    assert [_refusal(result) for result in refused.results] == [("no_such_message", "offset")] * 5
    assert (refused.newest, list(refused.entries)) == (3, [])
    assert (await log.append("new", erasure(1))).newest == 0


async def test_what_the_history_no_longer_keeps_cannot_be_erased(url: str) -> None:
    """It is gone anyway."""
    async with opened(url, max_messages=2) as log:
        await log.append("a", "one", "two", "three")
        appended = await log.append("a", erasure(1), erasure(3))
        assert [_refusal(result) for result in appended.results[:1]] == [("no_such_message", "offset")]
        assert said(appended) == [(4, "erases 3")]


async def test_a_batch_can_erase_what_it_brings(log: Log) -> None:
    """Drafts are taken one after the other."""
    appended = await log.append("a", "one", erasure(1), "three", erasure(2), erasure(3))
    assert said(appended) == [(1, "one"), (2, "erases 1"), (3, "three"), (4, "erases 3")]
    assert said(await log.read("a")) == [(1, "erased"), (2, "erases 1"), (3, "erased"), (4, "erases 3")]


# Keys


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
    assert [_refusal(result) for result in refused.results[:4]] == [("key_reused", "key")] * 4
    assert isinstance(refused.results[4], Repeated)
    assert refused.newest == 1


async def test_keys_within_one_batch(log: Log) -> None:
    """The same twice is one message; another content under it is refused."""
    drafts = [("one", "key-0001"), ("one", "key-0001"), ("two", "key-0001"), ("three", None), ("one", "key-0002")]
    appended = await log.append("a", *(draft(text, key=key) for text, key in drafts))
    assert said(appended) == [(1, "one"), (2, "three"), (3, "one")]
    assert isinstance(appended.results[1], Repeated)
    assert appended.results[1].offset == 1
    assert _refusal(appended.results[2]) == ("key_reused", "key")


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


async def test_a_key_does_not_outlive_its_room(url: str) -> None:
    """Its offset would be one of another epoch."""
    async with opened(url, max_rooms=1) as log:
        await log.append("a", draft("one", key="key-0001"))
        await log.append("b", "uno")
        assert said(await log.append("a", draft("one", key="key-0001"))) == [(1, "one")]


# What is forgotten


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


async def test_of_too_many_rooms_the_longest_idle_is_forgotten(url: str) -> None:
    """When it is back, its offsets begin again, and so its epoch is another; the others are as they were."""
    async with opened(url, max_rooms=2) as log:
        before = {room: await log.append(room, room) for room in ("idle", "busy")}
        before["new"] = await log.append("new", "new")
        assert (await log.read("busy")).epoch == before["busy"].epoch
        empty = await log.read("idle")
        assert (empty.newest, empty.epoch != before["idle"].epoch) == (0, True)
        back = await log.append("idle", "again")
        assert (said(back), back.epoch) == ([(1, "again")], empty.epoch)
        assert said(await log.read("new")) == [(1, "new")]


async def test_with_too_many_bytes_the_longest_idle_room_is_forgotten(url: str) -> None:
    """And a room that is too large by itself forgets its oldest, under the same epoch."""
    async with opened(url, max_bytes=100 * KIB) as log:
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


async def test_the_bound_in_bytes_holds_however_texts_are_used(url: str) -> None:
    """A text that was encoded takes more memory than before: if it counted, the sum of all would drift away."""
    async with opened(url, max_bytes=100 * KIB, max_messages=10) as log:
        for _ in range(100):
            appended = await log.append("a", "ä" * KIB)
            msgspec.json.encode(appended.entries)
        await log.append("b", "x" * 40 * KIB)
        await log.append("b", "x" * 40 * KIB)
        assert (await log.read("a")).entries == ()
        assert [entry.offset for entry in (await log.read("b")).entries] == [1, 2]


async def test_erased_messages_give_back_their_bytes(url: str) -> None:
    """What is left of them is small."""
    async with opened(url, max_bytes=100 * KIB) as log:
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
    new = url if url == "memory:" else f"{url}-{uuid4()}"
    async with opened(new, max_rooms=max_rooms, max_messages=max_messages, max_bytes=max_bytes) as log:
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
            make_log(config_of(unknown))
        expected = f"store.url: got {unknown!r}, takes a URL that begins with one of memory:, sqlite:"
        assert str(refused.value) == expected
    assert data_path(config_of(url)) in {"in memory, and gone when the server stops", url.removeprefix("sqlite:///")}


def _refusal(result: Message | Erased | Repeated | Reply) -> tuple[str, str | None]:
    assert isinstance(result, Reply)
    return result.code, result.field
