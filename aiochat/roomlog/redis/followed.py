"""One room that the node follows: what its subscription brings, in order and without holes, on its way to the hub.

A batch goes on when it follows what was given: the next offset, and behind the stamp that was the last. Anything else
is a reason to ask the stream what was missed since: a hole, or a log that went back and goes on otherwise. Meanwhile,
and while a page of the room is on its way, which must not be older than what was given, batches wait.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from aiochat.errors import StoreError
from aiochat.messages import Entry
from aiochat.roomlog.contract import Arrived
from aiochat.roomlog.redis.wire import DAMAGES, Batch, Seen, Stretch
from aiochat.tail import entry_bytes

_WAITING_BYTES: Final = 256 << 10  # of one room; more than that comes from the stream, too


class Followed:
    """`give` takes what goes on; `ask` asks for what was missed since `seen`, and calls `filled` with the answer."""

    __slots__ = (
        "_ask",
        "_budget",
        "_give",
        "_is_asked",
        "_is_asked_again",
        "_is_look",
        "_line",
        "_page_newest",
        "_pages",
        "_waiting",
        "_waiting_bytes",
        "has_failed",
        "room",
        "seen",
    )

    def __init__(
        self, room: str, give: Callable[[Arrived], None], ask: Callable[["Followed"], None], budget: "Budget"
    ) -> None:
        self.room = room
        self.seen = Seen()  # how far the hub was given
        self.has_failed = False  # what was missed is not known, and to be asked for again
        self._give = give
        self._ask = ask
        self._budget = budget
        self._line: str | None = None  # the stamp that the subscription brought last
        self._is_asked = False
        self._is_asked_again = False
        self._is_look = False  # nothing is seen yet, so nothing was missed
        self._pages = 0  # on their way
        self._page_newest = 0  # of the last that came while others were
        self._waiting: deque[tuple[Batch, bool]] = deque()  # and whether each came in line
        self._waiting_bytes = 0

    @property
    def is_filling(self) -> bool:
        return self._is_asked

    def ask(self) -> None:
        """What was missed is to be found out."""
        if self._is_asked:
            self._is_asked_again = True  # what is on its way may be older than the reason
            return
        self._is_asked = True
        self._is_asked_again = self.has_failed = False
        self._is_look = not self.seen.epoch
        self._ask(self)

    def stands(self) -> None:
        """The subscription does, from now on; what waits from the one before may be of a log that is no more."""
        self._line = None
        self.end()
        self.ask()

    def heard(self, batch: Batch) -> None:
        """What the subscription brings."""
        is_in_line, self._line = batch.previous == self._line, batch.stamp
        if self._is_asked or self._waiting or self._must_wait(batch):
            self._wait(batch, is_in_line=is_in_line)
        else:
            self._take(batch, is_in_line=is_in_line)

    def reading(self) -> None:
        """A page of the room is asked for."""
        self._pages += 1

    def was_read(self, stretch: Stretch | StoreError) -> None:
        """It comes now; to be called before anybody sees it."""
        self._pages = max(0, self._pages - 1)  # it may have been asked for before the room was followed anew
        self._page_newest = 0
        if isinstance(stretch, Stretch):
            self._page_newest = stretch.newest
            if not self.seen.epoch:
                self.seen = Seen(stretch.epoch, stretch.newest, stretch.stamp)
            elif stretch.epoch != self.seen.epoch:
                self._begin(stretch.epoch, stretch.after)
                self.ask()

    def began(self, epoch: str) -> None:
        """The room was emptied, and its next message is the first under this epoch."""
        if self.seen.epoch and self.seen.epoch != epoch:
            self._begin(epoch, 0)

    def go_on(self) -> None:
        """What waited for a page goes on; to be called once it was seen."""
        while self._waiting and not self._is_asked and not self._must_wait(self._waiting[0][0]):
            batch, is_in_line = self._waiting.popleft()
            self._resize(-len(batch.content))
            self._take(batch, is_in_line=is_in_line)

    def filled(self, stretch: Stretch | StoreError) -> None:
        """The answer to `ask`."""
        self._is_asked = False
        if isinstance(stretch, StoreError):
            self.has_failed = True
            return
        if stretch.epoch != self.seen.epoch:
            self._begin(stretch.epoch, stretch.after)
        if stretch.entries:
            self._on(stretch.after, list(stretch.entries), stretch.stamps[-1])
        elif stretch.after > self.seen.offset and not self._is_look:  # else a page has come meanwhile
            self._on(stretch.after, [], "")
        if self.seen.offset == stretch.newest:
            self.seen = Seen(self.seen.epoch, stretch.newest, stretch.stamp)
        if self.seen.offset < stretch.newest or self._is_asked_again:
            self.ask()
        else:
            self.go_on()

    def end(self) -> None:
        """What waits is not given."""
        self._waiting.clear()
        self._resize(-self._waiting_bytes)

    def _begin(self, epoch: str, after: int) -> None:
        self.seen = Seen(epoch, after)
        self._give(Arrived(epoch, after, (), 0))

    def _must_wait(self, batch: Batch) -> bool:
        return self._pages > 0 and batch.last > self._page_newest

    def _wait(self, batch: Batch, *, is_in_line: bool) -> None:
        size = len(batch.content)
        if self._waiting_bytes + size > _WAITING_BYTES or not self._budget.has(size):
            self.end()
            self.ask()  # for this one and those, once the answer is there
            return
        self._waiting.append((batch, is_in_line))
        self._resize(size)

    def _resize(self, size: int) -> None:
        self._waiting_bytes += size
        self._budget.bytes += size

    def _take(self, batch: Batch, *, is_in_line: bool) -> None:
        seen = self.seen
        if batch.epoch == seen.epoch:
            if batch.count and batch.last <= seen.offset and is_in_line:
                return  # it was read before it came
            if batch.count and batch.first == seen.offset + 1 and seen.stamp in {"", batch.previous}:
                try:
                    entries = batch.entries(self.room)
                except DAMAGES:
                    self.ask()
                    return
                self._on(seen.offset, entries, batch.stamp)
                return
        self.ask()

    def _on(self, after: int, entries: list[Entry], stamp: str) -> None:
        last = entries[-1].offset if entries else after
        self.seen = Seen(self.seen.epoch, last, stamp)
        self._give(Arrived(self.seen.epoch, after, entries, sum(map(entry_bytes, entries))))


class Budget:
    """What all rooms together have waiting."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0

    def has(self, size: int) -> bool:
        """Whether so much more may wait."""
        return self.bytes + size <= self._max_bytes
