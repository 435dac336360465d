"""The clients: one connection each, which comes in through picows' handshake, receives, sends, breaks and ends.

picows shakes hands; then the transport gets a protocol of ours that looks at a whole read at once, because one Python
call for each of 20 million messages a second would make the meter the limit.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, cast

import msgspec
from picows import WSFrame, WSListener, WSTransport, WSUpgradeRequest, WSUpgradeResponse

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.dialects import PLAIN, Complaints, Dialect, dialect
from aiochat.loadtest.meter.latencies import Latencies
from aiochat.loadtest.meter.receivers import Reading, Receiver
from aiochat.loadtest.meter.senders import Sender
from aiochat.loadtest.meter.stream import Stream

ABNORMAL: Final = 1006  # no Close frame came (RFC 6455, 7.1.5)
NO_CODE: Final = 1005
TOO_BIG: Final = 1009
NORMAL: Final = (1000).to_bytes(2, "big")
ENTRANCE_BYTES: Final = 64 << 10  # for what comes with the handshake, until the client reads by itself
_FREE_BYTES: Final = ENTRANCE_BYTES - 256  # which picows keeps free behind them
_RESET: Final = struct.pack("ii", 1, 0)  # linger for 0 seconds: a reset instead of an orderly end


def _close_code(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big") or NO_CODE


class Common(msgspec.Struct, frozen=True):
    """What all clients of a process share."""

    codec: str
    reading: Reading
    complaints: Complaints
    lost: Callable[["Client"], None]  # its connection has ended, on purpose or not
    departs: Callable[["Client"], None]  # it has left its room: what it got is to be judged


class Connection:
    """How a connection of a client ended."""

    transport: asyncio.Transport | None = None
    close_code: int | None = None  # of one that should not have ended
    is_leaving = False

    def ended(self, code: int) -> None:
        """The first one counts: a Close frame comes before the end of its connection."""
        if self.close_code is None and not self.is_leaving:
            self.close_code = code

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def leave(self) -> None:
        self.is_leaving = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(lines.client_frame(lines.CLOSE, NORMAL))
            self.transport.close()


class Client(Connection, Receiver):
    """`arrival` is done when it is in its room; `is_up` while it is: then it may send."""

    def __init__(
        self, number: int, room: str, stream: Stream, common: Common, *, name: str = "", latencies: Latencies | None
    ) -> None:
        Receiver.__init__(self, number, stream, common.reading, latencies)
        self.room = room
        self.name = name
        self.complaints = common.complaints
        self.sender: Sender | None = None
        self.dialect: Dialect
        self.arrival: asyncio.Future[None] | None = None
        self.arrived_at = 0.0
        self.is_up = False
        self.is_moving = False
        self.is_cut = False  # from the break until its end has come
        self.is_resuming = False
        self._was_cut = False
        self.token = self.epoch = ""
        self.gaps = 0
        self._common = common
        self._echoes = 0
        self._echoes_from = 0

    def speaks(self, sender: Sender) -> None:
        self.sender = sender
        self.is_watched = True

    # The connection.

    def opened(self, transport: asyncio.Transport, subprotocol: str | None) -> None:
        self.transport = transport
        self.dialect = dialect(self._common.codec, subprotocol)
        self.speech = self.dialect.speech
        if self.sender is not None:
            self.sender.has_acks = self.dialect.has_acks
        self.dialect.opened(self)

    def say(self, command: dict[str, object]) -> None:
        self.write(lines.client_frame(lines.TEXT, msgspec.json.encode(command)))

    def cut(self, *, reset: bool) -> None:
        """Breaks the connection without a Close, to come back and resume."""
        if self.transport is None:
            return
        self.is_cut = self.is_resuming = self._was_cut = True
        self.is_up = self.is_moving = False
        self.detach()
        self.tail = b""
        if reset and (sock := self.transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.is_up = False
        if not self.is_cut:
            self.ended(ABNORMAL)
        self._common.lost(self)
        self.is_cut = False
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_exception(ConnectionResetError("the server ended the connection"))

    # The room.

    def comes_in(self, place: int) -> None:
        """It is a member now, and gets what is said from this place on."""
        if self.transport is None:
            return
        self.enter(place)
        self._is_here()

    def is_back(self) -> None:
        """It has caught up."""
        self._is_here()

    def _is_here(self) -> None:
        self.is_up, self.is_moving = True, False
        self.arrived_at = time.monotonic()
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)
        if self.sender is not None:
            self.sender.is_back(publish_again=self._was_cut)
        self._was_cut = False

    def depart(self) -> None:
        self._common.departs(self)
        super().depart()

    def move(self) -> None:
        """Leaves its room and joins it again."""
        if self.is_up:
            self.is_up, self.is_moving = False, True
            self.say({"type": "leave", "room": self.room})

    # What comes.

    def control(self, first_byte: int, payload: bytes) -> None:
        if first_byte == lines.PING:
            self.write(lines.client_frame(lines.PONG, payload))
        elif first_byte == lines.CLOSE:
            self.ended(_close_code(payload))
            self.leave()

    def too_large(self) -> None:
        self.ended(TOO_BIG)
        self.tail = b""
        self.leave()

    def told(self, payload: bytes) -> None:
        self.dialect.told(self, payload)

    def echoed(self, sender: int) -> None:
        if self.sender is not None and sender == self.sender.number:
            self._echoes += 1

    def has_read(self) -> None:
        if self.sender is not None and self.sender.window:
            self._count_echoes()
            if self._echoes:
                echoes, self._echoes = self._echoes, 0
                self.sender.echoed(echoes)

    def detach(self) -> None:
        self._count_echoes()
        super().detach()

    def compares_from(self, position: int, place: int) -> None:
        super().compares_from(position, place)
        self._echoes_from = position

    def _count_echoes(self) -> None:
        """Of those that came with the stream; one may have come in two reads."""
        if self.sender is None or self.position <= self._echoes_from:
            return
        stream = self.stream
        first, stop = max(self._echoes_from, stream.start), self.position
        self._echoes += stream.data.count(self.sender.key, first - stream.start, stop - stream.start)
        self._echoes_from = max(first, stop - len(self.sender.key) + 1)


class SlowClient(Connection, asyncio.Protocol):
    """Never reads. It says so now and then with a pong nobody asked for (RFC 6455, 5.5.3): a server that has
    dropped it answers with a reset, and without one a socket that is not read would never tell.
    """

    def __init__(self, number: int, room: str) -> None:
        self.number = number
        self.room = room
        self.name = ""
        self.dropped_at = 0.0

    def opened(self, transport: asyncio.Transport, subprotocol: str | None) -> None:
        self.transport = transport
        transport.pause_reading()

    def probe(self) -> None:
        self.write(lines.client_frame(lines.PONG, b""))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.is_leaving:
            self.dropped_at = time.monotonic()
        self.ended(ABNORMAL)


def _is_empty(transport: asyncio.Transport) -> bool:
    """Whether picows holds no half frame; a picows with another buffer is never said to be empty."""
    picows = cast(asyncio.BufferedProtocol, transport.get_protocol())
    return memoryview(picows.get_buffer(-1)).nbytes == _FREE_BYTES


class Entrance(WSListener):
    """Gives the connection to its client, once picows holds nothing that came with the handshake.

    Where the server says nothing by itself that is at once, if it can be: a busy room may never leave it without half
    a frame.
    """

    def __init__(self, client: Client | SlowClient, response: WSUpgradeResponse) -> None:
        self.client = client
        self.subprotocol = response.headers.get("Sec-WebSocket-Protocol")

    def on_ws_connected(self, transport: WSTransport) -> None:
        connection = transport.underlying_transport
        self.client.opened(connection, self.subprotocol)
        if isinstance(self.client, SlowClient) or (self.client.dialect is PLAIN and _is_empty(connection)):
            connection.set_protocol(self.client)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if isinstance(self.client, SlowClient):
            return
        payload = frame.get_payload_as_bytes()
        first_byte = frame.msg_type.value | (0x80 if frame.fin else 0)
        if not frame.tail_size:
            transport.underlying_transport.set_protocol(self.client)
        self.client.feed(lines.frame_head(first_byte, len(payload)) + payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.client.connection_lost(None)

    def pause_writing(self) -> None:
        """Nothing to do: a window or a rate bounds what is written."""

    def resume_writing(self) -> None:
        """Without these two picows logs a warning each time."""


def entrance(client: Client | SlowClient) -> Callable[[WSUpgradeRequest, WSUpgradeResponse], Entrance]:
    """What picows asks for the listener of a connection."""
    return lambda request, response: Entrance(client, response)
