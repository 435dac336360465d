"""One room as its member keeps it: up to where it has the log, and what of what comes is new."""

from collections.abc import Iterator
from enum import Enum

from aiochat.messages import Entry, Gap, Joined, Message, Position
from aiochat.sdk.events import CaughtUp, ChatEvent


class Phase(Enum):
    """LIVE: what comes is the next. BEHIND: the server waits for this client to ask on.

    SKIPPING: the server sends what is new, and it is left out until the caller has room for what is between.
    """

    LIVE = "live"
    BEHIND = "behind"
    SKIPPING = "skipping"


class Room:
    """The position is that of the last entry passed on."""

    def __init__(self, room: str, position: Position, phase: Phase) -> None:
        self.room = room
        self.phase = phase
        self.recovered = True  # whether nothing was missing since the break
        self._epoch = position.epoch
        self._offset = position.offset
        self._anew = False  # the log is another one, of which nothing was seen yet
        self._missed: int | None = None  # messages caught up with since the break

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._offset)

    def away(self) -> None:
        """The connection is lost: what comes next is caught up with."""
        self.phase = Phase.BEHIND
        self.recovered = True
        self._missed = self._missed or 0

    def entry(self, entry: Entry) -> Iterator[ChatEvent]:
        """What of a live entry is new: nothing if it was seen, and a gap before it if there is a hole."""
        return self._next(entry) if self.phase is Phase.LIVE else iter(())

    def gap(self, gap: Gap) -> Iterator[ChatEvent]:
        """Take note of what cannot be had."""
        if self.phase is Phase.SKIPPING:
            return
        if gap.epoch != self._epoch or gap.to is None:
            self._epoch, self._offset, self._anew = gap.epoch, gap.offset or 0, True
        elif gap.to > self._offset:
            self._offset = gap.to
        else:
            return
        self.recovered = False
        yield gap

    def page(self, joined: Joined) -> Iterator[ChatEvent]:
        """What is new in the answer to `join` with `since`, or to `resume`."""
        if self.phase is Phase.SKIPPING:
            self.phase = Phase.BEHIND
        self.recovered = self.recovered and joined.recovered is not False
        if joined.epoch != self._epoch:
            yield from self.gap(Gap(room=self.room, epoch=joined.epoch, offset=joined.offset))
        if self._anew:
            self._offset = joined.messages[0].offset - 1 if joined.messages else joined.offset
        for entry in joined.messages:
            for event in self._next(entry):
                if self._missed is not None and isinstance(event, Message):
                    self._missed += 1
                yield event
        if not joined.more:
            yield from self._caught_up(joined.offset)

    def _caught_up(self, offset: int) -> Iterator[ChatEvent]:
        self.phase = Phase.LIVE
        self._offset = max(self._offset, offset)
        if self._missed is not None:
            yield CaughtUp(self.room, self._missed)
        self._missed = None

    def _next(self, entry: Entry) -> Iterator[ChatEvent]:
        self._anew = False
        hole = entry.offset - self._offset - 1
        if hole < 0:
            return
        if hole:
            yield Gap(room=self.room, epoch=self._epoch, from_=self._offset + 1, to=entry.offset - 1)
        self._offset = entry.offset
        yield entry
