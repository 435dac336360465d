"""What stands in for sockets and stores where a test looks at the pure cores alone."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aiochat.config import Config
from aiochat.errors import StoreError
from aiochat.messages import Message, Sender
from aiochat.outbox import Outbox
from aiochat.roomlog import Answer, Appended, Deleted, Draft, Page, RoomLog
from aiochat.roomlog.memory import MemoryLog
from tests.wire import Frame, frames_of


class Socket:
    """An outbox's transport: pauses it as asyncio does, above `high` unsent bytes, and resumes it at a quarter."""

    outbox: Outbox

    def __init__(self, high: int = 1 << 16) -> None:
        self.written = bytearray()
        self.writes = 0
        self._high = high
        self._unsent = 0
        self._is_paused = False

    @property
    def frames(self) -> list[Frame]:
        return frames_of(bytes(self.written))

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1
        self._unsent += len(data)
        if self._unsent > self._high and not self._is_paused:
            self._is_paused = True
            self.outbox.pause()

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def take(self, size: int = 1 << 40) -> None:
        """The kernel takes so many of the unsent bytes."""
        self._unsent -= min(size, self._unsent)
        if self._is_paused and self._unsent <= self._high // 4:
            self._is_paused = False
            self.outbox.resume()


class Owner:
    """Whose outbox it is; remembers how it was sealed, and what was still queued then."""

    outbox: Outbox

    def __init__(self) -> None:
        self.sealings: list[tuple[int, str]] = []
        self.queued_bytes = 0

    def sealed(self, code: int, reason: str) -> None:
        self.sealings.append((code, reason))
        self.queued_bytes = self.outbox.queued_bytes

    def farewell(self, code: int, reason: str) -> bytes:
        return b""


class SlowLog(RoomLog):
    """A room log that answers when the test says so, one call at a time, in the order of the calls."""

    def __init__(self, config: Config) -> None:
        self.calls: deque[Callable[[StoreError | None], None]] = deque()
        self.batches: list[Mapping[str, Sequence[Draft]]] = []  # of all calls of `append`
        self._log = MemoryLog(config)
        self.secret, self.kept = self._log.secret, self._log.kept

    @property
    def epoch(self) -> str:
        """Of every room."""
        return f"{self._log._name}0"

    @epoch.setter
    def epoch(self, epoch: str) -> None:
        self._log._name = epoch.removesuffix("0")

    async def open(self, on_end: Callable[[str], None]) -> None:
        pass

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        self.batches.append(batch)
        self.calls.append(lambda error: answer(error) if error else self._log.append(batch, answer))

    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        read = partial(self._log.read, room, answer, limit=limit, before=before, after=after)
        self.calls.append(lambda error: answer(error) if error else read())

    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        self.calls.append(lambda error: answer(error) if error else self._log.delete(room, answer))

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        self.calls.append(lambda error: answer(error) if error else self._log.keep(key, value, answer))

    def fill(self, room: str, count: int) -> tuple[Message, ...]:
        """Let the room have said so much already."""
        drafts = [
            Draft(Sender("c0"), str(number), None, time.time_ns() // 1_000_000, 1, None) for number in range(count)
        ]
        self._log.append({room: drafts}, lambda result: None)
        return tuple(Message(room, number + 1, 0, Sender("c0"), str(number)) for number in range(count))

    async def close(self) -> None:
        while self.calls:
            self.answer()

    def answer(self, error: StoreError | None = None) -> None:
        """Answer the oldest call, with what it asks for or with the error."""
        self.calls.popleft()(error)
