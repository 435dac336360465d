"""What each command does, one function a command, within the hub's turn. A refusal is a `Reply`."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiochat.auth.identity import ANY_ROOM
from aiochat.auth.rules import OPEN, check_publish, may_join
from aiochat.client import Client
from aiochat.errors import Close, Reply, StoreError, no_such_client, unavailable
from aiochat.hooks.application import unknown_method
from aiochat.hooks.registry import Publication
from aiochat.joining import PAGE_ENTRIES, Coming, depart, enter, has_more, read
from aiochat.messages import (
    HERE,
    Call,
    Command,
    Direct,
    DirectMessage,
    Help,
    HelpText,
    History,
    HistoryPage,
    Join,
    Leave,
    Left,
    Members,
    Ping,
    Pong,
    Publish,
    Quit,
    Refresh,
    Rename,
    Renamed,
    Resume,
    RoomInfo,
    RoomList,
    Rooms,
    Sender,
    Sent,
    Typing,
    Who,
)
from aiochat.names import GUEST, display_name, room_name
from aiochat.room import Room
from aiochat.roomlog import Draft, Page, content_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub

LOBBY: Final = "lobby"
_LIST_MEMBERS: Final = 200
_LIST_ROOMS: Final = 100
_LOOK_AT_ROOMS: Final = 1000  # for those that a client may join


def _publish(hub: "Hub", client: Client, command: Publish) -> None:
    room = _room_of(client, command.room)
    if not command.text and command.data is None:
        raise Reply("bad_message", "a message has text, data or both", field="text")
    if room.rule is not OPEN or client.identity.publish is not ANY_ROOM:
        check_publish(client.identity, room.name, room.rule)
    if hub.application is None:
        _say(hub, client, room, command, command)
    else:
        say = partial(_say, hub, client, room, command)
        hub.application.review(client, room.members[client].name, command, room.name, say)


def _say(hub: "Hub", client: Client, room: Room, command: Publish, content: Publish | Publication) -> None:
    sender = room.members.get(client)
    if sender is None:  # the client was taken out while the application thought about it
        raise Reply("not_joined", "you are no longer in this room", field="room")
    text, data = content.text, content.data
    said = None if text is command.text and data is command.data else (command.text, command.data)
    publisher = client if client.codec.is_text else (client, command)
    size = content_bytes(text, data)
    hub.log.add(room, Draft(sender, text, data, hub.ts, size, publisher, command.key, said=said))


def _join(hub: "Hub", client: Client, command: Join) -> None:
    name = client.name if command.name is None else display_name(command.name)
    enter(hub, client, Coming(room_name(command.room), name, command, command.since, command.limit))


def _leave(hub: "Hub", client: Client, command: Leave) -> None:
    if client.codec.is_text:
        enter(hub, client, Coming(LOBBY, client.name, command))
        return
    room = _room_of(client, command.room)
    depart(hub, client, room)
    hub.answer(client, Left(id=command.id, room=room.name))


def _resume(hub: "Hub", client: Client, command: Resume) -> None:
    hub.greeter.resume(client, command)


def _refresh(hub: "Hub", client: Client, command: Refresh) -> None:
    hub.access.refresh(client, command)


def _rename(hub: "Hub", client: Client, command: Rename) -> None:
    room = _room_of(client, command.room)
    wanted = display_name(command.name)
    client.waiting = True
    if hub.cluster is not None:
        hub.cluster.rename(client, room.name, wanted, partial(_renamed, hub, client, room, command))
        return
    was = room.members[client]
    if was.name is not None:
        hub.directory.release(room.name, was.name, client.id)
    hub.directory.claim(room.name, wanted, client.id, client.user, partial(_renamed, hub, client, room, command))


def _renamed(hub: "Hub", client: Client, room: Room, command: Rename, name: str) -> None:
    hub.go_on(client)
    if client not in room.members:
        if hub.cluster is None:
            hub.directory.release(room.name, name, client.id)
        return
    was, now = room.members[client], Sender(client.id, name, client.user)
    room.members[client] = now
    if hub.cluster is None:
        hub.presence.renamed(room, was, now)
    hub.answer(client, Renamed(id=command.id, room=room.name, name=name))
    if client.codec.is_text:
        client.name = name
    else:
        hub.greeter.give_session(client)


def _direct(hub: "Hub", client: Client, command: Direct) -> None:
    if [command.client, command.user, command.name].count(None) != 2:
        raise Reply("bad_message", "direct takes exactly one of client, user and name", field="client")
    if not command.text and command.data is None:
        raise Reply("bad_message", "a message has text, data or both", field="text")
    name = command.name
    where, sender = None, Sender(client.id, client.name, client.user)
    if name is not None:
        if command.room is None:
            raise Reply("bad_message", "direct by name takes the room, too", field="room")
        room = _room_of(client, command.room)
        name = name if name.startswith(GUEST) else display_name(name)
        where, sender = room.name, room.members[client]
    message = DirectMessage(sender=sender, ts=hub.ts, room=where, text=command.text, data=command.data)
    if hub.cluster is not None:
        client.waiting = True
        hub.cluster.direct_as(command, message, name, partial(_sent, hub, client, command, name))
        return
    targets = [_called(hub, room, name)] if name is not None else _addressed(hub, command)
    for target in targets:
        hub.answer(target, message)
    hub.answer(client, Sent(id=command.id, connections=len(targets), name=name))


def _sent(hub: "Hub", client: Client, command: Direct, name: str | None, result: int | Reply) -> None:
    hub.go_on(client)
    if isinstance(result, Reply):
        hub.refuse(client, result, command)
    else:
        hub.answer(client, Sent(id=command.id, connections=result, name=name))


def _called(hub: "Hub", room: Room, name: str) -> Client:
    """Who is called so in the room; who has no name is called guest and its id."""
    is_guest = name.startswith(GUEST)
    holders = [name.removeprefix(GUEST)] if is_guest else hub.directory.holders(room.name, name)
    found = [holder for id in holders if (holder := hub.clients.get(id)) is not None and holder in room.members]
    if not found:
        raise Reply("no_such_client", f"nobody in {room.name} is called {name}", field="name")
    if len(found) > 1:
        raise Reply("ambiguous", f"several in {room.name} are called {name}: name one by client", field="name")
    return found[0]


def _addressed(hub: "Hub", command: Direct) -> Sequence[Client]:
    if command.client is not None:
        found = [hub.clients[command.client]] if command.client in hub.clients else []
    else:
        found = [client for client in hub.clients.values() if client.user == command.user]
    if not found:
        raise no_such_client("client" if command.client is not None else "user")
    return found


def _typing(hub: "Hub", client: Client, command: Typing) -> None:
    room = _room_of(client, command.room)
    check_publish(client.identity, room.name, room.rule)
    if hub.cluster is None:
        hub.presence.typing(room, room.members[client])
    elif room.rule.presence:
        hub.cluster.typing(room.name, room.members[client])


def _history(hub: "Hub", client: Client, command: History) -> None:
    if command.before is not None and command.after is not None:
        raise Reply("bad_message", "history takes before or after, not both", field="after")
    room = _room_of(client, command.room)
    if not room.rule.history:
        raise Reply("forbidden", f"nobody is shown what was said before in {room.name}", field="room")
    limit = hub.config.history.on_join if command.limit is None else command.limit
    client.waiting = True
    then = partial(_history_read, hub, client, room, command)
    read(hub, room.name, then, limit=min(limit, PAGE_ENTRIES), before=command.before, after=command.after)


def _history_read(hub: "Hub", client: Client, room: Room, command: History, result: Page | StoreError) -> None:
    hub.go_on(client)
    if isinstance(result, StoreError):
        hub.refuse(client, unavailable(), command)
        return
    if command.epoch is not None and command.epoch != result.epoch:
        reply = Reply("epoch_changed", "the room's log has begun anew under another epoch", field="epoch")
        hub.refuse(client, reply, command)
        return
    more = has_more(result, command.before, command.after)
    page = HistoryPage(id=command.id, room=room.name, epoch=result.epoch, messages=result.entries, more=more)
    hub.answer(client, page)


def _who(hub: "Hub", client: Client, command: Who) -> None:
    room = _room_of(client, command.room)
    if not room.rule.presence:
        raise Reply("forbidden", f"nobody is told who is in {room.name}", field="room")
    if hub.cluster is None:
        _listed(hub, client, room, command, (len(room.members), room.members.values()))
    else:
        client.waiting = True
        hub.cluster.members.steps.listed(room.name, _LIST_MEMBERS, partial(_who_found, hub, client, room, command))


def _who_found(
    hub: "Hub", client: Client, room: Room, command: Who, found: tuple[int, Iterable[Sender]] | StoreError
) -> None:
    hub.go_on(client)
    here = (hub.count(room), room.members.values())  # while the others cannot be asked for
    _listed(hub, client, room, command, here if isinstance(found, StoreError) else found)


def _listed(hub: "Hub", client: Client, room: Room, command: Who, found: tuple[int, Iterable[Sender]]) -> None:
    count, members = found
    answer = Members(id=command.id, room=room.name, count=count, members=tuple(islice(members, _LIST_MEMBERS)))
    hub.answer(client, answer)


def _rooms(hub: "Hub", client: Client, command: Rooms) -> None:
    if hub.cluster is not None:
        client.waiting = True
        hub.cluster.lists.fullest(partial(_rooms_found, hub, client, command))
        return
    if hub.room_list is None:
        listed = [room for room in hub.rooms.values() if room.rule.listed]
        fullest = heapq.nlargest(_LOOK_AT_ROOMS, listed, key=lambda room: len(room.members))
        hub.room_list = len(listed), fullest, all(room.rule is OPEN for room in fullest)
    count, fullest, are_open = hub.room_list
    if not (are_open and client.identity.join is ANY_ROOM):
        fullest = [room for room in fullest if may_join(client.identity, room.name, room.rule)]
        count = len(fullest)
    rooms = tuple(RoomInfo(room.name, len(room.members)) for room in fullest[:_LIST_ROOMS])
    hub.answer(client, RoomList(id=command.id, count=count, rooms=rooms))


def _rooms_found(hub: "Hub", client: Client, command: Rooms, count: int, fullest: Sequence[RoomInfo]) -> None:
    hub.go_on(client)
    found = []
    for room in fullest:
        rule = hub.rules.of(room.room)
        if rule.listed and may_join(client.identity, room.room, rule):
            found.append(room)
    count -= len(fullest) - len(found)
    hub.answer(client, RoomList(id=command.id, count=count, rooms=tuple(found[:_LIST_ROOMS])))


def _call(hub: "Hub", client: Client, command: Call) -> None:
    if hub.application is None:
        raise unknown_method()
    hub.application.call(client, command)


def _ping(hub: "Hub", client: Client, command: Ping) -> None:
    hub.answer(client, Pong(id=command.id))


def _help(hub: "Hub", client: Client, command: Help) -> None:
    hub.answer(client, HelpText())


def _quit(hub: "Hub", client: Client, command: Quit) -> None:
    hub.finish(client, Close.NORMAL, "bye")


def _refused(hub: "Hub", client: Client, reply: Reply) -> None:
    hub.refuse(client, reply, reply)


def _room_of(client: Client, name: str) -> Room:
    """The room of this name, in which the client is; a text client says HERE."""
    if name == HERE and client.codec.is_text:
        if client.rooms:
            return client.rooms[0]
        raise Reply("not_joined", "you are in no room: /join ROOM", field="room")
    for room in client.rooms:
        if room.name == name:
            return room
    wanted = room_name(name)
    for room in client.rooms:
        if room.name == wanted:
            return room
    raise Reply("not_joined", "join the room first", field="room")


COMMANDS: Final[dict[type, Callable[["Hub", Client, Any], None]]] = {
    Call: _call,
    Direct: _direct,
    Help: _help,
    History: _history,
    Join: _join,
    Leave: _leave,
    Ping: _ping,
    Publish: _publish,
    Quit: _quit,
    Refresh: _refresh,
    Rename: _rename,
    Reply: _refused,
    Resume: _resume,
    Rooms: _rooms,
    Typing: _typing,
    Who: _who,
}
_COSTS: Final[dict[type[Command | Reply], int]] = {History: 10, Refresh: 10, Resume: 10, Rooms: 10, Who: 10}
_CATCH_UP_COST: Final = 10
_SEARCH_COST: Final = 10  # through all clients


def cost_of(command: Command | Reply) -> int:
    """In messages, of the client's budget."""
    if type(command) is Join and command.since is not None:
        return _CATCH_UP_COST
    if type(command) is Direct and command.user is not None:
        return _SEARCH_COST
    return _COSTS.get(type(command), 1)
