"""Who and what is on this node, in pages by name or id, so that no turn is held up by a long list."""

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from aiochat.client import Client
from aiochat.messages import Sender

if TYPE_CHECKING:
    from aiochat.hub import Hub


class ClientState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A client: how it is connected, for how many `seconds`, and what waits for it because it does not take it."""

    client: str
    address: str
    codec: str
    seconds: float
    rooms: Sequence[str]
    messages_in: int
    messages_out: int
    queued_messages: int
    queued_bytes: int
    user: str | None = None
    name: str | None = None


def page_of(keys: Iterable[str], limit: int, cursor: str) -> tuple[list[str], str | None]:
    """The first keys after the cursor, which may be "", in order; and the cursor of the next ones if there are more."""
    found = heapq.nsmallest(limit + 1, (key for key in keys if key > cursor))
    return found[:limit], found[limit - 1] if len(found) > limit else None


def rooms_page(hub: "Hub", limit: int, cursor: str) -> tuple[list[str], str | None]:
    """Those with somebody in them, by name, and where to go on."""
    return page_of((name for name, room in hub.rooms.items() if room.members), limit, cursor)


def members_page(hub: "Hub", name: str, limit: int, cursor: str) -> tuple[list[Sender], str | None, int]:
    """A room's, by the clients' ids, where to go on, and how many there are."""
    room = hub.rooms.get(name)
    if room is None:
        return [], None, 0
    ids, more = page_of((client.id for client in room.members), limit, cursor)
    clients = filter(None, map(hub.clients.get, ids))
    return [room.members[client] for client in clients if client in room.members], more, len(room.members)


def clients_page(
    hub: "Hub", limit: int, cursor: str, user: str | None, room: str | None
) -> tuple[list[ClientState], str | None]:
    """By id, only those of this user and in this room where that is given, and where to go on."""
    clients = hub.clients
    found: Iterable[Client] = clients.values()
    if room is not None:
        found = hub.rooms[room].members if room in hub.rooms else ()
    ids, more = page_of((client.id for client in found if user is None or client.user == user), limit, cursor)
    return [_state_of(hub, clients[id]) for id in ids if id in clients], more


def _state_of(hub: "Hub", client: Client) -> ClientState:
    return ClientState(
        client=client.id,
        address=client.address,
        codec=client.codec.subprotocol,
        seconds=round(hub.now - client.opened, 3),
        rooms=[room.name for room in client.rooms],
        messages_in=client.messages_in,
        messages_out=client.outbox.messages_out,
        queued_messages=client.outbox.queued_messages,
        queued_bytes=client.outbox.queued_bytes,
        user=client.user,
        name=client.name,
    )
