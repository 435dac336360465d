"""A reader of WebSocket frames written from RFC 6455 alone, to hold the server's frames against."""

import struct
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a Close frame."""
        return int(struct.unpack_from("!H", self.payload)[0])


def frames_of(data: bytes) -> list[Frame]:
    """The frames in `data`, each of which must be whole, final, unmasked and as short as section 5.2 asks for."""
    frames = []
    while data:
        frame, data = _first_frame(data)
        frames.append(frame)
    return frames


def _first_frame(data: bytes) -> tuple[Frame, bytes]:
    first, second = data[:2]
    assert first & 0xF0 == 0x80, "FIN, and no reserved bit"
    assert not second & 0x80, "a server does not mask"
    length, start = second, 2
    if second == 126:
        length, start = struct.unpack_from("!H", data, 2)[0], 4
        assert length > 125, "the minimal number of bytes"
    elif second == 127:
        length, start = struct.unpack_from("!Q", data, 2)[0], 10
        assert length > 0xFFFF, "the minimal number of bytes"
    opcode, end = first & 0xF, start + length
    assert len(data) >= end, "a whole frame"
    assert opcode < CLOSE or length <= 125, "a control frame is short"
    return Frame(opcode, data[start:end]), data[end:]
