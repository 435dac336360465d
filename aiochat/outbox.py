"""What goes out to one client: written at once while its socket is open, queued within bounds while it is paused.

`Backlog` is what all outboxes share: the bytes queued in all, and who is paused. Nothing here waits.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final, Protocol

from aiochat import frames
from aiochat.config import Queue
from aiochat.errors import Close
from aiochat.monitoring.counts import Counts

BATCH_BYTES: Final = 160  # what a queued batch costs beside its data: measured 145, and its place in a queue
GRACEFUL: Final = frozenset((1000, 1001, 1012, 4003)) | frozenset(range(4401, 4430))


class Batch:
    """Frames for one write. In many outboxes at once its bytes exist, and count, once."""

    __slots__ = ("data", "holders", "messages", "number")

    def __init__(self, data: bytes, messages: int) -> None:
        self.data = data
        self.messages = messages
        self.holders = 0
        self.number = 0  # the order of age, once it is queued


class Transport(Protocol):
    """What an outbox needs of an `asyncio.Transport`."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Owner(Protocol):
    """Whose outbox it is: told once when it is sealed, before what is queued is thrown away."""

    def sealed(self, code: int, reason: str) -> None: ...

    def farewell(self, code: int, reason: str) -> bytes:
        """What goes out before the Close frame."""
        ...


class Backlog:
    """Everything queued in this server, and the outboxes whose sockets are paused."""

    def __init__(self, limits: Queue, time: Callable[[], float]) -> None:
        self.limits = limits
        self._time = time
        self.bytes = 0
        self._batches = 0
        self._numbers = count()
        self._paused: dict[Outbox, tuple[int, float]] = {}
        self.drops = Counts(("queue_full", "all_queues_full", "stalled"))

    def __len__(self) -> int:
        return len(self._paused)

    def add(self, batch: Batch) -> None:
        if not batch.holders:
            self.bytes += len(batch.data)
            self._batches += 1
            batch.number = next(self._numbers)
        batch.holders += 1

    def remove(self, batch: Batch) -> None:
        batch.holders -= 1
        if not batch.holders:
            self.bytes -= len(batch.data)
            self._batches -= 1

    def paused(self, outbox: "Outbox") -> None:
        self._paused[outbox] = (outbox.unsent_bytes, self._time())

    def resumed(self, outbox: "Outbox") -> None:
        self._paused.pop(outbox, None)

    def stalled_seconds(self, outbox: "Outbox") -> float:
        """How long this outbox's socket has taken nothing."""
        now = self._time()
        _, since = self._paused.get(outbox, (0, now))
        return now - since

    def check_stalls(self) -> None:
        """Drop who has taken nothing for `stall_seconds`; called about once a second."""
        now = self._time()
        for outbox, (unsent, since) in list(self._paused.items()):
            if outbox.unsent_bytes < unsent:
                self._paused[outbox] = (outbox.unsent_bytes, now)
            elif now - since >= self.limits.stall_seconds:
                self.drops.add("stalled")
                outbox.close(Close.SLOW, f"took nothing for {self.limits.stall_seconds:g} seconds")

    def check_total(self) -> None:
        """Drop who holds the oldest batches until `total_bytes` is kept; called when something was queued."""
        if not self._is_over():
            return
        for outbox in sorted((outbox for outbox in self._paused if outbox.queue), key=Outbox.age):
            self.drops.add("all_queues_full")
            outbox.close(Close.SLOW, "all outgoing queues together are full")
            if not self._is_over():
                return

    def _is_over(self) -> bool:
        return self.bytes + self._batches * BATCH_BYTES > self.limits.total_bytes


class Outbox:
    """One client's way out. `close` seals it at once, wherever the end comes from: nothing is written after a Close."""

    __slots__ = (
        "_backlog", "_owner", "_pong", "bytes_out", "is_open", "is_paused", "is_sealed", "messages_out", "queue",
        "queued_bytes", "queued_messages", "transport",
    )  # fmt: skip

    def __init__(self, transport: Transport, backlog: Backlog, owner: Owner) -> None:
        self.transport = transport
        self._backlog = backlog
        self._owner = owner
        self._pong: bytes | None = None
        self.is_paused = False
        self.is_sealed = False
        self.is_open = True  # neither of the two
        self.queue: deque[Batch] | None = None
        self.queued_messages = 0
        self.queued_bytes = 0
        self.messages_out = 0
        self.bytes_out = 0

    @property
    def unsent_bytes(self) -> int:
        """What the transport holds that the kernel has not taken."""
        return self.transport.get_write_buffer_size()

    def age(self) -> int:
        """The number of the oldest batch queued here."""
        return self.queue[0].number if self.queue else -1

    def send(self, batch: Batch) -> None:
        """Write the batch, or queue it while the socket is paused."""
        if self.is_open:
            data = batch.data
            self.transport.write(data)
            self.messages_out += batch.messages
            self.bytes_out += len(data)
        else:
            self._enqueue(batch)

    @staticmethod
    def send_each(outboxes: "Iterable[Outbox]", batch: Batch) -> None:
        """`send` for many, without a call for each: most of what Python does in a large room."""
        data, messages, size = batch.data, batch.messages, len(batch.data)
        for outbox in outboxes:
            if outbox.is_open:
                outbox.transport.write(data)
                outbox.messages_out += messages
                outbox.bytes_out += size
            else:
                outbox.send(batch)

    def pong(self, *payloads: bytes) -> None:
        """Answer pings; while the socket is paused only the newest is kept (RFC 6455 section 5.5.3)."""
        if self.is_sealed:
            return
        if self.is_paused:
            self._pong = payloads[-1]
        else:
            self.transport.write(b"".join(map(frames.pong_frame, payloads)))

    def ping(self) -> None:
        """Ask for a sign of life, unless the socket is paused: a ping would only wait behind what it has not taken."""
        if not self.is_paused and not self.is_sealed:
            self.transport.write(frames.ping_frame())

    def pause(self) -> None:
        """The transport's write buffer is full."""
        self.is_paused = True
        self.is_open = False
        if not self.is_sealed:
            self._backlog.paused(self)

    def resume(self) -> None:
        """The transport's write buffer has drained: write what waited until it is full again."""
        self.is_paused = False
        self.is_open = not self.is_sealed
        self._backlog.resumed(self)
        if self._pong is not None:
            self.transport.write(frames.pong_frame(self._pong))
            self._pong = None
        while self.queue and not self.is_paused:
            batch = self._dequeue(self.queue)
            self.messages_out += batch.messages
            self.bytes_out += len(batch.data)
            self.transport.write(batch.data)

    def close(self, code: int, reason: str) -> None:
        """Seal with a Close frame: behind what is queued after a graceful `code`, instead of it after any other."""
        if self.is_sealed:
            return
        self.seal(code, reason, keep_queue=code in GRACEFUL)
        batch = Batch(self._owner.farewell(code, reason) + frames.close_frame(code, reason), 0)
        if self.queue:
            self.queue.append(batch)
            self._account(batch, 1)
        else:
            self.transport.write(batch.data)

    def seal(self, code: int, reason: str, *, keep_queue: bool = False) -> None:
        """Take nothing more and, unless `keep_queue`, free what is queued."""
        if self.is_sealed:
            return
        self.is_sealed = True
        self.is_open = False
        self._pong = None  # behind the Close of an empty queue it would come too late
        self._owner.sealed(code, reason)
        self._backlog.resumed(self)
        if not keep_queue:
            self.clear()

    def clear(self) -> None:
        """Free what is queued."""
        while self.queue:
            self._dequeue(self.queue)

    def lost(self) -> None:
        """The connection is gone: free what is queued, and the connection without a wait for the garbage collector."""
        self.clear()
        del self._owner, self.transport

    def _enqueue(self, batch: Batch) -> None:
        if self.is_sealed:
            return
        limits = self._backlog.limits
        messages, size = self.queued_messages + batch.messages, self.queued_bytes + len(batch.data)
        if self.queue and (messages > limits.max_messages or size > limits.max_bytes):
            self._backlog.drops.add("queue_full")
            self.close(Close.SLOW, "the outgoing queue is full")
            return
        if self.queue is None:
            self.queue = deque()
        self.queue.append(batch)
        self._account(batch, 1)
        self._backlog.check_total()

    def _dequeue(self, queue: deque[Batch]) -> Batch:
        batch = queue.popleft()
        self._account(batch, -1)
        return batch

    def _account(self, batch: Batch, sign: int) -> None:
        self.queued_messages += sign * batch.messages
        self.queued_bytes += sign * len(batch.data)
        if sign > 0:
            self._backlog.add(batch)
        else:
            self._backlog.remove(batch)
