"""One sender: numbers, stamps and writes messages, and knows which of them were acknowledged.

A message that is due while its client is away is sent when it is back, and carries the time it was due.
"""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from aiochat.loadtest.meter.latencies import now_us
from aiochat.loadtest.meter.lines import LineFrames, key

_Due = tuple[int, int]  # how many, and when


class Way(Protocol):
    """The client that it sends through."""

    is_up: bool

    def write(self, data: bytes) -> None: ...


class Sender:
    """In a closed loop, each echo of its own is followed by a new message, so that `window` are in flight."""

    def __init__(self, number: int, frames: LineFrames, way: Way) -> None:
        self.number = number
        self.key = key(number)
        self.sent = 0
        self.window = 0  # 0 while there is no closed loop
        self.is_gone = False
        self.has_acks = False  # the server acknowledges
        self.unacknowledged: dict[int, int] = {}  # sequence number -> when it was due
        self._frames = frames
        self._way = way
        self._in_flight = 0
        self._waiting: deque[_Due] = deque()

    @property
    def is_behind(self) -> bool:
        return bool(self._waiting)

    def send(self, count: int, due_us: int) -> None:
        if self.is_gone:
            return
        if not self._way.is_up:
            self._waiting.append((count, due_us))
            return
        first, self.sent = self.sent, self.sent + count
        self._in_flight += count
        sequences = range(first, self.sent)
        if self.has_acks:
            self.unacknowledged.update(dict.fromkeys(sequences, due_us))
        frame, number = self._frames.frame, self.number
        self._way.write(b"".join([frame(number, sequence, due_us) for sequence in sequences]))

    def loop(self, window: int) -> None:
        """Begins a closed loop; with 0 it ends."""
        self.window = window
        self.echoed(0)

    def echoed(self, count: int) -> None:
        self._in_flight = max(0, self._in_flight - count)
        if self.window > self._in_flight and self._way.is_up:
            self.send(self.window - self._in_flight, now_us())

    def acknowledged(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            self.unacknowledged.pop(sequence, None)

    def is_back(self, *, publish_again: bool) -> None:
        """What may have got lost with its connection goes first, under the same keys; then what was due meanwhile."""
        if publish_again and self.unacknowledged:
            frame, number = self._frames.frame, self.number
            self._way.write(b"".join([frame(number, *each) for each in sorted(self.unacknowledged.items())]))
        self._in_flight = min(self._in_flight, len(self.unacknowledged)) if self.has_acks else 0
        while self._waiting and self._way.is_up:
            self.send(*self._waiting.popleft())
        self.echoed(0)

    def goes(self) -> None:
        """Its client does not come back."""
        self.is_gone = True
        self._waiting.clear()

    @property
    def certain(self) -> int:
        """How many messages of a sender whose connection was lost did arrive for sure."""
        return min(self.unacknowledged, default=self.sent) if self.has_acks else 0
