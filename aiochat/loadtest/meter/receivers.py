"""One receiver: every byte it gets is compared with its room's stream, which is one call for each read.

Only where something differs are its frames walked, fragments of a message as one, and only where those differ its
messages, against what is known of their places, and if that differs too, against an order of its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Final

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.latencies import Latencies, now_us
from aiochat.loadtest.meter.order import Order
from aiochat.loadtest.meter.speech import Speech
from aiochat.loadtest.meter.stream import FOREIGN, NOWHERE, SEQUENCE, Chat, Stream

BUFFER_BYTES: Final = 256 * 1024
LARGEST_FRAME_BYTES: Final = 64 << 20  # or message in fragments
REJOIN_MESSAGES: Final = 4096  # after so many, who is checked alone sees whether it could be compared again


class Reading:
    """The buffer of all receivers of a process: a read is dealt with before the next begins."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)

    def grow(self) -> None:
        """A frame does not fit in."""
        self.buffer = bytearray(2 * len(self.buffer))
        self.view = memoryview(self.buffer)


class Receiver(asyncio.BufferedProtocol):
    """`position` is where in the bytes of its stream it is, or NOWHERE while it is not compared with it; then `place`
    is that of the message it waits for. `own` is its order, if it is checked alone.
    """

    def __init__(self, number: int, stream: Stream, reading: Reading, latencies: Latencies | None = None) -> None:
        self.number = number
        self.stream = stream
        self.reading = reading
        self.latencies = latencies  # if it is one of the sample
        self.is_timed: Callable[[int], bool] | None = None  # whose messages are, if not everybody's
        self.is_watched = latencies is not None  # something is to be done after a read
        self.speech: Speech
        self.position = NOWHERE
        self.place = 0
        self.since = 0  # the place where it came in
        self.own: Order | None = None
        self.tail = b""  # of the last read: the beginning of a frame, behind the fragments of a message
        self._seen = 0  # messages that are not those from `since` to here
        self._timed = 0
        self._alone = 0

    # In and out of the room.

    def enter(self, place: int) -> None:
        """It is to get the message at `place`, and all that follow."""
        self.stream.begin(place)
        self.stream.members.add(self)
        self.own = None
        self.place = self.since = place
        self.attach()

    def depart(self) -> None:
        """It gets nothing more, and is judged by what it got."""
        self.detach()
        if self.own is None:
            self._seen += self.place - self.since
            self.since = self.place
        self.stream.members.discard(self)

    def skip(self, place: int) -> None:
        """It was told that it cannot have what is before this place."""
        self.detach()
        missed = place - self.place
        if missed > 0 and self.own is not None:
            self.own.unseen += missed
            self.place = place
        elif missed > 0:
            self._seen += self.place - self.since
            self.place = self.since = place
        self.attach()

    @property
    def delivered(self) -> int:
        return self._seen if self.own is not None else self._seen + self.here() - self.since

    def here(self) -> int:
        return self.place if self.position == NOWHERE else self.stream.place_at(self.position)

    # What a subclass makes of it.

    def control(self, first_byte: int, payload: bytes) -> None:
        """A Close, a ping or a pong."""

    def told(self, payload: bytes) -> None:
        """A message that has something else in it than chat alone."""

    def echoed(self, sender: int) -> None:
        """A message of this sender came by itself."""

    def too_large(self) -> None:
        """A message has no end within LARGEST_FRAME_BYTES."""

    def has_read(self) -> None:
        """The end of a read, if it is watched."""

    # Bytes.

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self.tail:
            return self.reading.view
        kept = len(self.tail)
        if 2 * kept > len(self.reading.buffer):
            self.reading.grow()
        self.reading.buffer[:kept] = self.tail
        return self.reading.view[kept:]

    def buffer_updated(self, nbytes: int) -> None:
        end = len(self.tail) + nbytes
        stream = self.stream
        if stream.data.startswith(self.reading.view[:end], self.position - stream.start):
            self.position += end
            if self.tail:
                self.tail = b""
        else:
            self.tail = self._differs(end)
            if len(self.tail) > LARGEST_FRAME_BYTES:
                self.too_large()
        if self.is_watched:
            if self.latencies is not None and self.position != NOWHERE:
                self._time()
            self.has_read()

    def feed(self, frame: bytes) -> None:
        """Frames that came otherwise than by a read."""
        buffer = self.get_buffer(-1)
        while len(buffer) < len(frame):
            self.reading.grow()
            buffer = self.get_buffer(-1)
        buffer[: len(frame)] = frame
        self.buffer_updated(len(frame))

    def _differs(self, end: int) -> bytes:
        """There is something new in what was read. Returns the beginning of a message that is left."""
        stream, view, done = self.stream, self.reading.view, 0
        if self.position != NOWHERE:
            at = self.position - stream.start
            known = len(stream.data) - at
            if 0 < known < end and stream.data.startswith(view[:known], at):
                self.position += known
                done = known
            elif (border := stream.frame_start(self.position)) < self.position:
                data = bytes(stream.data[border - stream.start : at]) + view[:end]
                self.position = border
                return self._walk(data, len(data), 0)
        return self._walk(self.reading.buffer, end, done)

    def _walk(self, data: bytes | bytearray, end: int, done: int) -> bytes:
        """Frame by frame; what is left. What is new to the stream goes there in one piece."""
        fresh, fragments = Fresh(), lines.Fragments()
        for first_byte, start, stop in lines.frames(data, end, done):
            raw = bytes(data[done:stop])
            payload = raw[start - done :]
            done = stop
            if lines.is_control(first_byte):
                self._lead(fresh)
                self.control(first_byte, payload)
            elif not lines.is_fragment(first_byte):
                self._message(fresh, raw, payload)
            elif fragments.add(first_byte, raw, payload):
                self._message(fresh, *fragments.take())
        self._lead(fresh)
        with memoryview(data) as view:
            return b"".join((*fragments.frames, view[done:end]))

    def _message(self, fresh: "Fresh", raw: bytes, payload: bytes) -> None:
        stream = self.stream
        if self.position != NOWHERE and stream.data.startswith(raw, self.position - stream.start):
            self.position += len(raw)
        elif (chat := self.speech.chat(payload)) is None:
            self._lead(fresh)
            self.told(payload)
        elif self.own is None and self.here() == stream.end and fresh.is_next(chat, stream.end):
            fresh.add(raw, chat)
        else:
            self._lead(fresh)
            self.take(chat)

    def _lead(self, fresh: "Fresh") -> None:
        if fresh.sizes:
            raw = b"".join(fresh.raws)
            was_compared = self.position != NOWHERE
            self.position = NOWHERE - 1  # at the end, wherever that will be: the stream does not forget it
            self.position = self.stream.append(raw, fresh.sizes, Chat(fresh.keys, fresh.dues_us))
            if not was_compared:
                self.compares_from(self.position - len(raw), self.place)
            fresh.clear()

    # Messages.

    def take(self, chat: Chat, *, is_late: bool = False) -> None:
        """One by one. What is late was missed by its own fault: that is no latency."""
        self.detach()
        places: Iterable[int | None] = chat.places
        if not chat.places:
            places = repeat(None) if chat.first is None else range(chat.first, chat.first + len(chat.keys))
        now = now_us() if self.latencies is not None else 0
        for key, due_us, place in zip(chat.keys, chat.dues_us, places, strict=False):
            self._take_one(key, due_us, place)
            self.echoed(key >> 32)
            counts = key != FOREIGN and not is_late and (self.is_timed is None or self.is_timed(key >> 32))
            if self.latencies is not None and counts:
                self.latencies.record(due_us, now)
        self.attach()

    def _take_one(self, key: int, due_us: int, given: int | None) -> None:
        place = self.place if given is None else given
        is_next = self.own is None and place == self.place
        is_other = (is_next or given is not None) and self.stream.put(place, key, due_us) != key
        if is_next and not is_other:
            self.place += 1
            return
        self.diverge()
        if self.own is not None and key != FOREIGN:
            is_elsewhere = is_other and given is not None and not self.own.from_now  # others have it at another place
            self.own.take(key >> 32, key & SEQUENCE, place, is_late=place < self.place or is_elsewhere)
        self._seen += 1
        self._alone += 1
        self.place = max(self.place, place + 1)

    def diverge(self) -> None:
        self.detach()
        if self.own is None:
            self._seen += self.place - self.since
            self.own = self.stream.order_at(self.place)

    def detach(self) -> None:
        if self.position != NOWHERE:
            if self.latencies is not None:
                self._time()
            self.place = self.stream.place_at(self.position)
            self.position = NOWHERE

    def attach(self) -> None:
        if self._alone >= REJOIN_MESSAGES:
            self._rejoin()
        if self.own is None:
            self.position = self.stream.position_of(self.place)
            self.compares_from(self.position, self.place)

    def compares_from(self, position: int, place: int) -> None:
        self._timed = place

    def _rejoin(self) -> None:
        """If what it got and what the stream has are the same again."""
        self._alone = 0
        known = self.stream.order_at(self.place)
        if self.own is not None and self.own.faultless and known.faultless and self.own.expected == known.expected:
            self.own = None
            self.since = self.place

    def _time(self) -> None:
        place = self.stream.place_at(self.position)
        if self.latencies is not None and place > self._timed:
            self.latencies.record_all(self.stream.since(self._timed, place, self.is_timed))
        self._timed = place


class Fresh:
    """Frames that the stream does not have yet."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.raws: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.keys: list[int] = []
        self.dues_us: list[int] = []

    def is_next(self, chat: Chat, end: int) -> bool:
        """Whether its messages follow on those of the stream, which ends here, and on these."""
        return not chat.places and chat.first in (None, end + len(self.keys))

    def add(self, raw: bytes, chat: Chat) -> None:
        self.raws.append(raw)
        self.sizes.append((len(raw), len(chat.keys)))
        self.keys += chat.keys
        self.dues_us += chat.dues_us
