"""Valid sessions of each codec, and mutations of them: what a client may send after its upgrade.

`python -m tests.mutations SEED` shows what a seed sends.
"""

import random
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped]
import msgspec

from aiochat.codecs import CODECS
from tests.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

TEXT_CODEC, JSON, MSGPACK = CODECS
ROOM: Final = "lobby"

_LINES: Final = (
    *("hello", "Grüße, 漢字, \U0001f600", "", "//slash", "two\nlines", "x" * 300, "/nick bob", "/join other", "/leave"),
    *("/who", "/history 5", "/rooms", "/me waves", "/msg nobody psst", "/what?", "/help", "\x1b[2J\u202e"),
)
_COMMANDS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "publish", "room": ROOM, "text": "hello"},
    {"type": "publish", "room": ROOM, "text": "Grüße \u2028 \x1b[2J", "id": 7, "key": "key-0001"},
    {"type": "publish", "room": ROOM, "data": {"a": [1, -2.5, None, True, "漢字", {}], "b": 2**53 - 1}},
    {"type": "publish", "room": "elsewhere", "text": "not there"},
    {"type": "join", "room": ROOM, "name": "alice", "id": "j"},
    {"type": "join", "room": "other", "since": {"epoch": "x", "offset": 3}, "limit": 10},
    {"type": "leave", "room": "other"},
    {"type": "history", "room": ROOM, "after": 0, "limit": 300},
    {"type": "history", "room": ROOM, "before": 2, "epoch": "y"},
    {"type": "resume", "token": "aaaa.bbbb.cccc", "rooms": {ROOM: {"epoch": "x", "offset": 1}}},
    {"type": "direct", "name": "alice", "room": ROOM, "text": "psst"},
    {"type": "who", "room": ROOM},
    {"type": "rooms"},
    {"type": "rename", "room": ROOM, "name": "bob"},
    {"type": "typing", "room": ROOM},
    {"type": "call", "method": "nothing", "data": [1]},
    {"type": "refresh", "token": "aaaa"},
    {"type": "ping", "id": 1},
    {"type": "unheard_of", "id": 2},
)
_JUNK: Final = (
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x00",
    b'"',
    b"{",
    b"]",
    b"\xc1",
    b"\xd9\xff",
    b"\n",
    b"9" * 40,
    b"[" * 50,
)


class Session(NamedTuple):
    """What a client sends, frame by frame, after an upgrade for `subprotocol` to `room`."""

    subprotocol: str
    room: str | None
    frames: list[bytes]


def frame(rng: random.Random, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """As a client sends it, with a mask of its own."""
    mask, size = rng.randbytes(4), len(payload)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    stream = int.from_bytes((mask * (size // 4 + 1))[:size])
    masked = (int.from_bytes(payload) ^ stream).to_bytes(size)
    return bytes((opcode | (0x80 if fin else 0),)) + length + mask + masked


def _payloads(rng: random.Random, subprotocol: str) -> list[bytes]:
    """Valid messages."""
    count = rng.randint(1, 6)
    if subprotocol == TEXT_CODEC:
        return [line.encode() for line in rng.choices(_LINES, k=count)]
    encode, glue = (msgspec.json.encode, b"\n") if subprotocol == JSON else (msgpack.packb, b"")
    return [glue.join(map(encode, rng.choices(_COMMANDS, k=rng.choice((1, 1, 1, 2))))) for _ in range(count)]


def _framed(rng: random.Random, opcode: int, payload: bytes) -> list[bytes]:
    """A message in one frame, or in fragments with a ping between them."""
    if rng.random() < 0.75:
        return [frame(rng, opcode, payload)]
    cuts = sorted({0, *(rng.randint(0, len(payload)) for _ in range(rng.randint(1, 3))), len(payload)})
    frames: list[bytes] = []
    for start, end in pairwise(cuts if len(cuts) > 1 else [0, 0]):
        is_last = end == cuts[-1]
        frames.append(frame(rng, CONTINUATION if frames else opcode, payload[start:end], fin=is_last))
        if rng.random() < 0.2:
            frames.append(frame(rng, PING, b"between"))
    return frames


def valid(rng: random.Random, mutate_payload: Callable[[random.Random, bytes], bytes] | None = None) -> Session:
    """A session that breaches nothing on the level of frames, nor on that of messages without `mutate_payload`."""
    subprotocol = rng.choice((TEXT_CODEC, JSON, MSGPACK))
    opcode = BINARY if subprotocol == MSGPACK else TEXT
    frames = []
    for payload in _payloads(rng, subprotocol):
        changed = mutate_payload(rng, payload) if mutate_payload and rng.random() < 0.5 else payload
        frames += _framed(rng, opcode, changed)
        if rng.random() < 0.2:
            frames.append(frame(rng, rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 4, 125)))))
    if rng.random() < 0.3:
        frames.append(frame(rng, CLOSE, rng.choice((b"", b"\x03\xe8", b"\x0f\xa0bye", b"\x03\xed"))))
    return Session(subprotocol, rng.choice((ROOM, ROOM, None)) if subprotocol != TEXT_CODEC else ROOM, frames)


# Mutations of the bytes of a session, and of a payload before it is masked.


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _insert(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return (
        data[:place] + (rng.choice(_JUNK) if rng.random() < 0.5 else rng.randbytes(rng.randint(1, 20))) + data[place:]
    )


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, 12) :]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    end = start + rng.randint(1, 12)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def _splice(rng: random.Random, data: bytes) -> bytes:
    """The beginning of one session, the end of another."""
    other = b"".join(valid(rng).frames)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


_OF_BYTES: Final = (_flip, _truncate, _insert, _cut_out, _repeat, _splice)
_OF_PAYLOADS: Final = (_flip, _truncate, _insert, _cut_out, _repeat)


def _of_payload(rng: random.Random, payload: bytes) -> bytes:
    return rng.choice(_OF_PAYLOADS)(rng, payload) if payload else rng.choice(_JUNK)


def _first_byte(rng: random.Random, frames: list[bytes]) -> None:
    """Another opcode, FIN or reserved bit."""
    place = rng.randrange(len(frames))
    frames[place] = bytes((frames[place][0] ^ 1 << rng.randrange(8),)) + frames[place][1:]


def _length(rng: random.Random, frames: list[bytes]) -> None:
    """Another length, in one of the three forms; or no mask bit."""
    place = rng.randrange(len(frames))
    first, rest = frames[place][:1], frames[place][2:]
    form = rng.randrange(4)
    lengths = (
        bytes((0x80 | rng.randrange(126),)),
        bytes((0x80 | 126,)) + rng.randbytes(2),
        bytes((0x80 | 127,)) + bytes(rng.choice((0, 4, 7))) + rng.randbytes(8),
        bytes((frames[place][1] & 0x7F,)),
    )
    frames[place] = first + lengths[form][: (2, 3, 9, 1)[form]] + rest


def _shuffle(rng: random.Random, frames: list[bytes]) -> None:
    rng.shuffle(frames)


def _drop(rng: random.Random, frames: list[bytes]) -> None:
    frames.pop(rng.randrange(len(frames)))


def _double(rng: random.Random, frames: list[bytes]) -> None:
    frames[rng.randrange(len(frames)) :] *= 2


_OF_FRAMES: Final = (_first_byte, _length, _shuffle, _drop, _double)


def mutated(seed: int) -> tuple[Session, bytes]:
    """The session that this seed makes, and what of it is sent."""
    rng = random.Random(seed)
    kind = rng.randrange(3)
    session = valid(rng, _of_payload if kind == 0 else None)
    if kind == 1:
        for _ in range(rng.choice((1, 1, 2, 4))):
            if session.frames:
                rng.choice(_OF_FRAMES)(rng, session.frames)
    data = b"".join(session.frames)
    if kind == 2:
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = rng.choice(_OF_BYTES)(rng, data or b"\x81")
    return session, data


if __name__ == "__main__":
    session, data = mutated(int(sys.argv[1]))
    sys.stdout.write(f"{session.subprotocol} in {session.room}: {data!r}\n")
