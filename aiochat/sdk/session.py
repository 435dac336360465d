"""Keeps the chat going: connects, comes back into the session and its rooms, sends what was asked, catches up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from aiochat.errors import Close, Reply
from aiochat.messages import Answer, Command, Join, Refresh, Refreshed, Resume
from aiochat.sdk.backoff import Backoff, Lost
from aiochat.sdk.commands import Commands
from aiochat.sdk.encoding import encoded
from aiochat.sdk.events import ChatClosed, Disconnected
from aiochat.sdk.inbox import Inbox
from aiochat.sdk.link import CODECS, OPEN_SECONDS, Link
from aiochat.sdk.pace import Pace, cost
from aiochat.sdk.rooms import Phase, Room
from aiochat.sdk.state import State

ANSWER_SECONDS: Final = 30.0
_REFRESH_AFTER: Final = 0.8  # of the time for which an access token holds
_REFRESH_AGAIN_MS: Final = 5000.0

Token = str | Callable[[], Awaitable[str]] | None


class Options(msgspec.Struct, frozen=True):
    """What `connect` was given."""

    url: URL
    name: str | None
    rooms: tuple[str, ...]
    codec: str
    token: Token
    session: aiohttp.ClientSession | None
    retry_seconds: float
    max_events: int
    max_bytes: int
    max_unanswered: int
    backoff: Backoff


class Session:
    """Runs from `open` to `close` in a task of its own, over as many connections as it takes."""

    def __init__(self, options: Options) -> None:
        loop = asyncio.get_running_loop()
        self.options = options
        self.codec = CODECS[options.codec]
        inbox = Inbox(options.max_events, options.max_bytes)
        self.state = State(inbox, Commands(options.max_unanswered, options.retry_seconds, loop.time), Pace(loop.time))
        self._ids = count(1)
        self._time = loop.time
        self._link: Link | None = None  # once it is in its rooms
        self._entered: asyncio.Future[None] = loop.create_future()
        self._http = options.session or aiohttp.ClientSession()
        self._task = asyncio.create_task(self._run(), name="aiochat.sdk")

    async def entered(self) -> None:
        """Wait until it is in all rooms for the first time. Raises `ChatClosed`, or the `Reply` that refuses one."""
        await asyncio.shield(self._entered)

    async def close(self) -> None:
        """End it, and wait for the end: two seconds at most."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def ask(self, command: Command) -> Answer:
        """Send a command, and wait for the answer. Raises what `encoded` and `Commands.ask` do."""
        id = next(self._ids)
        command = msgspec.structs.replace(command, id=id)
        return await self.state.commands.ask(id, command, encoded(self.codec, command))

    async def tell(self, command: Command) -> None:
        """Send a command that has no answer, or leave it if there is no connection."""
        if self._link is not None:
            await self.state.pace.take(cost(command))
            await self._link.send(self.codec.encode_command(msgspec.structs.replace(command, id=next(self._ids))))

    async def _run(self) -> None:
        error: Exception | None = None
        try:
            await self._stay()
        except Exception as reason:
            error = reason
        finally:
            if self.options.session is None:
                await self._http.close()
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        self.state.inbox.end(error)
        closed = error or ChatClosed(Close.NORMAL, "this client has closed the chat")
        self.state.commands.end(closed)
        if not self._entered.done():
            self._entered.set_exception(closed)
            self._entered.exception()  # whoever opens it may be gone

    async def _stay(self) -> None:
        backoff = self.options.backoff
        failures = 0
        while True:
            began = self._time()
            lost = await self._connection()
            if not self._entered.done() or lost.is_final(new_token=callable(self.options.token)):
                raise lost.error or ChatClosed(lost.code, lost.reason) from lost
            failures = 1 if self._time() - began >= backoff.steady_seconds else failures + 1
            delay = backoff.delay(failures) if lost.after_seconds is None else lost.after_seconds
            if self.state.is_connected:
                self.state.is_connected = False
                self.state.inbox.offer(Disconnected(lost.code or Close.ABNORMAL, lost.reason, delay), 0)
            await backoff.sleep(delay)

    async def _connection(self) -> Lost:
        """One connection, from its beginning to its end."""
        try:
            link = await Link.open(self._http, self.options.url, self.options.codec, await self._access())
        except Lost as lost:
            return lost
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(link))
                tasks.create_task(self._work(link, tasks))
        except ExceptionGroup as group:
            lost_by, others = group.split(Lost)
            if others is not None or lost_by is None:
                raise
            return next(error for error in lost_by.exceptions if isinstance(error, Lost))
        finally:
            self._link = None
            self.state.away()
            await link.close()
        raise AssertionError("a connection ends by being lost")

    async def _access(self) -> str | None:
        """The token to show. Raises what its function does or, once the chat has begun, `Lost` for that."""
        token = self.options.token
        if not callable(token):
            return token
        try:
            return await token()
        except Exception as error:
            if not self._entered.done():
                raise
            raise Lost(None, f"there was no token to show: {type(error).__name__}") from error

    async def _keep_access(self, link: Link) -> None:
        """Show a new token before the old one ends. Where it is not to be had, the server will end the connection."""
        assert self.state.welcome is not None
        valid_ms: float | None = self.state.welcome.valid_ms
        while valid_ms is not None:
            await asyncio.sleep(valid_ms * _REFRESH_AFTER / 1000)
            valid_ms = max(valid_ms * (1 - _REFRESH_AFTER), _REFRESH_AGAIN_MS)
            with suppress(Lost, Reply):
                token = await self._access()
                refreshed = await self.ask(Refresh(token=token or ""))
                assert isinstance(refreshed, Refreshed)
                valid_ms = refreshed.valid_ms

    async def _read(self, link: Link) -> None:
        hear = self.state.hear
        while True:
            events, size = await link.receive()
            for event in events:
                hear(event, size // len(events))
            await asyncio.sleep(0)  # who takes them has its turn, or a burst would overflow the inbox

    async def _work(self, link: Link, tasks: asyncio.TaskGroup) -> None:
        await self._welcome()
        self.state.commands.forget_stale()
        if not self._entered.done():
            await self._enter(link)
        elif not await self._resume(link):
            await self._begin_anew(link)
        self._link = link
        tasks.create_task(self._send(link))
        tasks.create_task(self._catch_up(link))
        if callable(self.options.token):
            tasks.create_task(self._keep_access(link))

    async def _welcome(self) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self.state.welcomed.wait()
        except TimeoutError:
            raise Lost(Close.ABNORMAL, "the server does not welcome anybody") from None

    async def _enter(self, link: Link) -> None:
        assert self.state.welcome is not None
        self.state.connected(self.state.welcome.client, resumed=False)
        for room in self.options.rooms:
            try:
                await self._ask(link, Join(room=room, name=self.options.name))
            except Reply as refusal:
                raise Lost(None, str(refusal), error=refusal) from None
            self.state.names[room] = self.options.name
        self._entered.set_result(None)

    async def _resume(self, link: Link) -> bool:
        """Go on with the session; False if it is lost."""
        state = self.state
        state.absent, state.turned_away = set(state.rooms), set()
        state.returned.clear()
        positions = {name: room.position for name, room in state.rooms.items()}
        try:
            await self._ask(link, Resume(token=state.token, rooms=positions))
        except Reply:
            return False
        if state.absent:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await state.returned.wait()
        await self._join(link, state.absent | state.turned_away)
        return True

    async def _begin_anew(self, link: Link) -> None:
        """A new session: the server does not know this client's rooms, nor the keys of what it published."""
        assert self.state.welcome is not None
        self.state.commands.doubt(self.state.rooms)
        self.state.connected(self.state.welcome.client, resumed=False)
        await self._join(link, set(self.state.rooms))

    async def _join(self, link: Link, rooms: set[str]) -> None:
        for room in sorted(rooms):
            await self._page(link, room)

    async def _send(self, link: Link) -> None:
        """What the caller asks, in order."""
        commands, pace = self.state.commands, self.state.pace
        while True:
            asked = await commands.next()
            if await pace.wait(cost(asked.command)):
                commands.ebb()
                continue  # another one may be the first by now
            pace.spend(cost(asked.command))
            commands.sending(asked)
            await link.send(asked.payload)

    async def _catch_up(self, link: Link) -> None:
        """Page by page, room by room, while the caller has room for it."""
        inbox, rooms = self.state.inbox, self.state.rooms
        while True:
            self.state.is_behind.clear()
            behind = [room for room in rooms.values() if room.phase is not Phase.LIVE]
            if not behind:
                await self.state.is_behind.wait()
            for room in behind:
                if rooms.get(room.room) is not room:
                    continue
                if not inbox.is_full:
                    await self._page(link, room.room)
                elif room.phase is Phase.BEHIND:
                    await self._skip(link, room)
            if inbox.is_full:
                await self._has_room()

    async def _has_room(self) -> None:
        """Wait for room in the inbox, or for a room that cannot wait."""
        waits = [asyncio.ensure_future(self.state.inbox.has_room()), asyncio.ensure_future(self.state.is_behind.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _page(self, link: Link, room: str) -> None:
        """Ask for what comes after the last that was seen."""
        since = self.state.rooms[room].position
        await self._stay_in(link, Join(room=room, name=self.state.names.get(room), since=since))

    async def _skip(self, link: Link, room: Room) -> None:
        """Be live without what was missed: the server would take a client out of the room that does not ask on."""
        await self._stay_in(link, Join(room=room.room, name=self.state.names.get(room.room), limit=0))

    async def _stay_in(self, link: Link, join: Join) -> None:
        try:
            await self._ask(link, join)
        except Reply as refusal:
            self.state.out(join.room, refusal.code)

    async def _ask(self, link: Link, command: Command) -> Answer:
        """A command of the client's own, on this connection alone; what is refused for now is asked again."""
        began = self._time()
        while True:
            await self.state.pace.take(cost(command))
            try:
                return await self._ask_once(link, msgspec.structs.replace(command, id=next(self._ids)))
            except Reply as refusal:
                if refusal.retry_after_ms is None:
                    raise
                seconds = refusal.retry_after_ms / 1000
                if not self._entered.done() and self._time() + seconds > began + self.options.retry_seconds:
                    raise
                self.state.pace.hold(seconds)

    async def _ask_once(self, link: Link, command: Command) -> Answer:
        assert isinstance(command.id, int)
        payload = encoded(self.codec, command)
        self.state.commands.check_length(payload)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.state.waiting[command.id] = future
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await link.send(payload)
                return await future
        except TimeoutError:
            raise Lost(Close.ABNORMAL, f"no answer within {ANSWER_SECONDS:g} seconds") from None
        finally:
            self.state.waiting.pop(command.id, None)
