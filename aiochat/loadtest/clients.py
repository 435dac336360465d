"""The clients: most only count what arrives, a sample checks every message, slow ones never read.

All shake hands through picows. The checking ones stay with it; the others get a protocol that looks at a whole read at
once, because one Python call for each of 20 million messages a second would make the meter the limit.
"""

import asyncio
import time
from typing import Final

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from aiochat.loadtest import lines
from aiochat.loadtest.histogram import Histogram
from aiochat.loadtest.order import Order

ABNORMAL: Final = 1006  # no Close frame came (RFC 6455, 7.1.5)
NO_CODE: Final = 1005
TOO_BIG: Final = 1009
NORMAL: Final = (1000).to_bytes(2, "big")
_MARKER: Final = lines.MARKER[0]
_COMPLAINTS: Final = (b"! ", b'{"type":"error"')
_ACK: Final = b'{"type":"ack"'


def now_us() -> int:
    return time.monotonic_ns() // 1000


def _close_code(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big") or NO_CODE


class Complaints:
    """Lines beginning with `! `, and `error` events: the server refused something."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def take(self, line: bytes) -> None:
        if line.startswith(_COMPLAINTS):
            self.first = self.first or line.decode(errors="replace")
            self.count += 1


class Sender:
    """Numbers, stamps and writes messages; in a closed loop each echo of its own is followed by a new one."""

    def __init__(self, number: int, frames: lines.LineFrames) -> None:
        self.number = number
        self.key = lines.key(number)
        self.sent = 0
        self.acknowledged = 0
        self.refilling = False
        self.transport: asyncio.Transport
        self._frames = frames

    def send(self, count: int, sent_us: int) -> None:
        if not self.transport.is_closing():
            first, self.sent = self.sent, self.sent + count
            frame, number = self._frames.frame, self.number
            self.transport.write(b"".join([frame(number, sequence, sent_us) for sequence in range(first, self.sent)]))

    def echoed(self, count: int) -> None:
        if self.refilling and count:
            self.send(count, now_us())

    def answered(self, payload: bytes) -> None:
        """What came has no message in it: there may be acks."""
        self.acknowledged += payload.count(_ACK)


class Client:
    """One connection: what it has received, and how it ended."""

    def __init__(self, room: int, sender: Sender | None = None) -> None:
        self.room = room
        self.sender = sender
        self.delivered = 0
        self.close_code: int | None = None
        self.leaving = False
        self.transport: asyncio.Transport

    def attach(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        if self.sender is not None:
            self.sender.transport = transport

    def ended(self, code: int) -> None:
        """The first one counts: a Close frame comes before the end of its connection."""
        if self.close_code is None and not self.leaving:
            self.close_code = code

    def leave(self) -> None:
        self.leaving = True
        if not self.transport.is_closing():
            self.transport.write(lines.client_frame(lines.CLOSE, NORMAL))
            self.transport.close()


class CountingClient(Client, asyncio.BufferedProtocol):
    """Counts markers. All lines are equally long, so in what is read they stand at equal distances: one strided slice
    finds a marker at each, or else something different came too, and the frames are walked one by one."""

    def __init__(
        self, room: int, sender: Sender | None, shape: lines.LineFrames, buffer: bytearray, complaints: Complaints
    ) -> None:
        super().__init__(room, sender)
        self.buffer = buffer  # one for all clients of the process: a read is dealt with before the next begins
        self.view = memoryview(buffer)
        self.tail = b""  # of the last read: the beginning of a frame
        self.head = lines.frame_head(lines.TEXT, shape.payload_bytes)
        self.marker_at = len(self.head) + shape.marker_at
        self.stride = len(self.head) + shape.payload_bytes
        self.echoes = 0  # of its own, in what was read and is walked through
        self.complaints = complaints

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self.tail:
            return self.view
        kept = len(self.tail)
        self.buffer[:kept] = self.tail
        return self.view[kept:]

    def buffer_updated(self, nbytes: int) -> None:
        end = len(self.tail) + nbytes
        buffer, stride = self.buffer, self.stride
        count = end // stride
        whole = count * stride
        if (
            buffer[self.marker_at : whole : stride].count(_MARKER) == count
            and (not count or buffer.startswith(self.head, whole - stride))
            and (whole == end or self.head.startswith(buffer[whole : min(end, whole + self.marker_at)]))
        ):
            self.delivered += count
            if self.sender is not None:
                self.sender.echoed(buffer.count(self.sender.key, 0, whole))
        else:
            whole = self._walk(end)
        self.tail = b"" if whole == end else bytes(self.view[whole:end])
        if len(self.tail) == len(buffer):
            self.ended(TOO_BIG)
            self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended(ABNORMAL)

    def _walk(self, end: int) -> int:
        """Where the last whole frame ends."""
        done = 0
        for first_byte, start, done in lines.frames(self.buffer, end):
            self.take(first_byte, bytes(self.view[start:done]))
        if self.sender is not None:
            self.sender.echoed(self.echoes)
            self.echoes = 0
        return done

    def take(self, first_byte: int, payload: bytes) -> None:
        """One frame, whatever it is."""
        if first_byte == lines.PING:
            self.transport.write(lines.client_frame(lines.PONG, payload))
        elif first_byte == lines.CLOSE:
            self.ended(_close_code(payload))
            self.leave()
        elif not lines.is_control(first_byte):
            self._text(payload)

    def _text(self, payload: bytes) -> None:
        count = payload.count(_MARKER)
        self.delivered += count
        if not count:
            for line in payload.split(b"\n"):
                self.complaints.take(line)
        if self.sender is not None:
            self.echoes += payload.count(self.sender.key)
            self.sender.answered(payload)


class CheckingClient(Client, WSListener):
    """Looks at every message: its number for loss, doubles and order, its time of sending for the latency."""

    def __init__(
        self, room: int, sender: Sender | None, size: int, latencies: Histogram, complaints: Complaints
    ) -> None:
        super().__init__(room, sender)
        self.size = size
        self.order = Order()
        self.latencies = latencies
        self.measure_from_us = 0
        self.complaints = complaints

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.attach(transport.underlying_transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if len(payload) == self.size and payload[0] == _MARKER:
            self._check(payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            self.ended(_close_code(payload))
            self.leave()
        else:
            for line in payload.split(b"\n"):
                self._unusual(line)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ended(ABNORMAL)

    def pause_writing(self) -> None:
        """Nothing to do: a window or a rate bounds what is written."""

    def resume_writing(self) -> None:
        """Without these two picows logs a warning each time."""

    def _check(self, line: bytes) -> None:
        try:
            sender, sequence, sent_us = lines.fields(line)
        except lines.NOT_OURS:
            return
        self.delivered += 1
        self.order.take(sender, sequence)
        if sent_us >= self.measure_from_us:
            self.latencies.record(now_us() - sent_us)
        if self.sender is not None and sender == self.sender.number:
            self.sender.echoed(1)

    def _unusual(self, line: bytes) -> None:
        """From servers that join lines into one message or put a name before them; or a line that is not ours."""
        at = line.find(lines.MARKER)
        if at < 0:
            self.complaints.take(line)
            if self.sender is not None:
                self.sender.answered(line)
        else:
            self._check(line[at:])


class SlowClient(Client, asyncio.Protocol):
    """Never reads. It says so now and then with a pong nobody asked for (RFC 6455, 5.5.3): a server that has
    dropped it answers with a reset, and without one a socket that is not read would never tell."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.dropped_at = 0.0

    def attach(self, transport: asyncio.Transport) -> None:
        super().attach(transport)
        transport.pause_reading()

    def probe(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(lines.client_frame(lines.PONG, b""))

    def connection_lost(self, exc: Exception | None) -> None:
        self.dropped_at = time.monotonic()
        self.ended(ABNORMAL)


class Entrance(WSListener):
    """Gives the connection to its client as soon as picows has shaken hands, with any frames that came along."""

    def __init__(self, client: CountingClient | SlowClient) -> None:
        self.client = client

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.set_protocol(self.client)
        self.client.attach(transport.underlying_transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if isinstance(self.client, CountingClient):
            self.client.take(0x80 | frame.msg_type.value, frame.get_payload_as_bytes())
