"""`aiochat.v1.msgpack`: MessagePack in binary messages, one map or several one after another, both ways."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgpack import Unpacker  # type: ignore[import-untyped]

from aiochat.codecs.structs import CommandReader, EventReader
from aiochat.errors import Close, Disconnect, Reply
from aiochat.frames import BINARY, frame
from aiochat.messages import Command, Event

_encode: Final = msgspec.msgpack.Encoder().encode


def _values(payload: bytes) -> Iterator[bytes]:
    """The values in the payload; what follows the last whole one comes as it is.

    msgspec cannot say where a value ends.
    """
    unpacker = Unpacker(max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    start = 0
    while start < len(payload):
        try:
            unpacker.skip()
            end = unpacker.tell()
        except Exception:
            end = len(payload)
        yield payload[start:end]
        start = end


_COMMANDS: Final = CommandReader(msgspec.msgpack.Decoder, _values, "a MessagePack map")
_EVENTS: Final = EventReader(msgspec.msgpack.Decoder)


class MsgpackCodec:
    """For programs that count bytes."""

    subprotocol: Final = "aiochat.v1.msgpack"
    is_text: Final = False

    def decode(self, payload: bytes, is_binary: bool) -> Sequence[Command | Reply]:
        if not is_binary:
            raise Disconnect(Close.WRONG_TYPE, "MessagePack is sent in binary messages")
        return _COMMANDS.read(payload)

    encode_entry = staticmethod(_encode)

    def encode_event(self, event: Event) -> Sequence[bytes]:
        return (_encode(event),)

    def frame(self, payloads: list[bytes]) -> bytes:
        return frame(BINARY, b"".join(payloads)) if payloads else b""

    # The client's side.

    encode_command = staticmethod(_encode)

    def decode_events(self, payload: bytes) -> list[Event]:
        """The events in a WebSocket message. Raises `ValueError` where it is not what a server says."""
        return _EVENTS.read(_values(payload))
