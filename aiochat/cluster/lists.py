"""Lists over all nodes: the fullest rooms for clients; rooms, members and clients, in pages, for the HTTP API."""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from aiochat.errors import Reply, StoreError
from aiochat.listing import ClientState, clients_page, members_page, rooms_page
from aiochat.messages import RoomInfo, Sender
from aiochat.roomlog.contract import Link

if TYPE_CHECKING:
    from aiochat.cluster.fullest import Fullest
    from aiochat.cluster.post import Post
    from aiochat.cluster.steps import Steps
    from aiochat.hub import Hub

_FULLEST: Final = 1000
_FRESH_SECONDS: Final = 1.0

Listed = Callable[[int, list[RoomInfo]], object]
Then = Callable[[Any], object]  # is told the page, or the `Reply` that says why there is none

_Item = TypeVar("_Item")


class Lists:
    """Of the pages each node gives its own, of which the first entries are those of all."""

    post: "Post"

    def __init__(self, hub: "Hub", link: Link, steps: "Steps", fullest: "Fullest") -> None:
        self._hub = hub
        self._link = link
        self._steps = steps
        self._fullest = fullest
        self._known: tuple[float, int, list[RoomInfo]] = (-_FRESH_SECONDS, 0, [])
        self._waiting: list[Listed] = []
        self.handlers: dict[str, Callable[..., Any]] = {
            "rooms": self._rooms,
            "members": self._members,
            "clients": self._clients,
        }

    def fullest(self, then: Listed) -> None:
        """How many rooms there are and the thousand fullest, a second ago at most; of this node, if Redis is away."""
        at, count, rooms = self._known
        if asyncio.get_running_loop().time() - at < _FRESH_SECONDS:
            then(count, rooms)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._fullest.top(_FULLEST, self._found)

    def _found(self, count: int, found: list[tuple[str, int]] | StoreError) -> None:
        if isinstance(found, StoreError):
            fullest = heapq.nlargest(_FULLEST, self._hub.rooms.values(), key=self._hub.count)
            count, rooms = len(self._hub.rooms), [RoomInfo(room.name, self._hub.count(room)) for room in fullest]
        else:
            rooms = [RoomInfo(name, members) for name, members in found]
        self._known = asyncio.get_running_loop().time(), count, rooms
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(count, rooms)

    # For who runs the servers.

    def count(self, room: str, then: Then) -> None:
        """The members of a room."""
        self._steps.counted(room, lambda found: then(_unknown() if isinstance(found, StoreError) else found))

    def rooms(self, limit: int, cursor: str, then: Then) -> None:
        """Those with somebody in them, by name, and where to go on."""

        def answered(answers: list[Any] | Reply) -> None:
            if isinstance(answers, Reply):
                then(answers)
                return
            names, more = _merged(((name, name) for names, _ in answers for name in names), limit, _more(answers))
            self._counted(names, more, then)

        self.post.ask_all(answered, "rooms", limit, cursor)

    def _counted(self, names: list[str], more: str | None, then: Then) -> None:
        def counted(replies: list[Any] | StoreError) -> None:
            if isinstance(replies, StoreError):
                then(_unknown())
            else:
                then(([RoomInfo(name, count) for name, count in zip(names, replies, strict=True) if count], more))

        commands = [("HLEN", self._steps.members_of(name)) for name in names]
        self._link.ask([*commands], lambda replies: self._hub.later(partial(counted, replies)))

    def members(self, room: str, limit: int, cursor: str, then: Then) -> None:
        """By the clients' ids, where to go on, and how many there are."""

        def answered(answers: list[Any] | Reply) -> None:
            if isinstance(answers, Reply):
                then(answers)
                return
            found = ((each[0], Sender(*each)) for senders, _, _ in answers for each in senders)
            members, more = _merged(found, limit, _more(answers))
            then((members, more, sum(count for *_, count in answers)))

        self.post.ask_all(answered, "members", room, limit, cursor)

    def clients(self, limit: int, cursor: str, user: str | None, room: str | None, then: Then) -> None:
        """By id, only those of this user and in this room where that is given, and where to go on."""

        def answered(answers: list[Any] | Reply) -> None:
            if isinstance(answers, Reply):
                then(answers)
                return
            found = (msgspec.convert(each, ClientState) for states, _ in answers for each in states)
            then(_merged(((state.client, state) for state in found), limit, _more(answers)))

        self.post.ask_all(answered, "clients", limit, cursor, user, room)

    # For other nodes, and this one.

    def _rooms(self, limit: int, cursor: str) -> Any:
        return rooms_page(self._hub, limit, cursor)

    def _members(self, room: str, limit: int, cursor: str) -> Any:
        senders, more, count = members_page(self._hub, room, limit, cursor)
        return [(sender.client, sender.name, sender.user) for sender in senders], more, count

    def _clients(self, limit: int, cursor: str, user: str | None, room: str | None) -> Any:
        return clients_page(self._hub, limit, cursor, user, room)


def _more(answers: Iterable[Any]) -> bool:
    return any(answer[1] is not None for answer in answers)


def _merged(found: Iterable[tuple[str, _Item]], limit: int, more: bool) -> tuple[list[_Item], str | None]:
    """The first of what all nodes have; and the cursor of the next ones if there are more."""
    by_key = dict(found)
    first = heapq.nsmallest(limit + 1, by_key)
    cursor = first[:limit][-1] if first and (more or len(first) > limit) else None
    return [by_key[key] for key in first[:limit]], cursor


def _unknown() -> Reply:
    return Reply("unavailable", "the other nodes cannot be asked", retry_after_ms=1000)
