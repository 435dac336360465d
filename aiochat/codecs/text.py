"""`aiochat.v1.text`: one line of chat per WebSocket message, for wscat and what was written for the Go tutorial chat.

A line that begins with `/` is a command (`//` sends a slash); notices begin with `* `, errors with `! `.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from aiochat.errors import UNCONFIRMED, Close, Disconnect, Reply
from aiochat.frames import text_frames
from aiochat.messages import (
    HERE,
    Command,
    Direct,
    DirectMessage,
    Entry,
    Error,
    Event,
    Gap,
    Help,
    HelpText,
    History,
    HistoryPage,
    Join,
    Joined,
    Leave,
    Left,
    Members,
    Message,
    Presence,
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
_MAX_NAMES: Final = 10  # in one line of who came or went
_ACTION: Final = {"action": True}  # the `data` of a `/me` line
_BREAK: Final = re.compile(r"\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_WITHOUT_CONTROL: Final = bytes(63 if byte < 32 or byte == 127 else byte for byte in range(256))
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

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
    """One line that drives nobody's terminal: breaks become spaces, control and bidi characters U+FFFD."""
    return _CONTROL.sub("\ufffd", _BREAK.sub(" ", text))


class TextCodec:
    """Lines in, lines out. What is ASCII and unchanged by `_WITHOUT_CONTROL` need not be cleaned, which costs more."""

    subprotocol: Final = "aiochat.v1.text"
    is_text: Final = True

    def decode(self, payload: bytes, is_binary: bool) -> Sequence[Command | Reply]:
        try:
            line = payload.decode().strip()
        except UnicodeDecodeError:
            raise Disconnect(Close.NOT_UTF8, "not UTF-8") from None
        if not (payload.isascii() and payload.translate(_WITHOUT_CONTROL) == payload):
            line = clean(line)
        if not line:
            return ()
        return (Publish(room=HERE, text=line) if line[0] != "/" else _command(line),)

    def encode_entry(self, entry: Entry) -> bytes:
        if type(entry) is not Message:
            return b""
        if entry.data is None and entry.text:  # the usual one, without the call
            name = None if entry.sender is None else entry.sender.name
            line = entry.text if name is None else f"{name}: {entry.text}"
        else:
            line = _line_of(entry)
        if line.isascii():
            payload = line.encode()
            if payload.translate(_WITHOUT_CONTROL) == payload:
                return payload
        return clean(line).encode("utf-8", "replace")

    def encode_event(self, event: Event) -> Sequence[bytes]:
        render = _RENDERERS.get(type(event))
        return [clean(line).encode("utf-8", "replace") for line in render(event)] if render else ()

    frame = staticmethod(text_frames)


class GuestTextCodec(TextCodec):
    """Where some are verified users, who has no name is shown as `guest-ID`, and passes for nobody."""

    def encode_entry(self, entry: Entry) -> bytes:
        return super().encode_entry(_as_guest(entry))

    def encode_event(self, event: Event) -> Sequence[bytes]:
        if isinstance(event, Joined | HistoryPage):
            event = msgspec.structs.replace(event, messages=tuple(map(_as_guest, event.messages)))
        return super().encode_event(event)


def _as_guest(entry: Entry) -> Entry:
    sender = entry.sender if isinstance(entry, Message) else None
    if sender is None or sender.name is not None or sender.client is None:
        return entry
    return msgspec.structs.replace(entry, sender=msgspec.structs.replace(sender, name=_shown(sender)))


def _command(line: str) -> Command | Reply:
    if line.startswith("//"):
        return Publish(room=HERE, text=line[1:])
    word, _, rest = line[1:].partition(" ")
    parse = _COMMANDS.get(word.lower())
    if parse is None:
        return Reply("unknown_type", f"/{word[:32]} is not a command; /help lists them")
    return parse(rest.strip())


def _needs(usage: str, make: Callable[[str], Command]) -> Callable[[str], Command | Reply]:
    return lambda rest: make(rest) if rest else Reply("bad_message", f"it is {usage}")


def _direct(rest: str) -> Command | Reply:
    quoted = rest.startswith('"')
    name, _, text = rest[1:].partition('"') if quoted else rest.partition(" ")
    if not name or not text.strip():
        return Reply("bad_message", 'it is /msg NAME TEXT, or /msg "A NAME WITH SPACES" TEXT')
    return Direct(room=HERE, name=name, text=text.strip())


def _history(rest: str) -> Command | Reply:
    if not rest:
        return History(room=HERE, limit=HISTORY_LINES)
    if not (rest.isascii() and rest.isdigit() and len(rest) <= 6 and 1 <= int(rest) <= _MAX_HISTORY_LINES):
        return Reply("bad_message", f"it is /history N, with N from 1 to {_MAX_HISTORY_LINES}", field="limit")
    return History(room=HERE, limit=int(rest))


_COMMANDS: Final[dict[str, Callable[[str], Command | Reply]]] = {
    "help": lambda rest: Help(),
    "nick": _needs("/nick NAME", lambda name: Rename(room=HERE, name=name)),
    "join": _needs("/join ROOM", lambda room: Join(room=room)),
    "leave": lambda rest: Leave(room=HERE),
    "rooms": lambda rest: Rooms(),
    "who": lambda rest: Who(room=HERE),
    "msg": _direct,
    "me": _needs("/me ACTION", lambda action: Publish(room=HERE, text=action, data=_ACTION)),
    "history": _history,
    "quit": lambda rest: Quit(),
}


def _line_of(message: Message) -> str:
    if message.erased:
        return "* a message was erased"
    if message.text and message.data == _ACTION:
        return f"* {_shown(message.sender)} {message.text}"
    name = None if message.sender is None else message.sender.name
    content = _content(message)
    return content if name is None else f"{name}: {content}"


def _content(message: Message | DirectMessage) -> str:
    if message.text or message.data is None:
        return message.text or ""
    return msgspec.json.encode(message.data).decode()


def _history_lines(entries: Iterable[Entry]) -> list[str]:
    return [_line_of(entry) for entry in entries if isinstance(entry, Message)]


def _shown(sender: Sender | None) -> str:
    if sender is None:
        return "the server"
    if sender.name is not None:
        return sender.name
    return f"guest-{sender.client}" if sender.client is not None else sender.user or "the server"


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - _MAX_NAMES
    return ", ".join(parts[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _joined(event: Joined) -> list[str]:
    others = event.members - 1
    company = "nobody else is" if not others else "1 other is" if others == 1 else f"{others} others are"
    called = f" as {event.name}" if event.name is not None else ""
    return [*_history_lines(event.messages), f"* you are in {event.room}{called}; {company} here"]


def _left(event: Left) -> list[str]:
    return [] if event.reason is None else [f"* you are no longer in {event.room}: {event.reason}"]


def _presence(event: Presence) -> list[str]:
    came, went = [_shown(sender) for sender in event.came], [_shown(sender) for sender in event.went]
    renamed = [f"{renaming.was} is called {renaming.name}" for renaming in event.renamed]
    return [
        *([f"* {_some(came)} {'is' if len(came) == 1 else 'are'} here"] if came else []),
        *([f"* {_some(went)} {'has' if len(went) == 1 else 'have'} gone"] if went else []),
        *([f"* {_some(renamed)} now"] if renamed else []),
    ]


def _members(event: Members) -> list[str]:
    more = event.count - len(event.members)
    names = ", ".join(map(_shown, event.members)) + (f" and {more} more" if more else "")
    return [f"* {event.count} in {event.room}: {names}"]


def _rooms(event: RoomList) -> list[str]:
    more = event.count - len(event.rooms)
    lines = [f"* {info.room} ({info.members})" for info in event.rooms]
    return [*lines, f"* and {more} more rooms"] if more else lines


def _history_page(event: HistoryPage) -> list[str]:
    lines = _history_lines(event.messages)
    if not lines:
        return [f"* nothing was said in {event.room} yet"]
    count = f"{len(lines)} lines" if len(lines) > 1 else "line"
    return [f"* the last {count} of {event.room}:", *lines]


def _error(event: Error) -> list[str]:
    if event.command == "publish" and event.reason == UNCONFIRMED:  # who says it again may say it twice
        return [f"! perhaps not sent: {event.reason}"]
    not_sent = "not sent: " if event.command == "publish" else ""
    again = ", try again" if event.retry_after_ms is not None else ""
    return [f"! {not_sent}{event.reason}{again}"]


# A text client is told of nothing else.
_RENDERERS: Final[dict[type[Event], Callable[[Any], list[str]]]] = {
    Message: lambda event: [_line_of(event)],
    Joined: _joined,
    Left: _left,
    Renamed: lambda event: [f"* you are {event.name} in {event.room}"],
    Sent: lambda event: ["* sent" if event.name is None else f"* sent to {event.name}"],
    DirectMessage: lambda event: [f"* {_shown(event.sender)} to you alone: {_content(event)}"],
    HistoryPage: _history_page,
    Members: _members,
    Presence: _presence,
    RoomList: _rooms,
    HelpText: lambda event: [f"* {line}" for line in _HELP],
    Gap: lambda event: ["* some messages are missing here"],
    Error: _error,
}
