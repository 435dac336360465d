"""The hub's side of the room log: what waits for it, bounded in number, bytes and time; one append is in flight.

While an append is in flight the next one's batch grows, so that a slow log makes bigger batches.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain

import structlog

from aiochat.config import Store
from aiochat.errors import StoreError, unavailable
from aiochat.room import Room
from aiochat.roomlog import Draft, Page, RoomLog

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()

_Drafts = Mapping[str, list[Draft]]
_Appended = Callable[[_Drafts, Mapping[str, Page] | StoreError], None]
_Item = Callable[[], object]
_Read = Callable[[Page | StoreError], None]


class LogQueue:
    """Answers come through `put_item`, so that they are applied within a turn."""

    def __init__(
        self, limits: Store, log: RoomLog, time: Callable[[], float], put_item: Callable[[_Item], None]
    ) -> None:
        self._max_messages = limits.pending_messages
        self._max_bytes = limits.pending_bytes
        self._wait_seconds = limits.wait_seconds
        self._log = log
        self._time = time
        self._put_item = put_item
        self._rooms: list[Room] = []  # those with drafts
        self._messages = 0
        self._bytes = 0
        self._in_flight: _Drafts | None = None
        self._in_flight_since = 0.0
        self._is_late = False
        self._settle: list[_Item] = []  # what to do after the next append, and after the one in flight
        self._settle_in_flight: list[_Item] = []
        self._reads: dict[object, tuple[float, _Read]] = {}

    def add(self, room: Room, draft: Draft) -> None:
        """Put a message into the next append. Raises `Reply` `unavailable` when too much waits, or waits too long."""
        is_full = self._messages >= self._max_messages or self._bytes >= self._max_bytes
        if self._is_late or (is_full and self._in_flight is not None):  # what one turn brings waits for nothing
            raise unavailable()
        if not room.drafts:
            self._rooms.append(room)
        room.drafts.append(draft)
        self._messages += 1
        self._bytes += draft.size

    def append(self, then: _Appended) -> Iterable[Room]:
        """Begin the next append unless one is in flight; the rooms whose drafts went."""
        if self._in_flight is not None or not self._rooms:
            return ()
        batch = {room.name: room.drafts for room in self._rooms}
        rooms = self._take()
        self._in_flight = batch
        self._settle_in_flight, self._settle = self._settle, []
        self._in_flight_since = self._time()
        try:
            self._log.append(batch, lambda result: self._put_item(partial(self._appended, then, result)))
        except Exception as error:  # a defect of the log's: this batch is refused, the next one tried
            _logger.exception("append_failed")
            self._put_item(partial(self._appended, then, StoreError(str(error))))
        return rooms

    def read(self, room: str, limit: int, then: _Read) -> None:
        """Ask for a room's newest messages; `then` is called once, with a `StoreError` after `wait_seconds`."""
        ticket = object()
        self._reads[ticket] = (self._time() + self._wait_seconds, then)
        self._log.read(room, limit, lambda result: self._put_item(partial(self._read, ticket, result)))

    def settle(self, then: _Item) -> None:
        """Call `then` within a turn, once all that was added so far has been fanned out or refused."""
        if self._rooms:
            self._settle.append(then)
        elif self._in_flight is not None:
            self._settle_in_flight.append(then)
        else:
            self._put_item(then)

    def refuse_late(self) -> tuple[Iterable[Draft], Iterable[Room]]:
        """What has waited longer than `wait_seconds`: the drafts that are refused, and their rooms."""
        now = self._time()
        for ticket in [ticket for ticket, (deadline, _) in self._reads.items() if deadline < now]:
            self._read(ticket, StoreError("no answer in time"))
        if self._in_flight is None or now - self._in_flight_since <= self._wait_seconds:
            return (), ()
        self._is_late = True
        self._put_settled(self._settle_in_flight)
        self._put_settled(self._settle)
        drafts = list(chain.from_iterable(room.drafts for room in self._rooms))
        return drafts, self._take()

    def _take(self) -> list[Room]:
        rooms, self._rooms = self._rooms, []
        for room in rooms:
            room.drafts = []
        self._messages = self._bytes = 0
        return rooms

    def _put_settled(self, settled: list[_Item]) -> None:
        for then in settled:
            self._put_item(then)
        settled.clear()

    def _appended(self, then: _Appended, result: Mapping[str, Page] | StoreError) -> None:
        batch, self._in_flight = self._in_flight or {}, None
        self._is_late = False
        then(batch, result)
        self._put_settled(self._settle_in_flight)

    def _read(self, ticket: object, result: Page | StoreError) -> None:
        _, then = self._reads.pop(ticket, (0.0, None))
        if then is not None:
            then(result)
