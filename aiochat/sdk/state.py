"""What the client knows: each event that comes is applied here, and passed on to the caller if it is new to it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from aiochat.messages import (
    Answer,
    Entry,
    Erased,
    Error,
    Event,
    Gap,
    Goodbye,
    Joined,
    Left,
    Message,
    Position,
    Resumed,
    Session,
    Welcome,
)
from aiochat.sdk.commands import Commands, as_reply
from aiochat.sdk.events import ChatEvent, Connected
from aiochat.sdk.inbox import Inbox
from aiochat.sdk.pace import Pace
from aiochat.sdk.rooms import Phase, Room

_UNASKED: Final = {"stalled", "unavailable"}  # why a client is out of a room that it can come back to


class State:
    """Survives the connections. `waiting` are the client's own commands on the one that stands."""

    def __init__(self, inbox: Inbox, commands: Commands, pace: Pace) -> None:
        self.inbox = inbox
        self.commands = commands
        self.pace = pace
        self.rooms: dict[str, Room] = {}
        self.names: dict[str, str | None] = {}  # by room: what the caller wants to be called
        self.welcome: Welcome | None = None
        self.client = ""
        self.token = ""  # of the session, to resume it with
        self.fresh_token = ""  # of what this connection is until it has resumed
        self.is_connected = False  # as far as the caller was told
        self.early: list[tuple[Joined, int]] = []  # of the access token's rooms, before the connection is the session
        self.waiting: dict[int, asyncio.Future[Answer]] = {}
        self.absent: set[str] = set()  # rooms of which the answer to `resume` has said nothing yet
        self.turned_away: set[str] = set()  # rooms in which it said that the client is not
        self.welcomed = asyncio.Event()
        self.returned = asyncio.Event()  # none is absent
        self.is_behind = asyncio.Event()  # there is a room to catch up with
        self._handlers: dict[type[Event], Callable[[Any, int], None]] = {
            Message: self._entry,
            Erased: self._entry,
            Gap: self._gap,
            Joined: self._joined,
            Left: self._left,
            Welcome: self._welcome,
            Session: self._session,
            Resumed: self._resumed,
            Goodbye: lambda event, size: None,
        }

    def hear(self, event: Event, size: int) -> None:
        """Apply an event; `size` is about how many bytes it took."""
        handle = self._handlers.get(type(event))
        if handle is not None:
            handle(event, size)
        elif isinstance(event, Answer) and event.id is not None:
            self._answer(event)
        else:
            self.inbox.offer(event, size)

    def connected(self, client: str, *, resumed: bool) -> None:
        """The connection is the session now."""
        self.client = client
        self.is_connected = True
        if not resumed:
            self.token = self.fresh_token
        self.inbox.offer(Connected(client, resumed), 0)
        early, self.early = self.early, []
        for joined, size in early:  # where the session goes on, it is only where it was before
            if not resumed and joined.room not in self.rooms:
                self._came_in(joined, size)

    def away(self) -> None:
        """The connection is gone."""
        self.welcomed.clear()
        self.early.clear()
        self.commands.lost()
        for room in self.rooms.values():
            room.away()
        for future in self.waiting.values():
            future.cancel()
        self.waiting.clear()

    def out(self, room: str, reason: str | None) -> None:
        """The client is not in `room` any more, and did not ask for it."""
        self._forget(room)
        self.inbox.put(Left(room=room, reason=reason), 0)

    def _forget(self, room: str) -> None:
        self.rooms.pop(room, None)
        self.names.pop(room, None)
        self._came_back(room)
        self.commands.settle(room, recovered=False)

    def _came_back(self, room: str) -> None:
        self.absent.discard(room)
        if not self.absent:
            self.returned.set()

    def _welcome(self, welcome: Welcome, size: int) -> None:
        self.welcome = welcome
        self.pace.limit(welcome.limits)
        self.commands.limit(welcome.limits)
        self.welcomed.set()

    def _session(self, session: Session, size: int) -> None:
        if self.is_connected:
            self.token = session.resume
        else:
            self.fresh_token = session.resume

    def _resumed(self, resumed: Resumed, size: int) -> None:
        self.connected(resumed.client, resumed=True)
        self._answer(resumed)

    def _answer(self, answer: Answer) -> None:
        future = self.waiting.pop(answer.id, None) if isinstance(answer.id, int) else None
        if future is None:
            self.pace.hold(self.commands.answered(answer))
        elif isinstance(answer, Error):
            future.set_exception(as_reply(answer))
        else:
            future.set_result(answer)

    def _entry(self, entry: Entry, size: int) -> None:
        self._saw(entry)
        room = self.rooms.get(entry.room)
        if room is None:
            return
        if self.inbox.is_full and room.phase is Phase.LIVE:
            self._skip(room)
        for event in room.entry(entry):
            self._put(event, size, room)

    def _saw(self, entry: Entry) -> None:
        if isinstance(entry, Message):
            self.commands.saw(entry)

    def _gap(self, gap: Gap, size: int) -> None:
        room = self.rooms.get(gap.room)
        if room is None:
            return
        if not self.inbox.is_full:
            for event in room.gap(gap):
                self._put(event, size, room)
        elif room.phase is Phase.LIVE:
            self._skip(room)

    def _joined(self, joined: Joined, size: int) -> None:
        if joined.id is None and not self.is_connected:
            self.early.append((joined, size))
            return
        room = self.rooms.get(joined.room)
        if room is not None and joined.recovered is not None:
            self._page(room, joined, size)
        elif room is not None and room.phase is not Phase.LIVE:
            room.phase = Phase.SKIPPING
            self.commands.settle(room.room, recovered=False)
        elif room is not None:
            self.inbox.offer(joined, size)
        else:
            self._came_in(joined, size)
        self._came_back(joined.room)
        self._answer(joined)

    def _came_in(self, joined: Joined, size: int) -> None:
        since = self.commands.since(joined.id)
        position = Position(joined.epoch, joined.offset)
        room = self.rooms[joined.room] = Room(joined.room, since or position, Phase.BEHIND if since else Phase.LIVE)
        if since is None:
            self.inbox.put(joined, size, room.room, position)
            return
        room.away()
        self.inbox.put(msgspec.structs.replace(joined, messages=()), 0)
        self._page(room, joined, size)

    def _page(self, room: Room, joined: Joined, size: int) -> None:
        for entry in joined.messages:
            self._saw(entry)
        if self.inbox.is_full:
            room.phase = Phase.BEHIND if joined.more else Phase.SKIPPING
            self.is_behind.set()
            self.commands.settle(room.room, recovered=False)
            return
        for event in room.page(joined):
            self._put(event, size // (len(joined.messages) or 1), room)
        if room.phase is Phase.LIVE:
            self.commands.settle(room.room, recovered=room.recovered)
        else:
            self.is_behind.set()

    def _left(self, left: Left, size: int) -> None:
        room = self.rooms.get(left.room)
        if room is not None and left.reason in _UNASKED:
            self.turned_away.add(left.room)
            self._came_back(left.room)
            room.phase = Phase.BEHIND
            self.is_behind.set()
            return
        if room is not None:
            self._forget(left.room)
            self.inbox.put(left, size)
        self._answer(left)

    def _skip(self, room: Room) -> None:
        room.phase = Phase.SKIPPING
        self.is_behind.set()

    def _put(self, event: ChatEvent, size: int, room: Room) -> None:
        self.inbox.put(event, size, room.room, None if isinstance(event, Gap) else room.position)
