"""Events: what a client is told. Times are in milliseconds, `ts` since 1970."""

from typing import Any, Final

import msgspec

from aiochat.messages.fields import Id, snake_case


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag=snake_case):
    """What a client is told. Fields that are absent are left out."""


class Answer(Event, frozen=True, kw_only=True):
    """An event that answers a command, and repeats its `id`."""

    id: Id | None = None


class Sender(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who speaks in a room: a session's id, the verified user if there is one, the name if it has one."""

    client: str | None = None
    name: str | None = None
    user: str | None = None


class Message(Event, frozen=True):
    """One entry of a room log. `offset` counts 1, 2, 3, ... in the room. In history, one that was erased has
    `erased: true` and neither `text` nor `data` nor `sender`.
    """

    room: str
    offset: int
    ts: int
    sender: Sender | None = None
    text: str | None = None
    data: Any = None
    key: str | None = None
    erased: bool = False


class Erased(Event, frozen=True):
    """An entry of the room log that takes back the message at offset `target`."""

    room: str
    offset: int
    ts: int
    target: int


Entry = Message | Erased


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What a client may do. Where there is no limit, 0."""

    message_bytes: int
    rooms: int
    messages_per_second: float
    burst_messages: int
    history_messages: int
    key_ms: int
    session_ms: int


class Welcome(Event, frozen=True, kw_only=True):
    """First on every connection. `valid_ms` is for how long the access token holds, where one was shown."""

    protocol: int
    features: tuple[str, ...]
    client: str
    user: str | None = None
    server: str
    ping_interval_ms: int
    limits: Limits
    valid_ms: int | None = None


class Session(Event, frozen=True):
    """What to `resume` with after a break. A new one comes long before the old one is void."""

    resume: str
    valid_ms: int


class Joined(Answer, frozen=True, kw_only=True):
    """`offset` is the newest delivered, `members` a count, `messages` the newest ones or those missed, oldest first.

    When catching up, `recovered` says whether nothing is missing; `more` that this client is not live in the room yet
    and asks on with `join` and `since`, the last offset of the page.
    """

    room: str
    name: str | None = None
    epoch: str
    offset: int
    members: int
    messages: tuple[Entry, ...]
    recovered: bool | None = None
    more: bool | None = None


class Left(Answer, frozen=True, kw_only=True):
    """`reason` is there where the server took the client out: `stalled`, who did not ask on while catching up, or
    at a `resume`, the code of the error: `unavailable` when the log could not be read, `bad_room` and so on; or whom
    the rights of a new access token do not let stay: `forbidden`.
    """

    room: str
    reason: str | None = None


class Ack(Answer, frozen=True, kw_only=True):
    """The message is in the room log at `offset`. `repeated`: it was before, under the same `key`."""

    room: str
    offset: int
    ts: int
    key: str | None = None
    repeated: bool = False


class Resumed(Answer, frozen=True, kw_only=True):
    """The session goes on: `client` is its id again."""

    client: str


class Refreshed(Answer, frozen=True, kw_only=True):
    """The new access token holds until `expires`, in milliseconds since 1970, which is for `valid_ms`."""

    expires: int
    valid_ms: int | None = None


class Sent(Answer, frozen=True, kw_only=True):
    """To how many connections a `direct` went; `name` is whom it was addressed to, if by name."""

    connections: int
    name: str | None = None


class DirectMessage(Event, frozen=True, kw_only=True, tag="direct"):
    """What somebody says to this client alone; `room` is where they are both, if it was addressed by name."""

    sender: Sender
    ts: int
    room: str | None = None
    text: str | None = None
    data: Any = None


class HistoryPage(Answer, frozen=True, kw_only=True, tag="history"):
    """Oldest first; `more` in the direction asked."""

    room: str
    epoch: str
    messages: tuple[Entry, ...]
    more: bool


class Members(Answer, frozen=True, kw_only=True):
    """At most 200 of a room's `count` members."""

    room: str
    count: int
    members: tuple[Sender, ...]


class RoomInfo(msgspec.Struct, frozen=True, gc=False):
    """A room and how many are in it."""

    room: str
    members: int


class RoomList(Answer, frozen=True, kw_only=True, tag="rooms"):
    """At most 100 of `count` rooms, the fullest first."""

    count: int
    rooms: tuple[RoomInfo, ...]


class Renamed(Answer, frozen=True, kw_only=True):
    """The name that was given: where the one asked for is taken, one with a number."""

    room: str
    name: str


class Result(Answer, frozen=True, kw_only=True):
    """What the embedding application's function returned."""

    data: Any = None


class Pong(Answer, frozen=True, kw_only=True):
    """Alive."""


class HelpText(Event, frozen=True, tag="help"):
    """The list of slash commands, of the text codec alone."""


class Renaming(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One who is called `name` now, and `was` called otherwise."""

    client: str | None
    was: str
    name: str
    user: str | None = None


class Presence(Event, frozen=True, kw_only=True):
    """Who came, went and was renamed since the last one; in a large room only how many `members` there are."""

    room: str
    members: int
    came: tuple[Sender, ...] = ()
    went: tuple[Sender, ...] = ()
    renamed: tuple[Renaming, ...] = ()


class TypingNow(Event, frozen=True, kw_only=True, tag="typing"):
    """Who typed since the last one, 20 at most."""

    room: str
    senders: tuple[Sender, ...]


class Gap(Event, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Messages `from` `to` of this `epoch` that this client cannot be given. Without those two the log has begun anew:
    `epoch` is the new one and `offset` the newest delivered of it. It comes before what it explains.
    """

    room: str
    epoch: str
    from_: int | None = None
    to: int | None = None
    offset: int | None = None


class Error(Answer, frozen=True, kw_only=True):
    """A refused command: `code` for programs, `reason` for people, `field` what was wrong.

    `retry_after_ms` says when to try again; where it is absent, trying again is no use.
    """

    command: str | None = None
    code: str
    field: str | None = None
    reason: str
    retry_after_ms: int | None = None


class Goodbye(Event, frozen=True, kw_only=True):
    """Last before a close by the server. `reconnect` is there where it differs from what the code's range says;
    `after_ms` is how long to wait before coming back.
    """

    code: int
    reason: str
    reconnect: bool | None = None
    after_ms: int | None = None


EVENTS: Final = (
    Welcome, Session, Joined, Left, Message, Erased, Ack, Resumed, Refreshed, Sent, DirectMessage, HistoryPage, Members,
    RoomList, Renamed, Result, Pong, Presence, TypingNow, Gap, Error, Goodbye,
)  # fmt: skip
