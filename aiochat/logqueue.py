"""The hub's side of the room log: what waits for it, bounded in number, bytes and time; one append is in flight.

While an append is in flight the next one's batch grows, so that a slow log makes bigger batches.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Final

import structlog
from msgspec.structs import replace

from aiochat.config import Store
from aiochat.errors import StoreError, unavailable
from aiochat.monitoring.counts import Counts, Histogram
from aiochat.room import Room
from aiochat.roomlog import Appended, Deleted, Draft, Page, RoomLog

_READS_IN_FLIGHT: Final = 16  # an append waits behind these; ten thousand who come back at once must not stop it
_ENTRIES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()

_Drafts = Mapping[str, list[Draft]]
_Result = Mapping[str, Appended] | StoreError
_Appended = Callable[[_Drafts, _Result], None]
_Item = Callable[[], object]
_Read = Callable[[Page | StoreError], None]
_Deleted = Callable[[Deleted | StoreError], None]


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
        self.messages = 0  # that wait for the next append
        self.bytes = 0
        self._in_flight: _Drafts | None = None
        self._in_flight_since = 0.0
        self._began = 0.0
        self._is_late = False
        self._has_failed = False
        self._is_suspect = False  # a read failed, or was late, since the last append began
        self._settle: list[_Item] = []  # what to do after the next append, and after the one in flight
        self._settle_in_flight: list[_Item] = []
        self._reads: dict[object, tuple[float, _Read]] = {}
        self._reads_waiting: deque[tuple[object, Callable[[], None]]] = deque()
        self.reads_in_flight = 0
        self.append_entries = Histogram(_ENTRIES)
        self.append_seconds = Histogram(_SECONDS)
        self.failures = Counts(("append", "late", "read"))

    @property
    def is_shared(self) -> bool:
        """Whether other nodes use the same log, so that its failure is everybody's."""
        return self._log.is_shared

    @property
    def is_deaf(self) -> bool:
        """Whether the log answers, but does not tell what other nodes append."""
        return self._log.is_deaf

    @property
    def reads_waiting(self) -> int:
        """Behind those in flight."""
        return len(self._reads_waiting)

    @property
    def is_failing(self) -> bool:
        """Whether the last append or a read since then failed, or the append in flight takes too long."""
        return self._has_failed or self._is_late

    def add(self, room: Room, draft: Draft) -> None:
        """Put an entry into the next append. Raises `Reply` `unavailable` when too much waits, or waits too long."""
        is_full = self.messages >= self._max_messages or self.bytes >= self._max_bytes
        if self._is_late or (is_full and self._in_flight is not None):  # what one turn brings waits for nothing
            raise unavailable()
        if not room.drafts:
            self._rooms.append(room)
        room.drafts.append(draft)
        self.messages += 1
        self.bytes += draft.size

    def append(self, then: _Appended) -> Iterable[Room]:
        """Begin the next append unless one is in flight; the rooms whose drafts went."""
        if self._in_flight is not None or not self._rooms:
            return ()
        batch = {room.name: room.drafts for room in self._rooms}
        self.append_entries.add(self.messages)
        rooms = self._take()
        self._begin(batch, then)
        return rooms

    def read(self, room: str, then: _Read, *, limit: int, before: int | None = None, after: int | None = None) -> None:
        """Ask for a page of a room; `then` is called once, with a `StoreError` after `wait_seconds`."""
        ticket = object()
        self._reads[ticket] = (self._time() + self._wait_seconds, then)
        answer = partial(self._put_read, ticket)
        self._reads_waiting.append(
            (ticket, partial(self._log.read, room, answer, limit=limit, before=before, after=after))
        )
        self._begin_reads()

    def delete(self, room: str, then: _Deleted) -> None:
        """Throw a room's log away; `then` is called once, however late: the hub must learn that it begins anew."""
        try:
            self._log.delete(room, lambda result: self._put_item(partial(then, result)))
        except Exception as error:  # a defect of the log's
            _logger.exception("delete_failed")
            self._put_item(partial(then, StoreError(str(error))))

    def settle(self, then: _Item) -> None:
        """Call `then` within a turn, once all that was added so far has been fanned out or refused."""
        if self._rooms:
            self._settle.append(then)
        elif self._in_flight is not None:
            self._settle_in_flight.append(then)
        else:
            self._put_item(then)

    def refuse_late(self) -> tuple[Iterable[Draft], Iterable[Draft], Iterable[Room]]:
        """What has waited longer than `wait_seconds`: the drafts in flight, those behind them, and these ones' rooms.

        What is in flight may be in the log all the same, and is delivered then; it has no `publisher` any more.
        """
        now = self._time()
        for ticket in [ticket for ticket, (deadline, _) in self._reads.items() if deadline < now]:
            self._is_suspect = True
            self._answer_read(ticket, StoreError("no answer in time"))
        seconds = now - self._in_flight_since
        if self._in_flight is None or seconds <= self._wait_seconds:
            return (), (), ()
        late = () if self._is_late else self._give_up(self._in_flight, seconds)
        self._put_settled(self._settle_in_flight)
        self._put_settled(self._settle)
        refused = list(chain.from_iterable(room.drafts for room in self._rooms))
        return late, refused, self._take()

    def probe(self, then: _Appended) -> None:
        """Try an empty append after a failure, so that a log that nobody writes to is seen to be away, or back."""
        if (self._has_failed or self._is_suspect) and self._in_flight is None and not self._rooms:
            self._begin({}, then)

    def round_trip(self, then: _Item) -> None:
        """Call `then` within a turn once the log has answered, or is late: an empty append if there is no other."""
        if self._in_flight is None and not self._rooms:
            self._begin({}, _ignore)
        self.settle(then)

    def _begin(self, batch: _Drafts, then: _Appended) -> None:
        self._in_flight = batch
        self._settle_in_flight, self._settle = self._settle, []
        self._in_flight_since = self._time()
        self._began = perf_counter()  # the loop's clock stands still within a turn
        self._is_suspect = False
        try:
            self._log.append(batch, lambda result: self._put_item(partial(self._appended, then, result)))
        except Exception as error:  # a defect of the log's: this batch is refused, the next one tried
            _logger.exception("append_failed")
            self._put_item(partial(self._appended, then, StoreError(str(error))))

    def _give_up(self, batch: _Drafts, seconds: float) -> list[Draft]:
        """The drafts of the append in flight, whose publishers are told now and not again."""
        self._is_late = True
        self.failures.add("late")
        _logger.warning("store_late", seconds=round(seconds, 1))
        self._in_flight = {room: [replace(draft, publisher=None) for draft in drafts] for room, drafts in batch.items()}
        return list(chain.from_iterable(batch.values()))

    def _take(self) -> list[Room]:
        rooms, self._rooms = self._rooms, []
        for room in rooms:
            room.drafts = []
        self.messages = self.bytes = 0
        return rooms

    def _put_settled(self, settled: list[_Item]) -> None:
        for then in settled:
            self._put_item(then)
        settled.clear()

    def _appended(self, then: _Appended, result: _Result) -> None:
        batch, self._in_flight = self._in_flight or {}, None
        if batch:
            self.append_seconds.add(perf_counter() - self._began)
        is_failure = isinstance(result, StoreError)
        if is_failure:
            self.failures.add("append")
        if self._is_late and not is_failure:
            _logger.info("store_recovered")
        self._is_late = False
        self._has_failed = is_failure or (self._has_failed and self._is_suspect)  # by a read that failed meanwhile
        then(batch, result)
        self._put_settled(self._settle_in_flight)

    def _begin_reads(self) -> None:
        while self._reads_waiting and self.reads_in_flight < _READS_IN_FLIGHT:
            ticket, begin = self._reads_waiting.popleft()
            if ticket in self._reads:  # it was not answered for being late
                self.reads_in_flight += 1
                self._try_read(ticket, begin)

    def _try_read(self, ticket: object, begin: Callable[[], None]) -> None:
        try:
            begin()
        except Exception as error:  # a defect of the log's
            _logger.exception("read_failed")
            self.reads_in_flight -= 1
            self._put_item(partial(self._answer_read, ticket, StoreError(str(error))))

    def _put_read(self, ticket: object, result: Page | StoreError) -> None:
        self.reads_in_flight -= 1
        if isinstance(result, StoreError):
            self._has_failed = self._is_suspect = True
            self.failures.add("read")
        self._put_item(partial(self._answer_read, ticket, result))
        self._begin_reads()

    def _answer_read(self, ticket: object, result: Page | StoreError) -> None:
        _, then = self._reads.pop(ticket, (0.0, None))
        if then is not None:
            then(result)


def _ignore(batch: _Drafts, result: _Result) -> None:
    """It was an empty append, and only its coming back counts."""
