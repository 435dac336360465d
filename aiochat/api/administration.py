"""What somebody who runs the server may see and do: rooms, clients, what was said. Within the hub's turns, as all else.

The HTTP API (aiochat/api) is made of it. Lists come in pages, so that no turn is held up by a long one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from aiochat.errors import Close, Reply, StoreError, no_such_client, unavailable
from aiochat.joining import has_more, read
from aiochat.listing import ClientState, clients_page, members_page, rooms_page
from aiochat.messages import DirectMessage, Entry, RoomInfo, Sender
from aiochat.names import display_name
from aiochat.publishing import Published, checked_content
from aiochat.roomlog import Deleted, Page

if TYPE_CHECKING:
    from aiochat.hub import Hub

_EXTRA_SECONDS: Final = 1.0  # beyond `store.wait_seconds`, after which the log's own refusal is due

_Result = TypeVar("_Result")


class RoomState(msgspec.Struct, frozen=True, gc=False):
    """A room: how many are in it, and from which offset to which its log holds something, under this epoch."""

    room: str
    members: int
    epoch: str
    oldest: int
    newest: int


class MessagePage(msgspec.Struct, frozen=True, gc=False):
    """A stretch of what a room said, oldest first; `more` in the direction asked."""

    room: str
    epoch: str
    messages: Sequence[Entry]
    more: bool


class Administration:
    """Each call waits for the hub, and for the room log where it is asked; then it raises `Reply` `unavailable`."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._seconds = hub.config.store.wait_seconds + _EXTRA_SECONDS

    async def publish(self, room: str, text: str | None, data: Any, name: str | None, key: str | None) -> Published:
        """Say it in the room, once it is in the log. Raises `Reply`."""
        return await self._answered(self._hub.publishing.publish(room, text, data, name=name, key=key))

    async def erase(self, room: str, offset: int) -> Published:
        """Take a message back. Raises `Reply` `no_such_message`."""
        return await self._answered(self._hub.publishing.erase(room, offset))

    async def rooms(self, limit: int, cursor: str) -> tuple[list[RoomInfo], str | None]:
        """Those with somebody in them, by name, and where to go on."""
        cluster = self._hub.cluster
        if cluster is not None:
            found: tuple[list[RoomInfo], str | None] = await self._of_all(cluster.lists.rooms, limit, cursor)
            return found
        return await self._in_turn(lambda: self._rooms(limit, cursor))

    async def room(self, name: str) -> RoomState:
        """One with somebody in it or something in its log. Raises `Reply` `no_such_room`."""
        page = await self._read(name, limit=0)
        state = RoomState(name, await self._count(name), page.epoch, page.oldest, page.newest)
        if not (state.members or state.newest):
            raise no_such_room()
        return state

    async def delete_room(self, name: str) -> RoomState:
        """Throw its history away, and tell its members so. Raises `Reply` `no_such_room`."""
        deleted: Deleted = await self._asked(
            lambda answer: self._hub.log.delete(name, partial(self._deleted, name, answer))
        )
        members = await self._count(name)
        if not (members or deleted.newest):
            raise no_such_room()
        return RoomState(name, members, deleted.epoch, 1, 0)

    async def messages(self, room: str, limit: int, before: int | None, after: int | None) -> MessagePage:
        """The room's newest, or the last `before` an offset, or the first `after` one. Raises `Reply` `forbidden`."""
        if not self._hub.rules.of(room).history:
            raise Reply("forbidden", f"nobody is shown what was said before in {room}", field="room")
        page = await self._read(room, limit=limit, before=before, after=after)
        return MessagePage(room, page.epoch, page.entries, has_more(page, before, after))

    async def members(self, room: str, limit: int, cursor: str) -> tuple[list[Sender], str | None, int]:
        """By the clients' ids, where to go on, and how many there are."""
        cluster = self._hub.cluster
        if cluster is not None:
            ask = partial(cluster.lists.members, room, limit, cursor)
            found: tuple[list[Sender], str | None, int] = await self._of_all(ask)
            return found
        return await self._in_turn(lambda: members_page(self._hub, room, limit, cursor))

    async def direct(self, user: str, text: str | None, data: Any, name: str | None) -> int:
        """Say it to all clients of a user, and keep it in no log; to how many. Raises `Reply` `no_such_client`."""
        sender = Sender(name=None if name is None else display_name(name))
        data = checked_content(text, data, self._hub.config.limits.max_message_bytes)
        message = DirectMessage(sender=sender, ts=self._hub.tick(), text=text, data=data)
        cluster = self._hub.cluster
        if cluster is not None:
            count: int = await self._of_all(partial(cluster.direct, user=user), message)
            return count
        return await self._in_turn(lambda: self._direct(user, message))

    async def clients(
        self, limit: int, cursor: str, *, user: str | None = None, room: str | None = None
    ) -> tuple[list[ClientState], str | None]:
        """By id, only those of this user and in this room where that is given, and where to go on."""
        cluster = self._hub.cluster
        if cluster is not None:
            ask = partial(cluster.lists.clients, limit, cursor, user, room)
            found: tuple[list[ClientState], str | None] = await self._of_all(ask)
            return found
        return await self._in_turn(lambda: clients_page(self._hub, limit, cursor, user, room))

    async def kick(self, client: str) -> None:
        """End a client's connection (4410). Raises `Reply` `no_such_client`."""
        cluster = self._hub.cluster
        if cluster is not None:
            await self._of_all(cluster.kick, client)
        else:
            await self._in_turn(lambda: self._kick(client))

    # Within a turn.

    async def _count(self, name: str) -> int:
        """The members of a room."""
        cluster, room = self._hub.cluster, self._hub.rooms.get(name)
        if cluster is not None:
            count: int = await self._of_all(cluster.lists.count, name)
            return count
        return 0 if room is None else len(room.members)

    def _rooms(self, limit: int, cursor: str) -> tuple[list[RoomInfo], str | None]:
        names, more = rooms_page(self._hub, limit, cursor)
        return [RoomInfo(name, len(self._hub.rooms[name].members)) for name in names], more

    def _deleted(self, name: str, answer: "_Answer[Deleted]", result: Deleted | StoreError) -> None:
        if isinstance(result, StoreError):
            answer(unavailable())
            return
        room = self._hub.rooms.get(name)
        if room is not None and result.newest:
            self._hub.fanout.begin_anew(room, result.epoch, 0)
        answer(result)

    def _direct(self, user: str, message: DirectMessage) -> int:
        clients = [client for client in self._hub.clients.values() if client.user == user]
        if not clients:
            raise no_such_client("user")
        for client in clients:
            self._hub.answer(client, message)
        return len(clients)

    def _kick(self, id: str) -> None:
        client = self._hub.clients.get(id)
        if client is None:
            raise no_such_client("client")
        self._hub.end(client, Close.KICKED, "kicked")

    # Into a turn, and back.

    async def _in_turn(self, ask: Callable[[], _Result]) -> _Result:
        """What `ask` returns, or raises, within a turn."""
        return await self._asked(lambda answer: self._hub.later(partial(_apply, ask, answer)))

    async def _of_all(self, ask: Callable[..., object], *given: Any) -> Any:
        """The same of what other nodes are asked, too, and answer later."""
        return await self._asked(lambda answer: self._hub.later(partial(ask, *given, answer)))

    async def _read(self, room: str, limit: int, before: int | None = None, after: int | None = None) -> Page:
        def begin(answer: "_Answer[Page]") -> None:
            def then(result: Page | StoreError) -> None:
                answer(unavailable() if isinstance(result, StoreError) else result)

            self._hub.later(partial(read, self._hub, room, then, limit=limit, before=before, after=after))

        return await self._asked(begin)

    async def _asked(self, begin: "Callable[[_Answer[_Result]], object]") -> _Result:
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        begin(partial(_settle, future))
        return await self._answered(future)

    async def _answered(self, future: asyncio.Future[_Result]) -> _Result:
        try:
            async with asyncio.timeout(self._seconds):
                return await future
        except TimeoutError:
            raise unavailable("the server did not answer in time") from None


_Answer = Callable[[_Result | Exception], None]


def no_such_room() -> Reply:
    return Reply("no_such_room", "nobody is in this room, and nothing was ever said in it", field="room")


def _apply(ask: Callable[[], _Result], answer: _Answer[_Result]) -> None:
    try:
        answer(ask())
    except Exception as error:
        answer(error)


def _settle(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
