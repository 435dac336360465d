"""What each command does, one function a command, within the hub's turn. A refusal is a `Reply`."""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiochat.client import Client
from aiochat.errors import Close, Reply, StoreError, unavailable
from aiochat.messages import (
    Command,
    Direct,
    DirectMessage,
    Help,
    HelpText,
    History,
    HistoryPage,
    Join,
    Joined,
    Leave,
    Members,
    Publish,
    Quit,
    Rename,
    Renamed,
    RoomInfo,
    RoomList,
    Rooms,
    Sender,
    Sent,
    Who,
)
from aiochat.names import GUEST, display_name, room_name
from aiochat.room import Room
from aiochat.roomlog import Draft, Page, content_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub

LOBBY: Final = "lobby"
_HISTORY_ON_JOIN: Final = 20
_LIST_MEMBERS: Final = 200
_LIST_ROOMS: Final = 100


def _publish(hub: "Hub", client: Client, command: Publish) -> None:
    room = _room_of(client, command.room) if command.room is not None or not client.rooms else client.rooms[0]
    text, data = command.text, command.data
    hub.log.add(room, Draft(room.members[client], text, data, hub.ts, content_bytes(text, data), client))


def _join(hub: "Hub", client: Client, command: Join) -> None:
    name = client.name if command.name is None else display_name(command.name)
    enter(hub, client, room_name(command.room), name)


def _leave(hub: "Hub", client: Client, command: Leave) -> None:
    enter(hub, client, LOBBY, client.name)


def enter(hub: "Hub", client: Client, room: str, name: str | None, *, quiet: bool = False) -> None:
    """Make `client` a member once the log has told where the room stands; its commands wait until then."""
    allowed = hub.config.limits.max_rooms_per_client
    is_member = any(joined.name == room for joined in client.rooms)
    if not client.codec.single_room and len(client.rooms) >= allowed and not is_member:
        raise Reply("too_many_rooms", f"a client may be in {allowed} rooms at once", field="room")
    client.waiting = True
    limit = 0 if name is None else _HISTORY_ON_JOIN
    hub.log.read(room, limit, partial(_entered, hub, client, room, name, quiet))


def _entered(hub: "Hub", client: Client, name: str, called: str | None, quiet: bool, result: Page | StoreError) -> None:
    hub.go_on(client)
    room = hub.room(name)
    if room not in client.rooms:
        if client.codec.single_room:
            leave_all(hub, client)
        if called is not None:
            called = hub.directory.claim(name, called, client.id)
        client.name = called
        client.rooms += (room,)
        room.add(client, Sender(client.id, called))
    if not quiet:
        page = Page("", 0, ()) if isinstance(result, StoreError) else result
        called = room.members[client].name
        hub.answer(client, Joined(name, called, page.epoch, page.newest, len(room.members), page.messages))


def leave_all(hub: "Hub", client: Client) -> None:
    """Take `client` out of every room it is in."""
    rooms, client.rooms = client.rooms, ()
    for room in rooms:
        sender = room.remove(client)
        if sender.name is not None:
            hub.directory.release(room.name, sender.name)
        hub.forget_if_idle(room)


def _rename(hub: "Hub", client: Client, command: Rename) -> None:
    room = _room_of(client, command.room)
    old = room.members[client].name
    new = hub.directory.claim(room.name, display_name(command.name), client.id)
    if old is not None and hub.directory.holder(room.name, old) == client.id:
        hub.directory.release(room.name, old)
        new = hub.directory.claim(room.name, new, client.id)
    client.name = new
    room.members[client] = Sender(client.id, new)
    hub.answer(client, Renamed(room.name, new))


def _direct(hub: "Hub", client: Client, command: Direct) -> None:
    room = _room_of(client, command.room)
    name = command.name if command.name.startswith(GUEST) else display_name(command.name)
    target = hub.clients.get(hub.directory.holder(room.name, name) or name.removeprefix(GUEST))
    if target is None or target not in room.members:
        raise Reply("no_such_client", f"nobody in {room.name} is called {name}", field="name")
    hub.answer(target, DirectMessage(room.name, room.members[client], command.text))
    hub.answer(client, Sent(name, 1))


def _history(hub: "Hub", client: Client, command: History) -> None:
    room = _room_of(client, command.room)
    client.waiting = True
    hub.log.read(room.name, command.limit, partial(_history_read, hub, client, room, command))


def _history_read(hub: "Hub", client: Client, room: Room, command: History, result: Page | StoreError) -> None:
    hub.go_on(client)
    if isinstance(result, StoreError):
        hub.refuse(client, unavailable(), command)
    else:
        hub.answer(client, HistoryPage(room.name, result.epoch, result.messages))


def _who(hub: "Hub", client: Client, command: Who) -> None:
    room = _room_of(client, command.room)
    hub.answer(client, Members(room.name, len(room.members), tuple(islice(room.members.values(), _LIST_MEMBERS))))


def _rooms(hub: "Hub", client: Client, command: Rooms) -> None:
    if hub.room_list is None:
        hub.room_list = _list_rooms(hub)
    hub.answer(client, hub.room_list)


def _list_rooms(hub: "Hub") -> RoomList:
    fullest = heapq.nlargest(_LIST_ROOMS, hub.rooms.values(), key=lambda room: len(room.members))
    return RoomList(len(hub.rooms), tuple(RoomInfo(room.name, len(room.members)) for room in fullest))


def _help(hub: "Hub", client: Client, command: Help) -> None:
    hub.answer(client, HelpText())


def _quit(hub: "Hub", client: Client, command: Quit) -> None:
    hub.finish(client, Close.NORMAL, "bye")


def _refused(hub: "Hub", client: Client, reply: Reply) -> None:
    hub.refuse(client, reply, reply)


def _room_of(client: Client, name: str | None) -> Room:
    if name is None and client.rooms and client.codec.single_room:
        return client.rooms[0]
    wanted = None if name is None else room_name(name)
    for room in client.rooms:
        if room.name == wanted:
            return room
    raise Reply("not_joined", "join the room first", field="room")


COMMANDS: Final[dict[type, Callable[["Hub", Client, Any], None]]] = {
    Direct: _direct,
    Help: _help,
    History: _history,
    Join: _join,
    Leave: _leave,
    Publish: _publish,
    Quit: _quit,
    Rename: _rename,
    Reply: _refused,
    Rooms: _rooms,
    Who: _who,
}
COSTS: Final[dict[type[Command | Reply], int]] = {History: 10, Rooms: 10, Who: 10}  # all others cost 1
