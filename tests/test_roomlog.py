"""What every room log promises, whichever engine: one suite for all of them. Here what is said, read and erased."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiochat.errors import ConfigError
from aiochat.messages import Erased, Message, Sender
from aiochat.roomlog import PAGE_BYTES, content_bytes
from aiochat.roomlog.engines import data_path, make_log
from tests.roomlogs import ALICE, ENGINES, Log, another, config_of, draft, erasure, opened, refusal_of, said, url_of

KIB = 1 << 10


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What names a new log of each engine."""
    return url_of(request.param, tmp_path)


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


async def test_the_secret_is_random(url: str) -> None:
    """32 bytes, another for each log."""
    async with opened(url) as log, opened(another(url)) as other:
        assert len(log.engine.secret) == len(other.engine.secret) == 32
        assert log.engine.secret != other.engine.secret


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
    assert [refusal_of(result) for result in refused.results] == [("no_such_message", "offset")] * 5
    assert (refused.newest, list(refused.entries)) == (3, [])
    assert (await log.append("new", erasure(1))).newest == 0


async def test_what_the_history_no_longer_keeps_cannot_be_erased(url: str) -> None:
    """It is gone anyway."""
    async with opened(url, max_messages=2) as log:
        await log.append("a", "one", "two", "three")
        appended = await log.append("a", erasure(1), erasure(3))
        assert [refusal_of(result) for result in appended.results[:1]] == [("no_such_message", "offset")]
        assert said(appended) == [(4, "erases 3")]


async def test_a_batch_can_erase_what_it_brings(log: Log) -> None:
    """Drafts are taken one after the other."""
    appended = await log.append("a", "one", erasure(1), "three", erasure(2), erasure(3))
    assert said(appended) == [(1, "one"), (2, "erases 1"), (3, "three"), (4, "erases 3")]
    assert said(await log.read("a")) == [(1, "erased"), (2, "erases 1"), (3, "erased"), (4, "erases 3")]


# Deletion


async def test_a_deleted_room_begins_anew_under_another_epoch(log: Log) -> None:
    """Nothing of it is left, its keys included; no offset is used again under the epoch that it had."""
    before = await log.append("a", "one", draft("two", key="key-12345"))
    deleted = await log.delete("a")
    empty = await log.read("a")
    after = await log.append("a", draft("two", key="key-12345"))
    assert (deleted.newest, deleted.epoch) == (2, empty.epoch)
    assert (empty.oldest, empty.newest, empty.entries) == (1, 0, ())
    assert (said(after), after.epoch) == ([(1, "two")], deleted.epoch)
    assert deleted.epoch != before.epoch


async def test_deletion_takes_its_turn_and_leaves_other_rooms(log: Log) -> None:
    """What was appended before it is gone, what comes after is there; one never written to keeps its epoch."""
    await log.append("b", "uno")
    epoch = (await log.read("c")).epoch
    calls: list[asyncio.Future[Any]] = [
        *(log.append_drafts({"a": [draft("one")]}), log.delete("a"), log.append_drafts({"a": [draft("two")]})),
        *(log.delete("c"), log.read("a"), log.read("b")),
    ]
    _, deleted, _, never, page, other = await asyncio.gather(*calls)
    assert log.answered[-6:] == list(range(2, 8))
    assert (deleted.newest, never.newest, never.epoch) == (1, 0, epoch)
    assert (said(page), said(other)) == ([(1, "two")], [(1, "uno")])


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
        expected = f"store.url: got {unknown!r}, takes a URL that begins with one of memory:, sqlite:, redis:, "
        assert str(refused.value).startswith(expected)
    redis_path = f"in Redis at {url.removeprefix('unix://').partition('?')[0]}"
    expected_paths = {"in memory, and gone when the server stops", url.removeprefix("sqlite:///"), redis_path}
    assert data_path(config_of(url)) in expected_paths
