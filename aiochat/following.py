"""Which rooms this node follows in a log that it shares: those with members, and those that somebody is coming into.

A log of this node's own has nothing to follow: what it appended is in its answers.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

from aiochat.fanout import FanOut
from aiochat.room import Room
from aiochat.roomlog import Arrived, RoomLog


class Following:
    """What comes is applied within a turn, like the log's answers, and in one order with them."""

    def __init__(
        self,
        log: RoomLog,
        rooms: dict[str, Room],
        fanout: FanOut,
        put_item: Callable[[Callable[[], object]], None],
    ) -> None:
        self._log = log
        self._is_shared = log.is_shared
        self._rooms = rooms
        self._fanout = fanout
        self._put_item = put_item
        self._coming: Counter[str] = Counter()
        self._followed: set[str] = set()

    def come(self, room: str) -> None:
        """Somebody is on the way into the room."""
        if not self._is_shared:
            return
        self._coming[room] += 1
        if room not in self._followed:
            self._followed.add(room)
            self._log.follow(room, partial(self._arrived, room))

    def arrive(self, room: str) -> None:
        """They are there, or have given up."""
        if not self._is_shared:
            return
        self._coming[room] -= 1
        if not self._coming[room]:
            del self._coming[room]
            self.forget_if_idle(room)

    def forget_if_idle(self, room: str) -> None:
        """Stop to follow a room that is no more and that nobody is coming into."""
        if room in self._followed and room not in self._coming and room not in self._rooms:
            self._followed.discard(room)
            self._log.unfollow(room)

    def _arrived(self, room: str, arrived: Arrived) -> None:
        self._put_item(partial(self._apply, room, arrived))

    def _apply(self, name: str, arrived: Arrived) -> None:
        room = self._rooms.get(name)
        try:
            if room is not None:
                self._fanout.arrived(room, arrived)
        finally:
            self._log.took(arrived)
