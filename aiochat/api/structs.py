"""What the API reads and answers. Nothing that these structs do not name is taken; times are in Unix milliseconds."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aiochat.limits.bans import MAX_REASON, MAX_USER
from aiochat.listing import ClientState
from aiochat.messages import Offset, RoomInfo, Sender
from aiochat.names import MAX_ROOM_BYTES

MAX_BAN_SECONDS: Final = 1e9

_PageLimit = Annotated[int, Meta(ge=1, le=300)]
_Cursor = Annotated[str, Meta(max_length=1 + MAX_USER)]
UserId = Annotated[str, Meta(min_length=1, max_length=MAX_USER)]
RoomName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_ROOM_BYTES,
        description=f"At most {MAX_ROOM_BYTES} bytes of UTF-8.",
        extra_json_schema={"pattern": r"^[\p{L}\p{N}][\p{L}\p{M}\p{N}_.:-]*$"},
    ),
]


class Query(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a URL may say behind its question mark."""


class Paged(Query, frozen=True):
    """So many, behind the `cursor` that the page before ended with."""

    limit: _PageLimit = 100
    cursor: _Cursor = ""


class ClientsWanted(Paged, frozen=True):
    """Only those of a user, or in a room."""

    user: UserId | UnsetType = UNSET
    room: RoomName | UnsetType = UNSET


class MessagesWanted(Query, frozen=True):
    """The newest, or the last ones `before` an offset, or the first ones `after` one."""

    limit: _PageLimit = 100
    before: Offset | UnsetType = UNSET
    after: Offset | UnsetType = UNSET


class Body(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a request may hold."""


class NewMessage(Body, frozen=True):
    """`text`, `data`, which is whatever JSON can say, or both; `name` is who is shown to say it, and may be nobody."""

    text: str | None = None
    data: Any = None
    name: str | None = None


class NewBan(Body, frozen=True):
    """The `reason` is what those are told whom it is about; it ends after so many `seconds`, or when it is lifted."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""
    seconds: Annotated[float, Meta(gt=0, le=MAX_BAN_SECONDS)] | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is absent is left out."""


class Failure(Answer, frozen=True):
    """A refusal: `code` for programs, `reason` for people, `field` what was wrong; the log has the `request_id`, too.

    Where there is `retry_after_ms`, trying again then is of use.
    """

    code: str
    reason: str
    request_id: str
    field: str | None = None
    retry_after_ms: int | None = None


class Rooms(Answer, frozen=True):
    """Those with somebody in them; with a `cursor` there are more."""

    rooms: Sequence[RoomInfo]
    cursor: str | None = None


class MessagePublished(Answer, frozen=True):
    """It is in the room log, at this offset under this epoch; `repeated`: it was before, under the same key."""

    room: str
    epoch: str
    offset: int
    ts: int
    repeated: bool = False


class MessageErased(Answer, frozen=True):
    """The message at offset `target` is taken back by the entry at `offset`."""

    room: str
    epoch: str
    offset: int
    ts: int
    target: int


class RoomMembers(Answer, frozen=True):
    """Of the `count` members; with a `cursor` there are more."""

    room: str
    count: int
    members: Sequence[Sender]
    cursor: str | None = None


class MessageSent(Answer, frozen=True):
    """To so many connections of the user."""

    user: str
    connections: int


class BanInForce(Answer, frozen=True):
    """Of a `user`, or of an `address`, which is a network in CIDR form; without `expires` until it is lifted."""

    user: str | None = None
    address: str | None = None
    reason: str = ""
    expires: int | None = None


class Bans(Answer, frozen=True):
    """Those in force; with a `cursor` there are more."""

    bans: Sequence[BanInForce]
    cursor: str | None = None


class Clients(Answer, frozen=True):
    """Those connected; with a `cursor` there are more."""

    clients: Sequence[ClientState]
    cursor: str | None = None
