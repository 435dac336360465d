"""One person's talk: what is typed becomes commands, and what happens becomes lines; one room at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

import aiochat
from aiochat.codecs.text import TextCodec
from aiochat.errors import Close, Reply, StartError
from aiochat.messages import (
    Ack,
    Command,
    Direct,
    Event,
    Help,
    HelpText,
    History,
    Join,
    Leave,
    Publish,
    Quit,
    Rename,
    Rooms,
    Who,
)
from aiochat.names import room_name
from aiochat.sdk import ChatClient, ChatClosed, ChatEvent, Interrupted
from aiochat.terminal.lines import Line, lines, notice, refusal

LOBBY: Final = "lobby"
_RETRY_SECONDS: Final = 5.0  # then a person would rather know
_LAST_SECONDS: Final = 3.0  # at the end, for what was said to come
_codec: Final = TextCodec()


class Face(Protocol):
    """How the talk is shown, and where it is typed."""

    def __init__(self, talk: "Talk") -> None: ...

    def show(self, shown: Iterable[Line]) -> None:
        """Lines that have come."""
        ...

    def heard(self, event: ChatEvent) -> bool:
        """Take note of an event; whether its lines are to be shown."""
        ...

    async def type(self) -> int:
        """Hand what is typed to the talk, to its end; the exit code."""
        ...

    async def finish(self) -> None:
        """Wait until all has been shown."""
        ...


async def talk(url: str, room: str, name: str | None, face: Callable[["Talk"], Face], token: str | None = None) -> int:
    """Talk at `url`; the exit code. Raises `StartError` where that cannot be."""
    shown_url = url.partition("?")[0]
    try:
        chat = aiochat.connect(url, name=name, rooms=[room], token=token, retry_seconds=_RETRY_SECONDS)
        await chat.open()
        for other in chat.rooms:  # to which the token brings: one is in one room at a time
            if other != room_name(room):
                await chat.leave(other)
    except Reply as reply:
        raise StartError(f"{shown_url} refused it: {reply.reason}") from None
    except ChatClosed as closed:
        if closed.code is None:
            raise StartError(f"there is no chat at {shown_url}: {closed.reason}") from None
        raise StartError(f"{shown_url} refused the connection: {closed}") from None
    except ValueError as error:
        raise StartError(f"there is no chat at {shown_url}: {error}") from None
    try:
        return await Talk(chat, name, face).go_on()
    finally:
        await chat.close()


class Talk:
    """`name` is what one wants to be called; `room` is where one is."""

    def __init__(self, chat: ChatClient, name: str | None, face: Callable[["Talk"], Face]) -> None:
        self.chat = chat
        self.name = name
        self.room = chat.rooms[0]
        self._face = face(self)
        self._said: Ack | None = None  # the last
        self._has_heard = asyncio.Event()  # something, since it was last looked at
        self._does: dict[type, Callable[[Any], Awaitable[Event | None]]] = {
            Direct: lambda command: chat.direct(command.text, name=command.name, room=self.room),
            Help: self._help,
            History: lambda command: chat.history(self.room, limit=command.limit),
            Join: lambda command: self._move(command.room),
            Leave: lambda command: self._move(LOBBY),
            Publish: self._publish,
            Rename: self._rename,
            Rooms: lambda command: chat.list_rooms(),
            Who: lambda command: chat.who(self.room),
        }

    async def go_on(self) -> int:
        """To the end of what is typed or, if that comes first, of the chat; the exit code."""
        hearing = asyncio.create_task(self._hear())
        typing = asyncio.create_task(self._face.type())
        try:
            await asyncio.wait({hearing, typing}, return_when=asyncio.FIRST_COMPLETED)
            if typing.done() and not hearing.done():
                await self._hear_itself()
                await self.chat.close()
                await hearing
                return typing.result()
            return hearing.result()
        finally:
            for task in (hearing, typing):
                task.cancel()
            await asyncio.wait({hearing, typing})
            await self._face.finish()

    async def _hear(self) -> int:
        """Show what happens, to its end; the exit code."""
        try:
            async for event in self.chat:
                if self._face.heard(event):
                    self._face.show(lines(event, self.chat.client))
                self._has_heard.set()
        except ChatClosed as closed:
            if closed.code != Close.NORMAL:
                self._face.show([notice(str(closed))])
                return 1
        return 0

    async def _hear_itself(self) -> None:
        """Wait for what was said last: its ack may be here before it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                while self._is_to_come(self._said):
                    self._has_heard.clear()
                    await self._has_heard.wait()

    def _is_to_come(self, said: Ack | None) -> bool:
        if said is None or said.room not in self.chat.rooms:
            return False
        position = self.chat.position(said.room)
        return position is not None and position.offset < said.offset

    def understood(self, line: str) -> Command | None:
        """The command in a line, if there is one."""
        for command in _codec.decode(line.encode("utf-8", "replace"), False):
            if not isinstance(command, Reply):
                return command
            self._face.show(refusal(command, None))
        return None

    async def do(self, command: Command) -> bool:
        """Do what was typed, and show its answer; False for what ends the talk."""
        if isinstance(command, Quit):
            return False
        try:
            answer = await self._does[type(command)](command)
        except Reply as reply:
            self._face.show(refusal(reply, command))
        except Interrupted as interrupted:
            self._face.show([Line(f"! {interrupted}")])
        except ChatClosed:
            return False
        else:
            if answer is not None and self._face.heard(answer):
                self._face.show(lines(answer, self.chat.client))
        return True

    async def _help(self, command: Command) -> HelpText:
        return HelpText()

    async def _publish(self, command: Publish) -> None:
        self._said = await self.chat.publish(self.room, command.text, data=command.data)

    async def _rename(self, command: Rename) -> Event:
        renamed = await self.chat.rename(self.room, command.name)
        self.name = command.name
        return renamed

    async def _move(self, room: str) -> None:
        joined = await self.chat.join(room, self.name)
        before, self.room = self.room, joined.room
        if before != self.room and before in self.chat.rooms:
            await self.chat.leave(before)
