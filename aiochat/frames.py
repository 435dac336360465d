"""WebSocket frames as a server writes them: RFC 6455 section 5.2, unmasked and never fragmented."""

import struct
from typing import Final

TEXT: Final = 0x81
BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A

_MAX_REASON_BYTES: Final = 123  # RFC 6455 section 5.5: a control frame holds 125 bytes, two of them the code
_medium_header: Final = struct.Struct("!BBH").pack
_SHORT_TEXT_HEADERS: Final = [bytes((TEXT, length)) for length in range(126)]

# RFC 6455 section 7.4.1 keeps these from ever being sent; above 4999 nothing is defined (section 7.4.2).
_NEVER_ON_THE_WIRE: Final = frozenset((1004, 1005, 1006, 1015))


def header(first_byte: int, length: int) -> bytes:
    """The header of a frame with a payload of `length` bytes."""
    if length < 126:
        return bytes((first_byte, length))
    if length < 1 << 16:
        return _medium_header(first_byte, 126, length)
    return struct.pack("!BBQ", first_byte, 127, length)


def frame(first_byte: int, payload: bytes) -> bytes:
    """One whole message in one frame."""
    return header(first_byte, len(payload)) + payload


def text_frames(payloads: list[bytes]) -> bytes:
    """Each payload as a text message of its own, all in one piece for one write."""
    parts: list[bytes] = []
    for payload in payloads:
        length = len(payload)
        parts.append(_SHORT_TEXT_HEADERS[length] if length < 126 else header(TEXT, length))
        parts.append(payload)
    return b"".join(parts)


def ping_frame() -> bytes:
    """An empty ping: any inbound byte counts as life, so there is no payload to match."""
    return header(_PING, 0)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of `payload`, which the reader keeps at 125 bytes or fewer."""
    return frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame; the reason is cut at 123 bytes on a character border."""
    cut = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
    return frame(_CLOSE, struct.pack("!H", code) + cut)


def may_be_received(code: int) -> bool:
    """Whether a peer may send this code in a Close frame; if not, the answer is 1002."""
    return 1000 <= code <= 4999 and code not in _NEVER_ON_THE_WIRE
