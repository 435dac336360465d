"""The bytes of the load test: its chat lines, and the WebSocket frames (RFC 6455, 5.2) that carry them.

A line is `~`, the sender (4 hex digits), its sequence number (8), the time of sending (16, microseconds), and filling.
"""

import itertools
import os
import string
import struct
from binascii import hexlify, unhexlify
from collections.abc import Iterator
from typing import Final

MARKER: Final = b"~"
TEXT_CODEC: Final = "text"
JSON_CODEC: Final = "json"
SOCKETIO_CODEC: Final = "socketio"
_FIELDS: Final = struct.Struct(">HIQ")
_FIELDS_BYTES: Final = 2 * _FIELDS.size
HEAD_BYTES: Final = len(MARKER) + _FIELDS_BYTES
_KEY: Final = slice(0, 12)  # of the fields as they are written: sender and sequence number
_ID: Final = slice(4, 12)
MAX_SENDERS: Final = 1 << 16
NOT_OURS: Final = (ValueError, struct.error)

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_FIN_BIT: Final = 0x80
_OPCODE_BITS: Final = 0x0F
_CONTROL_BIT: Final = 0x08
_MASKED_BIT: Final = 0x80

# One byte four times, so that masking is a single `translate`; to unmask it costs a server what any other mask does.
_MASK_BYTE: Final = os.urandom(1)[0] | 1
_MASKED: Final = bytes(_MASK_BYTE ^ byte for byte in range(256))

Said = tuple[int, int, int]  # sender, sequence number, time of sending


def fields(line: bytes | str) -> Said:
    """Of a line that begins with the marker; raises one of NOT_OURS."""
    sender, sequence, sent_us = _FIELDS.unpack(unhexlify(line[1:HEAD_BYTES]))
    return sender, sequence, sent_us


def key(sender: int) -> bytes:
    return b"%b%04x" % (MARKER, sender)


def is_control(first_byte: int) -> bool:
    return bool(first_byte & _CONTROL_BIT)


def is_fragment(first_byte: int) -> bool:
    """Whether a data frame is not a whole message (RFC 6455, 5.4): others follow, or it follows others."""
    return not first_byte & _FIN_BIT or not first_byte & _OPCODE_BITS


def frame_head(first_byte: int, size: int, masked_bit: int = 0) -> bytes:
    if size < 126:
        return bytes((first_byte, masked_bit | size))
    if size < 1 << 16:
        return bytes((first_byte, masked_bit | 126)) + size.to_bytes(2, "big")
    return bytes((first_byte, masked_bit | 127)) + size.to_bytes(8, "big")


def client_frame(first_byte: int, payload: bytes) -> bytes:
    return _masked_head(first_byte, len(payload)) + payload.translate(_MASKED)


def _masked_head(first_byte: int, size: int) -> bytes:
    return frame_head(first_byte, size, _MASKED_BIT) + bytes((_MASK_BYTE,)) * 4


class LineFrames:
    """Frames with lines of one size, as a client sends them in its codec; only the fields differ.

    As JSON, a publish has the sequence number as its `id`, and with `keyed` sender and sequence number as its `key`, by
    which the server knows a message that is published again.
    """

    def __init__(self, size: int, codec: str = TEXT_CODEC, room: str = "", *, keyed: bool = False) -> None:
        letters = "".join(itertools.islice(itertools.cycle(string.ascii_lowercase), size - HEAD_BYTES))
        named = (f'{{"type":"publish","room":"{room}","id":"', '","key":"')
        before, after = {
            TEXT_CODEC: (("~",), letters),
            JSON_CODEC: ((*named[: 1 + keyed], '","text":"~'), letters + '"}'),
            SOCKETIO_CODEC: (('42["message","~',), letters + '"]'),
        }[codec]
        fields = (_ID, _KEY)[: len(before) - 1]  # what stands before the last piece of `before`
        self.payload_bytes = (
            len("".join(before) + after) + sum(part.stop - part.start for part in fields) + _FIELDS_BYTES
        )
        first, *more = (piece.encode().translate(_MASKED) for piece in before)
        self._first = _masked_head(TEXT, self.payload_bytes) + first
        self._named = [*zip(fields, more, strict=True)]
        self._after = after.encode().translate(_MASKED)

    def frame(self, sender: int, sequence: int, sent_us: int) -> bytes:
        fields = hexlify(_FIELDS.pack(sender, sequence, sent_us)).translate(_MASKED)
        frame = self._first
        for part, piece in self._named:
            frame += fields[part] + piece
        return frame + fields + self._after


def frames(buffer: bytes | bytearray, end: int, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """The whole server frames in `buffer[start:end]`: the first byte, and where the payload starts and stops."""
    while start + 2 <= end:
        size, payload = buffer[start + 1], start + 2
        if size >= 126:
            payload += 2 if size == 126 else 8
            if payload > end:
                return
            size = int.from_bytes(buffer[start + 2 : payload], "big")
        if payload + size > end:
            return
        yield buffer[start], payload, payload + size
        start = payload + size


class Fragments:
    """Those of a message whose end has not come yet: the frames, without the control frames between them."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._payloads: list[bytes] = []

    def add(self, first_byte: int, frame: bytes, payload: bytes) -> bool:
        """Whether it is the last one. A first one ends what came before it without an end."""
        if first_byte & _OPCODE_BITS:
            self.frames, self._payloads = [], []
        self.frames.append(frame)
        self._payloads.append(payload)
        return bool(first_byte & _FIN_BIT)

    def take(self) -> tuple[bytes, bytes]:
        """The frames as they came, and the whole message in them."""
        joined = b"".join(self.frames), b"".join(self._payloads)
        self.frames, self._payloads = [], []
        return joined
