"""One upgraded socket: bytes in, batches out, close. It begins with the take-over (aiochat.takeover)."""

import asyncio
import random
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp.http import WebSocketError, WebSocketReader

from aiochat.auth.identity import Identity
from aiochat.client import Client, random_id
from aiochat.codecs import Codec
from aiochat.errors import Close, Disconnect, Reply
from aiochat.frames import may_be_received
from aiochat.limits.budgets import Budget, Joint
from aiochat.messages import Goodbye
from aiochat.outbox import Outbox

if TYPE_CHECKING:
    from aiochat.connections import Connections

_SLICE_BYTES: Final = 4096  # fed to the reader at once: 64 KiB of tiny frames in one go held everybody up for 266 ms
_FRAME_BYTES: Final = 64  # what a message or a ping costs beside its bytes: six bytes of it take 1.5 us to answer
_MIN_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 5.0
_MASK_BIT: Final = 0x80

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Connection(asyncio.Protocol):
    """The protocol of one upgraded socket, from the take-over until it is lost."""

    __slots__ = (
        "_budget", "_frames_paid", "_has_closed", "_is_deaf", "_is_held", "_is_throttled", "_reader", "_rest",
        "_shared", "_transport", "beat", "bytes_in", "client", "close_code", "close_reason", "controls_in", "heard",
        "next_ping", "outbox", "unanswered_pings",
    )  # fmt: skip

    def __init__(
        self, shared: "Connections", transport: asyncio.Transport, address: str, codec: Codec, identity: Identity
    ) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = transport
        self._reader: WebSocketReader | None = None  # made at the first byte
        self._rest: memoryview | None = None  # read, but not parsed yet
        self._budget: Budget | Joint | None = None
        self._frames_paid = 0
        self._is_held = False  # until the hub has taken what came before
        self._is_throttled = False  # until the budget has refilled
        self._is_deaf = False  # nothing more is parsed
        self._has_closed = False  # the client sent its Close first
        self.bytes_in = 0
        self.controls_in = 0  # frames: pings and pongs
        self.close_code: int = Close.ABNORMAL
        self.close_reason = ""
        self.unanswered_pings: list[bytes] | None = None
        self.heard = self.beat = self.next_ping = 0
        self.outbox = Outbox(transport, shared.backlog, self)
        self.client = Client(random_id(), codec, self.outbox, identity, sys.intern(address))
        self.client.opened = shared.loop.time()

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Bytes from the client; within the budget and its share of the inbox they are parsed at once."""
        shared = self._shared
        size = len(data)
        self.heard = shared.keepalive.ticks
        self.bytes_in += size
        reader = self._reader
        if reader is None or self._is_held or self._is_throttled or size > _SLICE_BYTES:
            self._take(data)
            return
        shared.inlet.connection = self
        reader.feed_data(data)
        if shared.limits_bytes:
            self._spend(size)
        if self.client.is_full:
            self._hold()
        if self.unanswered_pings is not None:
            self._pong()

    def pause_writing(self) -> None:
        self.outbox.pause()

    def resume_writing(self) -> None:
        self.outbox.resume()

    def eof_received(self) -> bool:
        """The client sends no more: a WebSocket has no half-open state, so the transport may close."""
        self.outbox.seal(Close.ABNORMAL, "the client ended the connection without a Close")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.outbox.seal(Close.ABNORMAL, "the connection was lost")
        self.outbox.lost()
        self._be_deaf()
        self._transport = None
        self._shared.discard(self)

    # What the reader calls.

    def message_received(self, payload: bytes, size: int, is_binary: bool) -> None:
        """A whole message: decoded, its commands wait for the hub's next turn."""
        client = self.client
        client.messages_in += 1
        try:
            commands = client.codec.decode(payload, is_binary)
        except Disconnect as end:
            self._end_deaf(end.code, end.reason)
            return
        except Exception:
            _log.exception("message_not_decoded", client=client.id, bytes=size)
            commands = (Reply("bad_message", "this message cannot be read"),)
        submit = self._shared.hub.inbox.submit
        for command in commands:
            submit(client, command, size)
            size = 0

    def ping_received(self, payload: bytes) -> None:
        """Answered after the slice that it came in, in one write with the others there."""
        if self.unanswered_pings is None:
            self.unanswered_pings = [payload]
        else:
            self.unanswered_pings.append(payload)

    def close_received(self, code: int) -> None:
        """The client's Close: answered in kind (RFC 6455 section 5.5.1), unless we closed first."""
        if self._is_deaf:
            return
        self._be_deaf()
        if not self.outbox.is_sealed:
            self._has_closed = True
            self.outbox.clear()
            answer = Close.NORMAL if not code else code if may_be_received(code) else Close.PROTOCOL_ERROR
            self.outbox.close(answer, "")
        if self._transport is not None:
            self._transport.close()

    def reading_failed(self, error: BaseException) -> None:
        """The reader gave up: the client's fault, with its code, or ours."""
        if isinstance(error, WebSocketError):
            limit = self._shared.config.limits.max_message_bytes
            is_too_big = error.code == Close.TOO_BIG
            self._end_deaf(error.code, f"a message holds {limit} bytes at most" if is_too_big else str(error))
        else:
            _log.error("reading_failed", client=self.client.id, exc_info=error)
            self._end_deaf(Close.INTERNAL_ERROR, "internal error")

    # What the outbox calls.

    def sealed(self, code: int, reason: str) -> None:
        """The end has begun: out of its rooms now, and gone after the grace."""
        shared = self._shared
        self.close_code, self.close_reason = code, reason
        if code == Close.SLOW and not self._is_deaf:
            shared.log_dropped(self)
        if self._is_held or (self._is_throttled and self._rest is not None):
            self._be_deaf()  # what came and was not parsed is dropped; what still comes is read, for the client's Close
        self._is_held = self._is_throttled = False
        self._set_reading()
        shared.keepalive.discard(self)
        shared.keepalive.end(self)
        is_final = code == Close.NORMAL or Close.BAD_REQUEST <= code < 5000
        shared.hub.detach(self.client, is_expected=not is_final)

    def farewell(self, code: int, reason: str) -> bytes:
        """`goodbye`, where it is we who close; after a stop the clients come back spread over a while."""
        if self._has_closed:
            return b""
        after_ms = None
        if code in (Close.GOING_AWAY, Close.RESTART):
            after_ms = int(random.random() * self._shared.config.server.reconnect_spread_seconds * 1000)
        codec = self.client.codec
        return codec.frame(list(codec.encode_event(Goodbye(code=int(code), reason=reason, after_ms=after_ms))))

    # What the timer calls.

    @property
    def is_reading(self) -> bool:
        """Whether the client can be heard: not while we pause."""
        return not (self._is_held or self._is_throttled)

    def ping(self) -> None:
        self.outbox.ping()

    def silent(self) -> None:
        self.outbox.close(Close.SILENT, "nothing heard in time")

    def abort(self) -> None:
        if self._transport is not None:
            self._shared.aborted += 1
            self._transport.abort()

    # Within.

    def _take(self, data: bytes) -> None:
        """What `data_received` does with more than the usual: the first bytes, a large chunk, one that must wait."""
        if self._is_deaf:
            return
        if self._rest is not None:
            data = bytes(self._rest) + data
            self._rest = None
        if self._is_held or self._is_throttled or (self._reader is None and len(data) < 2):
            self._rest = memoryview(data)
        elif self._reader is not None:
            self._feed(self._reader, data)
        else:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        if not data[1] & _MASK_BIT:  # the reader takes unmasked frames; whoever does not mask does so from the first on
            self._end_deaf(Close.PROTOCOL_ERROR, "frames from a client must be masked")
            return
        limit = self._shared.config.limits.max_message_bytes + 1  # the reader's limit is exclusive
        self._reader = WebSocketReader(self._shared.inlet, limit, compress=False, decode_text=False)
        self._feed(self._reader, data)

    def _feed(self, reader: WebSocketReader, data: bytes | memoryview) -> None:
        self._shared.inlet.connection = self
        end = 0
        while end < len(data) and not self._is_deaf:
            start, end = end, end + _SLICE_BYTES
            reader.feed_data(data[start:end])
            self._pong()
            if self._shared.limits_bytes:
                self._spend(min(_SLICE_BYTES, len(data) - start))
            if self.client.is_full:
                self._hold()
            if self._is_held or self._is_throttled:
                self._rest = memoryview(data)[end:] if end < len(data) and not self._is_deaf else None
                break

    def _pong(self) -> None:
        if self.unanswered_pings is not None:
            self.outbox.pong(*self.unanswered_pings)
            self.unanswered_pings = None

    def _hold(self) -> None:
        self._is_held = True
        self._set_reading()
        self._shared.hub.inbox.hold(self.client, self._feed_on)

    def _feed_on(self) -> None:
        self._is_held = False
        self._go_on()

    def _go_on(self) -> None:
        if self._is_held or self._is_throttled:
            return
        if self._reader is not None and self._rest is not None:
            rest, self._rest = self._rest, None
            self._feed(self._reader, rest)
        self._set_reading()

    def _spend(self, size: int) -> None:
        """Pay for bytes that were parsed, and for the frames in them; what is owed is waited for."""
        shared, client = self._shared, self.client
        now = shared.loop.time()
        if self._budget is None:
            self._budget = shared.hub.guard.shares.bytes(client.user, client.address, now)
        frames = client.messages_in + self.controls_in
        debt_seconds = self._budget.spend(size + (frames - self._frames_paid) * _FRAME_BYTES, now)
        self._frames_paid = frames
        if debt_seconds and not self._is_throttled:
            shared.hub.guard.limited(client, self._budget.scarcest(0, now).limit)
            self._is_throttled = True
            self._set_reading()
            pause_seconds = min(max(debt_seconds, _MIN_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
            shared.loop.call_later(pause_seconds, self._unthrottle)

    def _unthrottle(self) -> None:
        self._is_throttled = False
        self._go_on()

    def _set_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self.is_reading:
            transport.pause_reading()
        elif not transport.is_reading():
            self.heard = self._shared.keepalive.ticks
            transport.resume_reading()

    def _end_deaf(self, code: int, reason: str) -> None:
        """Close; what still comes is read and dropped, lest the kernel resets before the client has seen the Close."""
        self._be_deaf()
        if self.outbox.is_sealed:
            return
        self.outbox.close(code, reason)
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # on asyncio's own loop, where the client has reset meanwhile
                self._transport.write_eof()

    def _be_deaf(self) -> None:
        self._is_deaf = True
        self._reader = None
        self._rest = None
