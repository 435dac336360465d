"""What stands in for sockets and stores where a test looks at the pure cores alone."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from aiochat.config import Config
from aiochat.errors import StoreError
from aiochat.outbox import Outbox
from aiochat.roomlog import Answer, Draft, Page, RoomLog
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


class SlowLog(RoomLog):
    """A room log that answers when the test says so, one call at a time, in the order of the calls."""

    def __init__(self, config: Config) -> None:
        self.calls: deque[Callable[[StoreError | None], None]] = deque()
        self.batches: list[Mapping[str, Sequence[Draft]]] = []  # of all calls of `append`
        self._log = MemoryLog(config)

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[dict[str, Page]]) -> None:
        self.batches.append(batch)
        self.calls.append(lambda error: answer(error) if error else self._log.append(batch, answer))

    def read(self, room: str, limit: int, answer: Answer[Page]) -> None:
        self.calls.append(lambda error: answer(error) if error else self._log.read(room, limit, answer))

    async def close(self) -> None:
        while self.calls:
            self.answer()

    def answer(self, error: StoreError | None = None) -> None:
        """Answer the oldest call, with what it asks for or with the error."""
        self.calls.popleft()(error)
