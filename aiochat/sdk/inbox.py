"""What came and the caller has not taken yet, within bounds."""

import asyncio
from collections import deque
from typing import Final

from aiochat.messages import Position
from aiochat.sdk.events import ChatEvent

_OVER: Final = 2  # times the bounds: where even what is in no log is left out

_Item = tuple[ChatEvent, int, str, Position | None]


class Inbox:
    """A queue that is `full` at `max_events` or `max_bytes`, and has room again once half of it was taken.

    Nobody waits to put: what is in a room log is asked for again later, so it is left out by who sees that it is full.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.positions: dict[str, Position] = {}  # up to where the caller has taken each room
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._items: deque[_Item] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._ended = False
        self._error: Exception | None = None

    @property
    def is_full(self) -> bool:
        return not self._has_room.is_set()

    def put(self, event: ChatEvent, size: int, room: str = "", position: Position | None = None) -> None:
        """`position` is that of `room` once the event was taken."""
        self._items.append((event, size, room, position))
        self._size += size
        if len(self._items) >= self._max_events or self._size >= self._max_bytes:
            self._has_room.clear()
        self._arrived.set()

    def offer(self, event: ChatEvent, size: int) -> None:
        """Put what is in no room log; beyond twice the bounds it is dropped."""
        if len(self._items) < _OVER * self._max_events and self._size < _OVER * self._max_bytes:
            self.put(event, size)

    async def has_room(self) -> None:
        """Wait until it is not full."""
        await self._has_room.wait()

    async def get(self) -> ChatEvent:
        """The next event. At the end: what it ended with, or `StopAsyncIteration`."""
        while not self._items:
            if self._ended:
                raise self._error or StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event, size, room, position = self._items.popleft()
        self._size -= size
        if position is not None:
            self.positions[room] = position
        if len(self._items) <= self._max_events // 2 and self._size <= self._max_bytes // 2:
            self._has_room.set()
        return event

    def end(self, error: Exception | None) -> None:
        """Nothing comes any more; what is there can still be taken."""
        if not self._ended:
            self._ended = True
            self._error = error
        self._arrived.set()
