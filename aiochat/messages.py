"""Commands (from clients) and events (to clients): frozen structs, nothing else.

Every codec decodes to these commands and encodes these events; docs/protocol.md describes their fields.
"""

from typing import Any

import msgspec


def _snake_case(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


class Command(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=_snake_case):
    """What a client asks for. A `room` of None is the room a text client is in."""


class Join(Command, frozen=True):
    room: str
    name: str | None = None


class Leave(Command, frozen=True):
    room: str | None = None


class Publish(Command, frozen=True):
    text: str | None = None
    data: Any = None
    room: str | None = None


class Rename(Command, frozen=True):
    name: str
    room: str | None = None


class Direct(Command, frozen=True):
    name: str
    text: str
    room: str | None = None


class History(Command, frozen=True):
    limit: int
    room: str | None = None


class Who(Command, frozen=True):
    room: str | None = None


class Rooms(Command, frozen=True):
    pass


class Help(Command, frozen=True):
    """`/help`, of the text codec alone."""


class Quit(Command, frozen=True):
    """`/quit`, of the text codec alone."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag=_snake_case):
    """What a client is told."""


class Sender(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who speaks in a room: `name` is None for an unnamed text client, whose lines go out undecorated."""

    client: str | None = None
    name: str | None = None


class Message(Event, frozen=True):
    """One entry of a room log. `offset` counts 1, 2, 3, ... in the room; `ts` is in Unix milliseconds."""

    room: str
    offset: int
    ts: int
    sender: Sender
    text: str | None = None
    data: Any = None


class Joined(Event, frozen=True):
    """`members` is a count; `messages` are the newest of the room, oldest first."""

    room: str
    name: str | None
    epoch: str
    offset: int
    members: int
    messages: tuple[Message, ...] = ()


class Renamed(Event, frozen=True):
    room: str
    name: str


class Sent(Event, frozen=True):
    """The answer to `direct`: to how many connections it went."""

    name: str
    connections: int


class DirectMessage(Event, frozen=True, tag="direct"):
    room: str
    sender: Sender
    text: str


class HistoryPage(Event, frozen=True, tag="history"):
    room: str
    epoch: str
    messages: tuple[Message, ...]


class Members(Event, frozen=True):
    """At most 200 of a room's `count` members."""

    room: str
    count: int
    members: tuple[Sender, ...]


class RoomInfo(msgspec.Struct, frozen=True, gc=False):
    room: str
    members: int


class RoomList(Event, frozen=True, tag="rooms"):
    """At most 100 of `count` rooms, the fullest first."""

    count: int
    rooms: tuple[RoomInfo, ...]


class HelpText(Event, frozen=True, tag="help"):
    """The list of slash commands, of the text codec alone."""


class Error(Event, frozen=True):
    """A refused command; `retry_after_ms` is absent where trying again is no use."""

    code: str
    reason: str
    command: str | None = None
    field: str | None = None
    retry_after_ms: int | None = None
