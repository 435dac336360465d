"""The newest entries of rooms with people in them, kept in memory: who comes, or comes back soon, needs no store."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from aiochat.config import History
from aiochat.messages import Entry, Erased, Message
from aiochat.roomlog import PAGE_BYTES, content_bytes

_ENTRY_BYTES: Final = 200  # what an entry costs beside its content


def entry_bytes(entry: Entry) -> int:
    """About what an entry's content costs, in memory and on the wire."""
    return 0 if isinstance(entry, Erased) else content_bytes(entry.text, entry.data)


def blanked(message: Message) -> Message:
    """What is left of a message that was erased."""
    return Message(message.room, message.offset, message.ts, erased=True)


def first_page(entries: Iterator[Entry], limit: int, max_bytes: int = PAGE_BYTES) -> list[Entry]:
    """The first entries up to `limit` and `max_bytes`, but one in any case if `limit` is not 0."""
    page: list[Entry] = []
    size = 0
    for entry in entries:
        size += entry_bytes(entry)
        if len(page) == limit or (page and size > max_bytes):
            break
        page.append(entry)
    return page


class Tail:
    """One room's newest entries without a hole, by the batches in which they came; whole batches go."""

    __slots__ = ("_batches", "bytes", "count")

    def __init__(self) -> None:
        self._batches: deque[tuple[Sequence[Entry], int]] = deque()  # and the bytes of each
        self.count = 0
        self.bytes = 0

    @property
    def first(self) -> int | None:
        """The offset of the oldest entry here."""
        return self._batches[0][0][0].offset if self._batches else None

    def add(self, entries: Sequence[Entry], size: int) -> None:
        """The next entries of the room, of `size` bytes of content."""
        size += _ENTRY_BYTES * len(entries)
        self._batches.append((tuple(entries), size))  # the garbage collector passes over a tuple of such entries
        self.count += len(entries)
        self.bytes += size
        for entry in entries:
            if type(entry) is Erased:
                self._blank(entry.target)

    def forget_oldest(self) -> None:
        batch, size = self._batches.popleft()
        self.count -= len(batch)
        self.bytes -= size

    def newest(self, limit: int) -> list[Entry]:
        """The last entries, oldest first, of a page's size at most."""
        backwards = chain.from_iterable(reversed(batch) for batch, _ in reversed(self._batches))
        return first_page(backwards, limit)[::-1]

    def after(self, offset: int) -> Iterator[Entry]:
        """The entries that follow `offset`, which are all here."""
        for batch, _ in self._batches:
            if batch[-1].offset > offset:
                yield from batch[max(0, offset + 1 - batch[0].offset) :]

    def _blank(self, target: int) -> None:
        for number, (batch, size) in enumerate(self._batches):
            if batch[0].offset <= target <= batch[-1].offset:
                place = target - batch[0].offset
                erased = batch[place]
                if isinstance(erased, Message) and not erased.erased:
                    freed = entry_bytes(erased)
                    self._batches[number] = ((*batch[:place], blanked(erased), *batch[place + 1 :]), size - freed)
                    self.bytes -= freed


class Tails:
    """All of them: each within `history.tail_messages`, together within `tail_bytes`; those idle for longest go."""

    def __init__(self, limits: History) -> None:
        self._max_messages = min(limits.tail_messages, limits.max_messages)
        self._max_bytes = limits.tail_bytes
        self._tails: dict[str, Tail] = {}  # the longest idle first
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._tails)

    def get(self, room: str) -> Tail | None:
        """The tail of a room, if it is kept."""
        return self._tails.get(room)

    def add(self, room: str, entries: Sequence[Entry], size: int) -> None:
        """The room's next entries, of `size` bytes of content. No entries still begin a tail."""
        tail = self._tails.pop(room, None) or Tail()
        self._tails[room] = tail
        before = tail.bytes
        if entries:
            tail.add(entries, size)
        while tail.count > self._max_messages and tail.count > len(entries):
            tail.forget_oldest()
        self._bytes += tail.bytes - before
        while self._bytes > self._max_bytes and self._tails:
            self.forget(next(iter(self._tails)))

    def forget(self, room: str) -> None:
        """Let go of a room's tail."""
        tail = self._tails.pop(room, None)
        if tail is not None:
            self._bytes -= tail.bytes
