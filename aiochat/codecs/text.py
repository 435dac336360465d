"""`aiochat.v1.text`: one line of chat per WebSocket message, for wscat and what was written for the Go tutorial chat.

A line that begins with `/` is a command (`//` sends a slash); notices begin with `* `, errors with `! `.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from aiochat.errors import Close, Disconnect, Reply
from aiochat.frames import text_frames
from aiochat.messages import (
    Command,
    Direct,
    DirectMessage,
    Error,
    Event,
    Help,
    HelpText,
    History,
    HistoryPage,
    Join,
    Joined,
    Leave,
    Members,
    Message,
    Publish,
    Quit,
    Rename,
    Renamed,
    RoomList,
    Rooms,
    Sender,
    Sent,
    Who,
)

HISTORY_LINES: Final = 20
_MAX_HISTORY_LINES: Final = 300
_ACTION: Final = {"action": True}  # the `data` of a `/me` line
_BREAK: Final = re.compile(r"\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_WITHOUT_CONTROL: Final = bytes(63 if byte < 32 or byte == 127 else byte for byte in range(256))
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]")

_HELP: Final = (
    "/nick NAME           be called NAME",
    "/join ROOM           move to another room",
    "/leave               back to the lobby",
    "/rooms               where people are",
    "/who                 who is here",
    "/msg NAME TEXT       say it to NAME alone",
    "/me ACTION           say what you do",
    "/history [N]         the last N lines (20)",
    "/quit                leave the chat",
    "//...                a line that begins with a slash",
)


def clean(text: str) -> str:
    """One line that drives nobody's terminal: breaks become spaces, control characters and bidi overrides U+FFFD."""
    return _CONTROL.sub("\ufffd", _BREAK.sub(" ", text))


class TextCodec:
    """Lines in, lines out. What is ASCII and unchanged by `_WITHOUT_CONTROL` need not be cleaned, which costs more."""

    subprotocol: Final = "aiochat.v1.text"
    single_room: Final = True

    def decode(self, payload: bytes) -> Command | None:
        try:
            line = payload.decode().strip()
        except UnicodeDecodeError:
            raise Disconnect(Close.NOT_UTF8, "not UTF-8") from None
        if not (payload.isascii() and payload.translate(_WITHOUT_CONTROL) == payload):
            line = clean(line)
        if not line:
            return None
        return Publish(line) if line[0] != "/" else _command(line)

    def encode_message(self, message: Message) -> bytes:
        line = message.text if message.data is None and message.sender.name is None else _line_of(message)
        payload = (line or "").encode("utf-8", "replace")
        if payload.isascii() and payload.translate(_WITHOUT_CONTROL) == payload:
            return payload
        return clean(line or "").encode("utf-8", "replace")

    def encode_event(self, event: Event) -> list[bytes]:
        return [clean(line).encode("utf-8", "replace") for line in _RENDERERS[type(event)](event)]

    frame = staticmethod(text_frames)


def _command(line: str) -> Command:
    if line.startswith("//"):
        return Publish(line[1:])
    word, _, rest = line[1:].partition(" ")
    parse = _COMMANDS.get(word.lower())
    if parse is None:
        raise Reply("unknown_type", f"/{word[:32]} is not a command; /help lists them")
    return parse(rest.strip())


def _needs(usage: str, make: Callable[[str], Command]) -> Callable[[str], Command]:
    def parse(rest: str) -> Command:
        if not rest:
            raise Reply("bad_message", f"it is {usage}")
        return make(rest)

    return parse


def _direct(rest: str) -> Command:
    quoted = rest.startswith('"')
    name, _, text = rest[1:].partition('"') if quoted else rest.partition(" ")
    if not name or not text.strip():
        raise Reply("bad_message", 'it is /msg NAME TEXT, or /msg "A NAME WITH SPACES" TEXT')
    return Direct(name, text.strip())


def _history(rest: str) -> Command:
    if not rest:
        return History(HISTORY_LINES)
    if not (rest.isascii() and rest.isdigit() and len(rest) <= 6 and 1 <= int(rest) <= _MAX_HISTORY_LINES):
        raise Reply("bad_message", f"it is /history N, with N from 1 to {_MAX_HISTORY_LINES}", field="limit")
    return History(int(rest))


_COMMANDS: Final[dict[str, Callable[[str], Command]]] = {
    "help": lambda rest: Help(),
    "nick": _needs("/nick NAME", Rename),
    "join": _needs("/join ROOM", Join),
    "leave": lambda rest: Leave(),
    "rooms": lambda rest: Rooms(),
    "who": lambda rest: Who(),
    "msg": _direct,
    "me": _needs("/me ACTION", lambda action: Publish(action, _ACTION)),
    "history": _history,
    "quit": lambda rest: Quit(),
}


def _line_of(message: Message) -> str:
    name = message.sender.name
    if message.data is not None and message.data == _ACTION:
        return f"* {_shown(message.sender)} {message.text}"
    text = message.text if message.text is not None else msgspec.json.encode(message.data).decode()
    return text if name is None else f"{name}: {text}"


def _shown(sender: Sender) -> str:
    return sender.name if sender.name is not None else f"guest-{sender.client}"


def _joined(event: Joined) -> list[str]:
    others = event.members - 1
    company = "nobody else is" if not others else "1 other is" if others == 1 else f"{others} others are"
    called = f" as {event.name}" if event.name is not None else ""
    return [*map(_line_of, event.messages), f"* you are in {event.room}{called}; {company} here"]


def _members(event: Members) -> list[str]:
    more = event.count - len(event.members)
    names = ", ".join(map(_shown, event.members)) + (f" and {more} more" if more else "")
    return [f"* {event.count} in {event.room}: {names}"]


def _rooms(event: RoomList) -> list[str]:
    more = event.count - len(event.rooms)
    lines = [f"* {info.room} ({info.members})" for info in event.rooms]
    return [*lines, f"* and {more} more rooms"] if more else lines


def _history_page(event: HistoryPage) -> list[str]:
    if not event.messages:
        return [f"* nothing was said in {event.room} yet"]
    return [f"* the last {len(event.messages)} lines of {event.room}:", *map(_line_of, event.messages)]


def _error(event: Error) -> list[str]:
    not_sent = "not sent: " if event.command == "publish" else ""
    again = ", try again" if event.retry_after_ms is not None else ""
    return [f"! {not_sent}{event.reason}{again}"]


_RENDERERS: Final[dict[type[Event], Callable[[Any], list[str]]]] = {
    Message: lambda event: [_line_of(event)],
    Joined: _joined,
    Renamed: lambda event: [f"* you are {event.name} in {event.room}"],
    Sent: lambda event: [f"* sent to {event.name}"],
    DirectMessage: lambda event: [f"* {_shown(event.sender)} to you alone: {event.text}"],
    HistoryPage: _history_page,
    Members: _members,
    RoomList: _rooms,
    HelpText: lambda event: [f"* {line}" for line in _HELP],
    Error: _error,
}
