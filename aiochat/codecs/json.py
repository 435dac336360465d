"""`aiochat.v1.json`: JSON in text messages, one object or several joined by line feeds, both ways."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from aiochat.codecs.structs import CommandReader, EventReader
from aiochat.errors import Close, Disconnect, Reply
from aiochat.frames import TEXT, frame
from aiochat.messages import Command, Event

_is_one_value: Final = msgspec.json.Decoder(msgspec.Raw).decode
_encode: Final = msgspec.json.Encoder().encode


def _lines(payload: bytes) -> list[bytes]:
    """The payload as it is if it is one value, which may span lines; else its lines without the blank ones."""
    try:
        _is_one_value(payload)
    except Exception:
        lines = [line for line in payload.split(b"\n") if line and not line.isspace()]
        return [payload] if len(lines) > 1 and _read_loosely(payload) else lines
    return [payload]


def _read_loosely(payload: bytes) -> dict[str, Any]:
    """The object, with the lone surrogates that JavaScript writes, and NaN; nothing where it is none even so."""
    try:
        value = json.loads(payload.decode(), parse_constant=complex)  # which JSON cannot say
    except (ValueError, RecursionError):
        return {}
    return value if type(value) is dict else {}


_COMMANDS: Final = CommandReader(msgspec.json.Decoder, _lines, "a JSON object", _read_loosely)
_EVENTS: Final = EventReader(msgspec.json.Decoder)


class JsonCodec:
    """For programs in any language."""

    subprotocol: Final = "aiochat.v1.json"
    is_text: Final = False

    def decode(self, payload: bytes, is_binary: bool) -> Sequence[Command | Reply]:
        if is_binary:
            raise Disconnect(Close.WRONG_TYPE, "JSON is sent in text messages")
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise Disconnect(Close.NOT_UTF8, "not UTF-8") from None
        return _COMMANDS.read(payload)

    encode_entry = staticmethod(_encode)

    def encode_event(self, event: Event) -> Sequence[bytes]:
        return (_encode(event),)

    def frame(self, payloads: list[bytes]) -> bytes:
        return frame(TEXT, b"\n".join(payloads)) if payloads else b""

    # The client's side.

    encode_command = staticmethod(_encode)

    def decode_events(self, payload: str | bytes) -> list[Event]:
        """The events in a WebSocket message. Raises `ValueError` where it is not what a server says."""
        return _EVENTS.read(payload.split("\n") if isinstance(payload, str) else payload.split(b"\n"))
