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
CODECS: Final = (TEXT_CODEC, JSON_CODEC)
_FIELDS: Final = struct.Struct(">HIQ")
HEAD_BYTES: Final = len(MARKER) + 2 * _FIELDS.size
MAX_SENDERS: Final = 1 << 16
NOT_OURS: Final = (ValueError, struct.error)

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_CONTROL_BIT: Final = 0x08
_MASKED_BIT: Final = 0x80

# One byte four times, so that masking is a single `translate`; to unmask it costs a server what any other mask does.
_MASK_BYTE: Final = os.urandom(1)[0] | 1
_MASKED: Final = bytes(_MASK_BYTE ^ byte for byte in range(256))


def fields(line: bytes) -> tuple[int, int, int]:
    """Sender, sequence number and time of sending; raises one of NOT_OURS."""
    sender, sequence, sent_us = _FIELDS.unpack(unhexlify(line[1:HEAD_BYTES]))
    return sender, sequence, sent_us


def key(sender: int) -> bytes:
    return b"%b%04x" % (MARKER, sender)


def is_control(first_byte: int) -> bool:
    return bool(first_byte & _CONTROL_BIT)


def frame_head(first_byte: int, size: int, masked_bit: int = 0) -> bytes:
    if size < 126:
        return bytes((first_byte, masked_bit | size))
    if size < 1 << 16:
        return bytes((first_byte, masked_bit | 126)) + size.to_bytes(2, "big")
    return bytes((first_byte, masked_bit | 127)) + size.to_bytes(8, "big")


def client_frame(first_byte: int, payload: bytes) -> bytes:
    head = frame_head(first_byte, len(payload), _MASKED_BIT)
    return head + bytes((_MASK_BYTE,)) * 4 + payload.translate(_MASKED)


class LineFrames:
    """Frames with lines of one size, as a client sends them; only the fields differ. As JSON they are published."""

    def __init__(self, size: int, codec: str = TEXT_CODEC, room: str = "") -> None:
        letters = itertools.islice(itertools.cycle(string.ascii_lowercase), size - HEAD_BYTES)
        line = MARKER + bytes(HEAD_BYTES - 1) + "".join(letters).encode()
        before, after = (
            (b"", b"") if codec == TEXT_CODEC else (b'{"type":"publish","room":"%b","text":"' % room.encode(), b'"}')
        )
        frame = client_frame(TEXT, before + line + after)
        self.marker_at = len(before)
        self.payload_bytes = len(before) + len(line) + len(after)
        start = len(frame) - len(line) - len(after)
        self.before = frame[: start + 1]
        self.after = frame[start + HEAD_BYTES :]

    def frame(self, sender: int, sequence: int, sent_us: int) -> bytes:
        return self.before + hexlify(_FIELDS.pack(sender, sequence, sent_us)).translate(_MASKED) + self.after


def frames(buffer: bytes | bytearray, end: int) -> Iterator[tuple[int, int, int]]:
    """The whole server frames in `buffer[:end]`: the first byte, and where the payload starts and stops."""
    start = 0
    while start + 2 <= end:
        size, payload = buffer[start + 1], start + 2
        if size >= 126:
            payload += 2 if size == 126 else 8
            size = int.from_bytes(buffer[start + 2 : payload], "big")
        if payload + size > end:
            return
        yield buffer[start], payload, payload + size
        start = payload + size
