"""The table of what the API can do. http routes by it and openapi describes it, so that they agree."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from aiochat.api import structs
from aiochat.api.administration import Administration, MessagePage, RoomState
from aiochat.errors import Reply
from aiochat.limits.bans import Ban
from aiochat.limits.bans import Bans as BanList
from aiochat.listing import page_of
from aiochat.messages import Offset
from aiochat.names import room_name

_LIST_COST: Final = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: what it names in its path, what its query and body say, and its `Idempotency-Key`."""

    administration: Administration
    bans: BanList
    path: Mapping[str, Any]
    query: Any
    body: Any
    key: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """`answers` are the structs by status, `errors` what may be refused beside what every operation refuses.

    A `cost` is in requests, of the API's budget.
    """

    method: str
    path: str
    run: Callable[[Call], Awaitable[tuple[int, Any]]]
    answers: Mapping[int, type | None]
    errors: tuple[str, ...] = ()
    query: type[structs.Query] = structs.Query
    body: type[structs.Body] | None = None
    is_keyed: bool = False
    cost: int = 1

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def changes(self) -> bool:
        """Whether the log has a line of each call."""
        return self.method != "GET"


async def list_rooms(call: Call) -> tuple[int, Any]:
    """The rooms with somebody in them, by name. One in which nobody is has a history perhaps, and is not listed."""
    rooms, cursor = await call.administration.rooms(call.query.limit, call.query.cursor)
    return 200, structs.Rooms(rooms, cursor)


async def show_room(call: Call) -> tuple[int, Any]:
    """A room with somebody in it or something in its history."""
    return 200, await call.administration.room(call.path["room"])


async def delete_room(call: Call) -> tuple[int, Any]:
    """Throw a room's history away. It goes on under another epoch, with offsets from 1, and its members, who stay, are
    told so by a `gap`.
    """
    return 200, await call.administration.delete_room(call.path["room"])


async def publish_message(call: Call) -> tuple[int, Any]:
    """Say something in a room. The answer comes once it is in the room's history; 200 instead of 201, and `repeated`,
    where it was before under the same `Idempotency-Key`.
    """
    room, body = call.path["room"], call.body
    publish = partial(call.administration.publish, room, body.text, body.data, body.name, call.key)
    published = await _checked(publish)
    answer = structs.MessagePublished(room, published.epoch, published.offset, published.ts, published.repeated)
    return 200 if published.repeated else 201, answer


async def list_messages(call: Call) -> tuple[int, Any]:
    """What was said in a room, oldest first: the newest messages, or those `before` or `after` an offset."""
    query = call.query
    before, after = _given(query.before), _given(query.after)
    if before is not None and after is not None:
        raise Reply("bad_message", "takes before or after, not both", field="after")
    return 200, await call.administration.messages(call.path["room"], query.limit, before, after)


async def erase_message(call: Call) -> tuple[int, Any]:
    """Take a message back: its content is gone from the history, and the room's members are told."""
    room, target = call.path["room"], call.path["offset"]
    erased = await call.administration.erase(room, target)
    return 200, structs.MessageErased(room, erased.epoch, erased.offset, erased.ts, target)


async def list_members(call: Call) -> tuple[int, Any]:
    """Who is in a room, by the clients' ids."""
    room = call.path["room"]
    members, cursor, count = await call.administration.members(room, call.query.limit, call.query.cursor)
    return 200, structs.RoomMembers(room, count, members, cursor)


async def send_to_user(call: Call) -> tuple[int, Any]:
    """Say something to all clients of a user. It is in no history: who is not connected misses it."""
    user, body = call.path["user"], call.body
    sent = await _checked(partial(call.administration.direct, user, body.text, body.data, body.name))
    return 200, structs.MessageSent(user, sent)


async def list_clients(call: Call) -> tuple[int, Any]:
    """Who is connected, by the clients' ids: all, or those of a `user`, or in a `room`."""
    query = call.query
    user, room = _given(query.user), _given(query.room)
    wanted = None if room is None else room_name(room)
    clients, cursor = await call.administration.clients(query.limit, query.cursor, user=user, room=wanted)
    return 200, structs.Clients(clients, cursor)


async def kick_client(call: Call) -> tuple[int, Any]:
    """End a client's connection, with the Close code 4410. It may connect again: a ban is what stops it."""
    await call.administration.kick(call.path["client"])
    return 204, None


async def list_bans(call: Call) -> tuple[int, Any]:
    """The bans in force."""
    bans = {f"{ban.user is None:d}{ban.user or ban.address}": ban for ban in call.bans.listed()}
    keys, cursor = page_of(bans, call.query.limit, call.query.cursor)
    return 200, structs.Bans([_in_force(bans[key]) for key in keys], cursor)


async def ban_user(call: Call) -> tuple[int, Any]:
    """Keep a user out, over an earlier ban: the connections it has end with the Close code 4403."""
    return 200, _in_force(call.bans.ban_user(call.path["user"], call.body.reason, call.body.seconds))


async def lift_user_ban(call: Call) -> tuple[int, Any]:
    """Let a user in again."""
    return _lifted(call.bans.lift_user(call.path["user"]))


async def ban_address(call: Call) -> tuple[int, Any]:
    """Keep an address, or a network such as 192.0.2.0/24, out. An IPv6 address without a prefix is its /64."""
    return 200, _in_force(call.bans.ban_address(call.path["address"], call.body.reason, call.body.seconds))


async def lift_address_ban(call: Call) -> tuple[int, Any]:
    """Let an address or network in again."""
    return _lifted(call.bans.lift_address(call.path["address"]))


def _given(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


async def _checked(say: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await say()
    except (TypeError, ValueError) as error:
        raise Reply("bad_message", str(error), field="data" if str(error).startswith("data") else "text") from None


def _in_force(ban: Ban) -> structs.BanInForce:
    expires = None if ban.expires is None else int(ban.expires * 1000)
    return structs.BanInForce(ban.user, ban.address, ban.reason, expires)


def _lifted(was_there: bool) -> tuple[int, None]:
    if not was_there:
        raise Reply("no_such_ban", "there is no such ban")
    return 204, None


# What paths name: how each is read, and its type in the description.
_ClientId = Annotated[str, Meta(min_length=1, max_length=64)]
_Address = Annotated[str, Meta(min_length=1, max_length=64, examples=["192.0.2.7", "192.0.2.0/24", "2001:db8::/32"])]
NAMES: Final[Mapping[str, tuple[Callable[[str], Any], Any]]] = {
    "room": (room_name, structs.RoomName),
    "offset": (partial(msgspec.convert, type=Offset, strict=False), Offset),
    "client": (partial(msgspec.convert, type=_ClientId), _ClientId),
    "user": (partial(msgspec.convert, type=structs.UserId), structs.UserId),
    "address": (partial(msgspec.convert, type=_Address), _Address),
}

_ROOM: Final = ("bad_room",)
_SAID: Final = ("too_long", "bad_name")

OPERATIONS: Final = (
    Operation("GET", "rooms", list_rooms, {200: structs.Rooms}, query=structs.Paged, cost=_LIST_COST),
    Operation("GET", "rooms/{room}", show_room, {200: RoomState}, (*_ROOM, "no_such_room")),
    Operation("DELETE", "rooms/{room}", delete_room, {200: RoomState}, (*_ROOM, "no_such_room")),
    Operation(
        *("POST", "rooms/{room}/messages", publish_message),
        {201: structs.MessagePublished, 200: structs.MessagePublished},
        (*_ROOM, *_SAID, "key_reused"),
        body=structs.NewMessage,
        is_keyed=True,
    ),
    Operation(
        *("GET", "rooms/{room}/messages", list_messages, {200: MessagePage}, (*_ROOM, "forbidden")),
        query=structs.MessagesWanted,
        cost=_LIST_COST,
    ),
    Operation(
        *("DELETE", "rooms/{room}/messages/{offset}", erase_message),
        {200: structs.MessageErased},
        (*_ROOM, "no_such_message"),
    ),
    Operation(
        *("GET", "rooms/{room}/members", list_members, {200: structs.RoomMembers}, _ROOM),
        query=structs.Paged,
        cost=_LIST_COST,
    ),
    Operation(
        *("POST", "users/{user}/messages", send_to_user, {200: structs.MessageSent}, (*_SAID, "no_such_client")),
        body=structs.NewMessage,
        cost=_LIST_COST,
    ),
    Operation(
        *("GET", "clients", list_clients, {200: structs.Clients}, _ROOM), query=structs.ClientsWanted, cost=_LIST_COST
    ),
    Operation("DELETE", "clients/{client}", kick_client, {204: None}, ("no_such_client",)),
    Operation("GET", "bans", list_bans, {200: structs.Bans}, query=structs.Paged, cost=_LIST_COST),
    Operation(
        *("PUT", "bans/users/{user}", ban_user, {200: structs.BanInForce}, ("too_many_bans",)), body=structs.NewBan
    ),
    Operation("DELETE", "bans/users/{user}", lift_user_ban, {204: None}, ("no_such_ban",)),
    Operation(
        *("PUT", "bans/addresses/{address}", ban_address, {200: structs.BanInForce}, ("too_many_bans",)),
        body=structs.NewBan,
    ),
    Operation("DELETE", "bans/addresses/{address}", lift_address_ban, {204: None}, ("no_such_ban",)),
)
