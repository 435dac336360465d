"""What servers say, as the meter reads it: chat messages, and the rest line by line.

`Marked` finds our lines by their marker, whatever is around them: text, Socket.IO, and servers that echo what was
published. `Json` reads the events of aiochat.v1.json, whose messages have offsets.
"""

import struct
from binascii import unhexlify
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.stream import FOREIGN, Chat, key_of

_FIELDS: Final = struct.Struct(">HIQ")
_MARKER: Final = lines.MARKER.decode()
_MESSAGE: Final = b'{"type":"message"'


class Said(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """What is of interest in a `message`."""

    offset: int
    text: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What is of interest in all other events."""

    type: str
    offset: int = 0
    text: str = ""
    epoch: str = ""
    messages: tuple["Event", ...] = ()
    recovered: bool | None = None
    more: bool = False
    resume: str = ""
    to: int | None = None
    code: str | int = ""
    reason: str = ""
    id: str | int = ""


_decode_chat: Final = msgspec.json.Decoder(list[Said]).decode
_decode_event: Final = msgspec.json.Decoder(Event).decode


class Speech(Protocol):
    """How a server speaks."""

    def chat(self, payload: bytes) -> Chat | None:
        """The chat messages in a WebSocket message; None if there is something else in it too."""
        ...


class Marked:
    """A line of ours in any other line."""

    def chat(self, payload: bytes) -> Chat | None:
        keys: list[int] = []
        dues_us: list[int] = []
        for piece in payload.split(lines.MARKER)[1:]:
            try:
                sender, sequence, due_us = _FIELDS.unpack(unhexlify(piece[: lines.HEAD_BYTES - 1]))
            except lines.NOT_OURS:
                continue
            keys.append(sender << 32 | sequence)
            dues_us.append(due_us)
        return Chat(keys, dues_us) if keys else None


class Json:
    """Messages and events of aiochat; several are joined by line feeds."""

    def chat(self, payload: bytes) -> Chat | None:
        if not payload.startswith(_MESSAGE):
            return None
        try:
            said = _decode_chat(b"[%b]" % payload.replace(b"\n", b","))
        except msgspec.DecodeError:
            return None
        keys, dues_us = _read([each.text for each in said])
        first, last = said[0].offset, said[-1].offset
        places = [each.offset for each in said]
        if last - first + 1 == len(said) and places == [*range(first, last + 1)]:
            return Chat(keys, dues_us, first)
        return Chat(keys, dues_us, first, places)


def page(messages: Sequence[Event]) -> Chat:
    """The messages of a `joined`."""
    keys, dues_us = _read([each.text for each in messages])
    return Chat(keys, dues_us, None, [each.offset for each in messages])


def events(payload: bytes) -> list[Event]:
    """The events of a message; what is none is left out."""
    read = []
    for line in payload.split(b"\n"):
        try:
            read.append(_decode_event(line))
        except msgspec.DecodeError:
            continue
    return read


def _read(texts: list[str]) -> tuple[list[int], list[int]]:
    """All at once, or one by one where somebody else speaks too."""
    heads = "".join([text[1 : lines.HEAD_BYTES] for text in texts if text[:1] == _MARKER])
    if len(heads) == (lines.HEAD_BYTES - 1) * len(texts):
        try:
            fields = [*_FIELDS.iter_unpack(unhexlify(heads))]
        except lines.NOT_OURS:
            pass
        else:
            return [sender << 32 | sequence for sender, sequence, _ in fields], [due for _, _, due in fields]
    pairs = [_read_one(text) for text in texts]
    return [key for key, _ in pairs], [due for _, due in pairs]


def _read_one(text: str) -> tuple[int, int]:
    try:
        sender, sequence, due_us = lines.fields(text if text[:1] == _MARKER else "")
    except lines.NOT_OURS:
        return FOREIGN, 0
    return key_of(sender, sequence), due_us
