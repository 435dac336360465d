"""What memory keeps of rooms: the newest entries without a hole, within bounds, and nothing of what was erased."""

from itertools import count
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.config import History, load
from aiochat.messages import Entry, Erased, Message, Sender
from aiochat.roomlog import PAGE_BYTES, content_bytes
from aiochat.tail import Tail, Tails, blanked, entry_bytes, first_page

KIB: Final = 1 << 10
NOBODY: Final = Sender("c1")
# Batches of messages of so many bytes; a target is an erasure of the one so far back.
BATCHES: Final = st.lists(
    st.lists(st.integers(0, 40) | st.integers(1, 12).map(lambda back: -back), min_size=1, max_size=4), max_size=12
)


def message(offset: int, size: int = 1) -> Message:
    """Of so many bytes."""
    return Message("lobby", offset, 0, NOBODY, "x" * size)


def limits(**settings: int) -> History:
    """With these over the default ones."""
    return load().history.model_copy(update=settings)


def entries_of(batches: list[list[int]]) -> list[list[Entry]]:
    """The batches as entries, with offsets from 1 on."""
    offsets = count(1)

    def entry(size: int) -> Entry:
        offset = next(offsets)
        return message(offset, size) if size >= 0 else Erased("lobby", offset, 0, max(1, offset + size))

    return [[entry(size) for size in batch] for batch in batches]


def erased_in(entries: list[Entry]) -> list[Entry]:
    """The plain list: what is erased by a later entry of it has nothing left."""
    targets = {entry.target for entry in entries if isinstance(entry, Erased)}
    return [blanked(each) if isinstance(each, Message) and each.offset in targets else each for each in entries]


def add(tail: Tail | Tails, batch: list[Entry]) -> None:
    """As the hub does it."""
    size = sum(map(entry_bytes, batch))
    if isinstance(tail, Tail):
        tail.add(batch, size)
    else:
        tail.add("lobby", batch, size)


def room_of(tails: Tails, room: str = "lobby") -> Tail:
    """The tail of a room that is kept."""
    tail = tails.get(room)
    assert tail is not None
    return tail


@given(BATCHES, st.integers(0, 50), st.integers(0, 50))
def test_a_tail_is_a_list_of_entries(batches: list[list[int]], limit: int, after: int) -> None:
    """The newest ones of it, and those that follow an offset; what was erased is blank in both."""
    tail = Tail()
    plain: list[Entry] = []
    for batch in entries_of(batches):
        add(tail, batch)
        plain = erased_in([*plain, *batch])
    assert tail.newest(limit) == plain[max(0, len(plain) - limit) :]
    assert list(tail.after(after)) == plain[after:]
    assert (tail.first, tail.count) == (1 if plain else None, len(plain))


@given(BATCHES, st.integers(0, 12))
def test_the_oldest_go_by_the_batch(batches: list[list[int]], times: int) -> None:
    """What is left has no hole, begins where it says, and its bytes are those of a new one that holds the same."""
    tail, left = Tail(), []
    for batch in entries_of(batches):
        add(tail, batch)
        left.append(batch)
    for _ in range(min(times, len(left))):
        tail.forget_oldest()
    plain = erased_in([entry for batch in left for entry in batch])[sum(map(len, left[:times])) :]
    assert list(tail.after(0)) == plain
    assert tail.first == (plain[0].offset if plain else None)
    fresh = Tail()
    if plain:
        add(fresh, plain)
    assert (tail.count, tail.bytes) == (fresh.count, fresh.bytes)


@given(BATCHES, st.integers(1, 8), st.integers(500, 3000))
def test_all_tails_are_within_bounds(batches: list[list[int]], messages: int, size: int) -> None:
    """Each in number, but for a single larger batch; together in bytes; and the newest are those that are kept."""
    tails = Tails(limits(tail_messages=messages, tail_bytes=size))
    plain: list[Entry] = []
    for batch in entries_of(batches):
        add(tails, batch)
        plain = erased_in([*plain, *batch])
        tail = tails.get("lobby")
        assert tails._bytes == (tail.bytes if tail else 0) <= size
        if tail is not None:
            assert 0 < tail.count <= max(messages, len(batch))
            assert list(tail.after(plain[-1].offset - tail.count)) == plain[len(plain) - tail.count :]


def test_the_room_that_was_idle_for_longest_goes_first() -> None:
    """To be spoken in is not to be idle."""
    tails = Tails(limits(tail_bytes=3 * (KIB + 300)))
    for room in ("a", "b", "c", "a", "d"):
        tails.add(room, [message(1, KIB)] if room != "a" else [message(1, 400)], KIB if room != "a" else 400)
    assert [room for room in "abcd" if tails.get(room)] == ["a", "c", "d"]


def test_a_room_with_nothing_in_it_has_a_tail() -> None:
    """So that who comes next need not ask the log; it goes on with what is said."""
    tails = Tails(limits())
    tails.add("lobby", [], 0)
    assert (room_of(tails).first, room_of(tails).newest(50), len(tails)) == (None, [], 1)
    tails.add("lobby", [message(8)], 1)
    assert (room_of(tails).first, room_of(tails).count) == (8, 1)


def test_what_is_forgotten_is_free() -> None:
    """A room that is not kept can be forgotten, too; what follows begins a new tail."""
    tails = Tails(limits())
    tails.add("a", [message(1, KIB)], KIB)
    tails.forget("a")
    tails.forget("b")
    assert (tails.get("a"), tails._bytes, len(tails)) == (None, 0, 0)
    tails.add("a", [message(2)], 1)
    assert room_of(tails, "a").first == 2


def test_an_erasure_of_what_is_not_there_changes_nothing() -> None:
    """Older than the tail, blank already, or itself an erasure."""
    tail = Tail()
    add(tail, [message(5, 10), Erased("lobby", 6, 0, 5)])
    before = tail.bytes
    for target in (1, 5, 6):
        size = tail.count
        add(tail, [Erased("lobby", 5 + size, 0, target)])
    assert tail.bytes - before == 3 * (before // 2)
    assert [entry.offset for entry in tail.after(0)] == [5, 6, 7, 8, 9]
    assert tail.newest(9)[:2] == [blanked(message(5)), Erased("lobby", 6, 0, 5)]


@pytest.mark.parametrize(
    ("sizes", "limit", "length"),
    [
        ([1] * 10, 3, 3),
        ([1] * 10, 0, 0),
        ([], 5, 0),
        ([PAGE_BYTES // 2] * 3, 9, 2),
        ([PAGE_BYTES + 1, 1], 9, 1),
        ([1, PAGE_BYTES], 9, 1),
    ],
    ids=["limit", "none", "nothing", "bytes", "one that is larger", "one that would be too much"],
)
def test_a_page_is_within_bounds(sizes: list[int], limit: int, length: int) -> None:
    """By number and by bytes, but one entry of any size is a page, unless none are asked for."""
    entries = [message(number, size) for number, size in enumerate(sizes, 1)]
    assert first_page(iter(entries), limit) == entries[:length]
    tail = Tail()
    for entry in entries:
        add(tail, [entry])
    newest = tail.newest(limit)
    assert newest == entries[len(entries) - len(newest) :]
    assert len(newest) == len(first_page(reversed(entries), limit))


def test_bytes_are_those_of_the_content() -> None:
    """An erasure has none, a blank message neither."""
    assert entry_bytes(message(1, 10)) == 10
    assert entry_bytes(Message("lobby", 1, 0, NOBODY, "x", {"a": 1})) == content_bytes("x", {"a": 1}) > 7
    assert entry_bytes(blanked(message(1, 10))) == entry_bytes(Erased("lobby", 2, 0, 1)) == 0
