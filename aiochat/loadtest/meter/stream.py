"""What one room said to the clients of one process: read and checked once, as the first of them gets it.

All others compare bytes with it. Each message has a place: the room's offset, or where servers give none, a count. A
position is one in the bytes of the frames. Both are counted from the beginning, although only a window is kept.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from aiochat.loadtest.meter.order import Order

NOWHERE: Final = 1 << 62  # a position behind all that will ever be said
UNKNOWN: Final = (1 << 64) - 1  # the key of a message that nobody here has got yet
FOREIGN: Final = UNKNOWN - 1  # the key of what somebody else said
SEQUENCE: Final = (1 << 32) - 1  # the bits of a key; above them is the sender
WINDOW_BYTES: Final = 4 << 20  # of a room; who falls further behind is checked alone
TOTAL_BYTES: Final = 128 << 20  # of all rooms of a process
LEAST_WINDOW_BYTES: Final = 64 << 10
LARGEST_HOLE: Final = 100_000  # messages; a server may say any offset
_CHECKPOINTS: Final = 4  # in a window
_WALL: Final = b"\x7f"  # no frame begins so (RFC 6455, 5.2: RSV bits and a reserved opcode)


class Chat(NamedTuple):
    """The chat messages of one or several frames. Their places follow each other from `first` on, if it is there."""

    keys: list[int]
    dues_us: list[int]
    first: int | None = None
    places: Sequence[int] = ()  # where they do not follow each other


class Receiver(Protocol):
    """Who is compared with a stream."""

    def here(self) -> int:
        """The place of the next message it waits for."""
        ...

    def diverge(self) -> None:
        """From now on it is checked by itself."""
        ...


class Checkpoint(NamedTuple):
    """How things stood before the message at `place`."""

    place: int
    position: int
    order: Order


def window_bytes(rooms: int, message_bytes: int) -> int:
    return max(LEAST_WINDOW_BYTES, 16 * message_bytes, min(WINDOW_BYTES, TOTAL_BYTES // rooms))


class Stream:
    """`data` holds whole frames. The frame i ends at `_ends[i]`, and `_places[i]` is the place that comes after it."""

    def __init__(self, window: int = WINDOW_BYTES) -> None:
        self.window = window
        self.data = bytearray()
        self.start = 0  # the position of what `data` begins with
        self.members: set[Receiver] = set()
        self.order = Order()
        self.batches: dict[int, int] = {}
        self.frames = 0
        self.messages = 0
        self._begin_at(0)

    def _begin_at(self, place: int) -> None:
        self.base = self.checked = place
        self.keys = array("Q")
        self.dues_us = array("q")
        self._ends = array("q", [self.start + len(self.data)])
        self._places = array("q", [place])
        self._checkpoints = [Checkpoint(place, self._ends[0], self.order.copy())]

    def begin(self, place: int) -> None:
        """A member waits for the message at `place`."""
        if not self.keys and (not self.members or place < self.base):
            self._begin_at(place)

    @property
    def end(self) -> int:
        """The place of the next message that nobody has."""
        return self.base + len(self.keys)

    def place_at(self, position: int) -> int:
        return self._places[bisect_right(self._ends, position) - 1]

    def position_of(self, place: int) -> int:
        """NOWHERE if no frame that is kept ends before this place."""
        frame = bisect_right(self._places, place) - 1
        return self._ends[frame] if frame >= 0 and self._places[frame] == place else NOWHERE

    def frame_start(self, position: int) -> int:
        """Where the frame began that this position is in; itself, between frames."""
        return self._ends[bisect_right(self._ends, position) - 1]

    def append(self, raw: bytes, sizes: Sequence[tuple[int, int]], chat: Chat) -> int:
        """New frames, whose messages have the next places; `sizes` has the bytes and the messages of each.

        Returns the position behind them.
        """
        self._wall()
        end, place = self._ends[-1], self.end
        self.data += raw
        for size, messages in sizes:
            end += size
            place += messages
            self._ends.append(end)
            self._places.append(place)
            self._count(messages)
        self.keys.extend(chat.keys)
        self.dues_us.extend(chat.dues_us)
        self._check()
        self._bound()
        return end

    def put(self, place: int, key: int, due_us: int) -> int:
        """One message by itself, if it is new; the key of what is at its place."""
        at = place - self.base
        hole = at - len(self.keys)
        if at < 0 or hole > LARGEST_HOLE:
            return key
        if hole >= 0:
            self.keys.extend([UNKNOWN] * hole + [key])
            self.dues_us.extend([0] * hole + [due_us])
        elif self.keys[at] == UNKNOWN:
            self.keys[at] = key
            self.dues_us[at] = due_us
        else:
            return self.keys[at]
        self._check()
        self._bound()
        return key

    def since(self, place: int, before: int, is_asked: Callable[[int], bool] | None = None) -> Sequence[int]:
        """When the messages from `place` to `before` were due; with `is_asked` those of certain senders."""
        span = slice(max(0, place - self.base), before - self.base)
        if is_asked is None:
            return self.dues_us[span]
        both = zip(self.keys[span], self.dues_us[span], strict=True)
        return [due_us for key, due_us in both if is_asked(key >> 32)]

    def order_at(self, place: int) -> Order:
        """Of all messages before this place."""
        checkpoint = max(
            (each for each in self._checkpoints if each.place <= place),
            key=lambda each: each.place,
            default=None,
        )
        if checkpoint is None:
            return Order(from_now=True)
        order = checkpoint.order.copy()
        self._take(order, checkpoint.place, min(place, self.end))
        order.unseen += max(0, place - self.end)
        return order

    def finish(self) -> None:
        """Nobody here will get what is still unknown: its members were not there."""
        self._take(self.order, self.checked, self.end)
        self.checked = self.end

    def _wall(self) -> None:
        """Between frames where messages that came otherwise have their places: who got only the frames differs."""
        if self._places[-1] != self.end:
            self.data += _WALL
            self._ends.append(self._ends[-1] + 1)
            self._places.append(self.end)

    def _check(self) -> None:
        """Up to the first that is unknown."""
        at, end = self.checked - self.base, self.end
        if at == len(self.keys) or self.keys[at] == UNKNOWN:
            return
        if UNKNOWN in self.keys[at:]:
            end = self.keys.index(UNKNOWN, at) + self.base
        self._take(self.order, self.checked, end)
        self.checked = end

    def _take(self, order: Order, first: int, end: int) -> None:
        expected = order.expected
        for place, key in enumerate(self.keys[first - self.base : end - self.base], first):
            sender, sequence = key >> 32, key & SEQUENCE
            if expected.get(sender) == sequence:
                expected[sender] = sequence + 1
            elif key == UNKNOWN:
                order.unseen += 1
            elif key != FOREIGN:
                order.take(sender, sequence, place)

    def _count(self, messages: int) -> None:
        self.frames += 1
        self.messages += messages
        size = 1 << (messages - 1).bit_length()
        self.batches[size] = self.batches.get(size, 0) + 1

    def _bound(self) -> None:
        """Keeps a window. The first half of it goes when it is full."""
        used = len(self.data) + 16 * len(self.keys)
        newest = self._checkpoints[-1]
        since = self._ends[-1] - newest.position + 16 * (self.end - newest.place)
        if since < self.window // _CHECKPOINTS:
            return
        if used > self.window:
            self.finish()
        if self.checked == self.end:
            self._wall()
            self._checkpoints.append(Checkpoint(self.end, self._ends[-1], self.order.copy()))
        if used > self.window:
            self._forget(self._checkpoints[len(self._checkpoints) // 2])

    def _forget(self, checkpoint: Checkpoint) -> None:
        """What came before; who still waits for it goes on alone."""
        for member in [*self.members]:
            if member.here() < checkpoint.place:
                member.diverge()
        self._checkpoints = [each for each in self._checkpoints if each.place >= checkpoint.place]
        frame = bisect_left(self._ends, checkpoint.position)
        del self._ends[:frame], self._places[:frame]
        del self.keys[: checkpoint.place - self.base], self.dues_us[: checkpoint.place - self.base]
        del self.data[: checkpoint.position - self.start]
        self.base, self.start = checkpoint.place, checkpoint.position


def key_of(sender: int, sequence: int) -> int:
    return sender << 32 | sequence
