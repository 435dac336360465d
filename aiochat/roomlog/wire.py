"""What the server and its writer process say to each other: frames of msgpack on a socketpair, answered in order.

Entries travel, and stand in the file, in chunks of consecutive ones: what a batch brings to a room is encoded once by
the server, and the writer looks into it only for an erasure, or where a key was known.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from aiochat.messages import Sender

CHUNK_ENTRIES: Final = 64
CHUNK_BYTES: Final = 16 << 10  # a larger entry is a chunk by itself

_LENGTH_BYTES: Final = 4


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry in a chunk: a message; with a `target` an erasure; without a `sender` what was erased."""

    ts: int
    sender: Sender | None = None
    text: str | None = None
    data: Any = None
    key: str | None = None
    target: int | None = None


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """So many consecutive entries, the last one's `ts`, and all of them as a msgpack array of `Stored`."""

    count: int
    ts: int
    content: bytes


class Special(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the draft at this index has beside its content: a key, as a number of 63 bits, or a target."""

    index: int
    ts: int
    key: int | None
    digest: bytes
    target: int | None


class RoomDrafts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    room: str
    chunks: list[Chunk]
    specials: list[Special]


class Request(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    pass


class Open(Request, frozen=True, array_like=True, tag=True):
    """First of all. `boot` is the machine's boot id, None where it has none; `pid` is the server's."""

    path: str
    synchronous: str
    wait_seconds: float
    pid: int
    boot: str | None
    max_messages: int
    max_bytes: int
    max_rooms: int
    max_age_ms: float
    max_keys: int
    key_ms: float


class Append(Request, frozen=True, array_like=True, tag=True):
    rooms: list[RoomDrafts]


class Read(Request, frozen=True, array_like=True, tag=True):
    room: str
    limit: int
    before: int | None
    after: int | None
    is_anew: bool = False  # from the disk, whatever is in memory


class Delete(Request, frozen=True, array_like=True, tag=True):
    room: str


class Keep(Request, frozen=True, array_like=True, tag=True):
    key: str
    value: bytes | None


class Shut(Request, frozen=True, array_like=True, tag=True):
    """Last of all: mark the file as cleanly closed."""


class Opened(Request, frozen=True, array_like=True, tag=True):
    secret: bytes
    kept: dict[str, bytes]


class Refused(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of a draft that is no new entry: without an `offset` it was refused with this code."""

    code: str
    offset: int = 0
    ts: int = 0


class RoomAppended(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The new entries are the room's last ones; `refused` are the others, by index."""

    epoch: str
    newest: int
    refused: dict[int, Refused]


class Appended(Request, frozen=True, array_like=True, tag=True):
    rooms: list[RoomAppended]


class Page(Request, frozen=True, array_like=True, tag=True):
    """The entries from `start` to `stop` are the answer; the chunks, each with its first offset, may hold more."""

    epoch: str
    oldest: int
    newest: int
    start: int
    stop: int
    chunks: list[tuple[int, bytes]]


class Deleted(Request, frozen=True, array_like=True, tag=True):
    epoch: str
    newest: int


class Kept(Request, frozen=True, array_like=True, tag=True):
    pass


class Failed(Request, frozen=True, array_like=True, tag=True):
    reason: str


Asked = Open | Append | Read | Delete | Keep | Shut
Answered = Opened | Appended | Page | Deleted | Kept | Failed

DAMAGED: Final = "the file is damaged"
DAMAGES: Final = (msgspec.MsgspecError, UnicodeDecodeError)  # what decoding a damaged chunk raises

encode: Final = msgspec.msgpack.Encoder().encode
decode_request: Final = msgspec.msgpack.Decoder(Asked).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answered).decode
decode_chunk: Final = msgspec.msgpack.Decoder(list[Stored]).decode


def frame(message: Asked | Answered) -> bytes:
    body = encode(message)
    return len(body).to_bytes(_LENGTH_BYTES) + body


class Frames:
    """Cuts a stream of bytes into the frames' bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            end = start + _LENGTH_BYTES + int.from_bytes(self._buffer[start : start + _LENGTH_BYTES])
            if end > len(self._buffer):
                break
            yield bytes(self._buffer[start + _LENGTH_BYTES : end])
            start = end
        del self._buffer[:start]
