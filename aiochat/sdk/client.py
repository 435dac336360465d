"""What a program holds of a chat: the events to iterate over, and what it can ask."""

import asyncio
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

from aiochat.messages import (
    Ack,
    Answer,
    Call,
    Command,
    Direct,
    History,
    HistoryPage,
    Join,
    Joined,
    Leave,
    Left,
    Limits,
    Members,
    Ping,
    Pong,
    Position,
    Publish,
    Refresh,
    Refreshed,
    Rename,
    Renamed,
    Result,
    RoomList,
    Rooms,
    Sent,
    Typing,
    Who,
)
from aiochat.names import room_name
from aiochat.sdk.events import ChatClosed, ChatEvent
from aiochat.sdk.session import Options, Session

_Answer = TypeVar("_Answer", bound=Answer)


class ChatClient:
    """A chat, from `async with` to its end; iterate over it for what happens.

    Everything that is asked waits while the connection is down, and is sent when the client is back; bound it with
    `asyncio.timeout`. It raises `Reply` where the server refuses, `Interrupted` where the connection was lost and it is
    not known whether the server did it, `ChatClosed` once the chat is over. So does the iteration: it raises
    `ChatClosed` where the server ended the chat for good, and just ends after `close`.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._opened: Session | None = None

    async def open(self) -> None:
        """Connect, and come into the rooms. Raises `ChatClosed` if it cannot, `Reply` where a room is refused."""
        if self._opened is not None:
            raise RuntimeError("a chat is opened once; call connect() for another one")
        session = self._opened = Session(self._options)
        try:
            await session.entered()
        except BaseException:
            await session.close()
            raise

    async def close(self) -> None:
        """Leave. What is on its way is given up; what has come can still be taken."""
        if self._opened is not None:
            await self._opened.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatEvent:
        return await self._session.state.inbox.get()

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise RuntimeError("the chat is not open: use `async with`")
        return self._opened

    @property
    def client(self) -> str:
        """The session's id; it stays over a break, as long as the server can resume it."""
        return self._session.state.client

    @property
    def user(self) -> str | None:
        """Who the server has verified this to be."""
        welcome = self._session.state.welcome
        return welcome.user if welcome is not None else None

    @property
    def limits(self) -> Limits | None:
        """What the server allows."""
        welcome = self._session.state.welcome
        return welcome.limits if welcome is not None else None

    @property
    def rooms(self) -> tuple[str, ...]:
        """Where this client is."""
        return tuple(self._session.state.rooms)

    def position(self, room: str) -> Position | None:
        """Up to where `room` was taken from the iteration: what to give `join` as `since` after a restart."""
        return self._session.state.inbox.positions.get(room_name(room))

    async def publish(self, room: str, text: str | None = None, *, data: Any = None) -> Ack:
        """Say it in a room; the ack tells where in its log it is. It is there once, whatever happens to the connection.

        While the server refuses it for now (`rate_limited`, `unavailable`) it is sent again, for `retry_seconds`.
        """
        return await self._ask(Publish(room=room_name(room), text=text, data=data, key=str(uuid4())), Ack)

    async def join(self, room: str, name: str | None = None, *, since: Position | None = None) -> Joined:
        """Come into a room, under the `name` that `connect` was given unless there is another one.

        With `since`, what was said after it comes as events, and then `CaughtUp`.
        """
        room = room_name(room)
        name = self._options.name if name is None else name
        joined = await self._ask(Join(room=room, name=name, since=since), Joined)
        if room in self._session.state.rooms:
            self._session.state.names[room] = name
        return joined

    async def leave(self, room: str) -> Left:
        """Go out of a room."""
        return await self._ask(Leave(room=room_name(room)), Left)

    async def rename(self, room: str, name: str) -> Renamed:
        """Be called otherwise in a room; the answer has the name that was given."""
        room = room_name(room)
        renamed = await self._ask(Rename(room=room, name=name), Renamed)
        if room in self._session.state.rooms:
            self._session.state.names[room] = name
        return renamed

    async def direct(
        self,
        text: str | None = None,
        *,
        client: str | None = None,
        user: str | None = None,
        name: str | None = None,
        room: str | None = None,
        data: Any = None,
    ) -> Sent:
        """Say it to one `client`, to all of a `user`'s, or to who is called `name` in `room`; it is in no log."""
        where = None if room is None else room_name(room)
        command = Direct(client=client, user=user, name=name, room=where, text=text, data=data)
        return await self._ask(command, Sent)

    async def history(
        self,
        room: str,
        *,
        before: int | None = None,
        after: int | None = None,
        epoch: str | None = None,
        limit: int | None = None,
    ) -> HistoryPage:
        """What was said `before` or `after` an offset, or last; `limit` is 300 at most."""
        command = History(room=room_name(room), before=before, after=after, epoch=epoch, limit=limit)
        return await self._ask(command, HistoryPage)

    async def who(self, room: str) -> Members:
        """Who is in a room where this client is, too."""
        return await self._ask(Who(room=room_name(room)), Members)

    async def list_rooms(self) -> RoomList:
        """Which rooms there are."""
        return await self._ask(Rooms(), RoomList)

    async def typing(self, room: str) -> None:
        """Tell a room that one is writing; nothing is told while the connection is down."""
        await self._session.tell(Typing(room=room_name(room)))

    async def call(self, method: str, data: Any = None) -> Any:
        """Call a function of the application that the server is part of; returns what that returns."""
        return (await self._ask(Call(method=method, data=data), Result)).data

    async def refresh(self, token: str) -> int:
        """Show a new access token; returns when it expires, in milliseconds since 1970."""
        return (await self._ask(Refresh(token=token), Refreshed)).expires

    async def ping(self) -> float:
        """How long the server takes to answer, in seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._ask(Ping(), Pong)
        return loop.time() - began

    async def _ask(self, command: Command, kind: type[_Answer]) -> _Answer:
        answer = await self._session.ask(command)
        if not isinstance(answer, kind):
            raise ChatClosed(None, f"the server answered with {type(answer).__name__}, not {kind.__name__}")
        return answer
