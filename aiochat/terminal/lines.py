"""Events as lines to read, in the words of the text codec."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from aiochat.codecs.text import TextCodec, clean
from aiochat.errors import Reply
from aiochat.messages import Direct, Entry, Error, Event, HistoryPage, Joined, Message, Presence, Publish
from aiochat.sdk import CaughtUp, ChatEvent, Disconnected

ON_ENTRY: Final = 20  # of what was said, for who comes in
_codec: Final = TextCodec()


class Line(msgspec.Struct, frozen=True):
    """One line, which drives nobody's terminal; `name` is whose it is, if it begins with it."""

    text: str
    name: str | None = None


def notice(text: str) -> Line:
    """What the client itself has to say."""
    return Line(clean(f"* {text}"))


def refusal(reply: Reply, command: object) -> Iterator[Line]:
    """What was refused, and why."""
    if isinstance(command, Publish) and reply.code == "unavailable":  # one of the attempts may have come through
        return iter([Line(clean(f"! perhaps not sent: {reply.reason}"))])
    was = "publish" if isinstance(command, Publish | Direct) else None
    return _told(Error(command=was, code=reply.code, reason=reply.reason, retry_after_ms=reply.retry_after_ms))


def lines(event: ChatEvent, client: str) -> Iterator[Line]:
    """What to show of an event to `client`."""
    if isinstance(event, Joined):
        yield from _entries(event.messages[-ON_ENTRY:])
        yield from _told(msgspec.structs.replace(event, messages=()))
    elif isinstance(event, HistoryPage) and event.messages:
        count = len(event.messages)
        yield notice(f"the last {f'{count} lines' if count > 1 else 'line'} of {event.room}:")
        yield from _entries(event.messages)
    elif isinstance(event, Message):
        yield _said(event)
    elif isinstance(event, Disconnected):
        yield notice("reconnecting ...")
    elif isinstance(event, CaughtUp):
        missed = f"{event.messages} missed message{'s' if event.messages > 1 else ''}"
        yield notice(f"caught up, {missed}" if event.messages else "connected again")
    elif isinstance(event, Presence):
        yield from _told(_of_others(event, client))
    elif isinstance(event, Event):
        yield from _told(event)


def _told(event: Event) -> Iterator[Line]:
    return (Line(line.decode()) for line in _codec.encode_event(event))


def _entries(entries: Iterable[Entry]) -> Iterator[Line]:
    return (_said(entry) for entry in entries if isinstance(entry, Message))


def _said(message: Message) -> Line:
    text = _codec.encode_entry(message).decode()
    sender = message.sender
    name = clean(sender.name) if sender is not None and sender.name is not None else None
    return Line(text, name if name is not None and text.startswith(f"{name}:") else None)


def _of_others(presence: Presence, client: str) -> Presence:
    came = tuple(sender for sender in presence.came if sender.client != client)
    renamed = tuple(renaming for renaming in presence.renamed if renaming.client != client)
    return msgspec.structs.replace(presence, came=came, renamed=renamed)
