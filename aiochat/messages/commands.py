"""Commands: what a client asks for. Answers are named in each one's docstring."""

from typing import Any, Final

import msgspec

from aiochat.messages.fields import Id, Key, Limit, Offset, Position, snake_case


class Command(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag_field="type", tag=snake_case
):
    """What a client asks for; the answer repeats the `id`."""

    id: Id | None = None


class Join(Command, frozen=True, kw_only=True):
    """Come into a room, or catch up with it from `since` on; answered by `joined`."""

    room: str
    name: str | None = None
    since: Position | None = None
    limit: Limit | None = None


class Leave(Command, frozen=True, kw_only=True):
    """Go out of a room; answered by `left`."""

    room: str


class Publish(Command, frozen=True, kw_only=True):
    """Say `text`, `data` or both to a room; answered by `ack` once it is in the room log.

    The same `key` from the same session in the room within `limits.key_ms` of `welcome` is one message, however often
    it is published.
    """

    room: str
    text: str | None = None
    data: Any = None
    key: Key | None = None


class Resume(Command, frozen=True, kw_only=True):
    """Go on with the session of the `token` that the last `session` held, in these rooms; answered by `resumed`, then
    one `joined` a room. Only as the first command, on a connection that names neither room nor name in its URL.
    """

    token: str
    rooms: dict[str, Position] | None = None


class Refresh(Command, frozen=True, kw_only=True):
    """Give a new access token before the old one expires; answered by `refreshed`."""

    token: str


class Direct(Command, frozen=True, kw_only=True):
    """Say `text`, `data` or both to one client, to all of a user's, or to who is called `name` in a `room` where both
    are: exactly one of the three. Not kept in any log; answered by `sent`.
    """

    client: str | None = None
    user: str | None = None
    name: str | None = None
    room: str | None = None
    text: str | None = None
    data: Any = None


class Typing(Command, frozen=True, kw_only=True):
    """Tell a room that one is writing; not answered."""

    room: str


class History(Command, frozen=True, kw_only=True):
    """Read what a room said, `before` or `after` an offset, or the newest; answered by `history`."""

    room: str
    before: Offset | None = None
    after: Offset | None = None
    epoch: str | None = None
    limit: Limit | None = None


class Who(Command, frozen=True, kw_only=True):
    """Who is in a room; answered by `members`."""

    room: str


class Rooms(Command, frozen=True, kw_only=True):
    """Which rooms there are; answered by `rooms`."""


class Rename(Command, frozen=True, kw_only=True):
    """Be called `name` in a room; answered by `renamed`."""

    room: str
    name: str


class Call(Command, frozen=True, kw_only=True):
    """Call a function of the embedding application; answered by `result`."""

    method: str
    data: Any = None


class Ping(Command, frozen=True, kw_only=True):
    """Answered by `pong`: a browser page cannot send a ping of WebSocket's own."""


class Help(Command, frozen=True):
    """`/help`, of the text codec alone."""


class Quit(Command, frozen=True):
    """`/quit`, of the text codec alone."""


COMMANDS: Final = (
    Join, Leave, Publish, Resume, Refresh, Direct, Typing, History, Who, Rooms, Rename, Call, Ping,
)  # fmt: skip
