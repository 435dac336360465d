"""A command of the caller's as bytes, or a clear refusal of what JSON cannot say: nothing is silently changed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aiochat.codecs.fields import DATA
from aiochat.codecs.structs import is_json
from aiochat.errors import Reply
from aiochat.messages import Command
from aiochat.sdk.link import ClientCodec


def encoded(codec: ClientCodec, command: Command) -> bytes:
    """Raises `Reply` `bad_message`, with the field, for what cannot be said; whatever the codec."""
    if not is_json(getattr(command, "data", None)):
        raise _bad("data", DATA)
    text = getattr(command, "text", None)
    if not isinstance(text, str | None):
        raise _bad("text", "a string")
    try:
        return codec.encode_command(command)
    except (UnicodeEncodeError, TypeError, OverflowError):
        raise _bad(next(_unsayable(command), None), "text that UTF-8 can say, and integers of 64 bits") from None


def _unsayable(command: Command) -> Iterator[str]:
    fields: dict[str, Any] = msgspec.structs.asdict(command)
    for field, value in fields.items():
        try:
            msgspec.msgpack.encode(value)
        except (UnicodeEncodeError, TypeError, OverflowError):
            yield field


def _bad(field: str | None, expected: str) -> Reply:
    where = f"{field}: " if field else ""
    return Reply("bad_message", f"{where}expected {expected}", field=field)
