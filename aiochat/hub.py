"""The one coroutine that owns rooms and clients. A turn takes everything that arrived and applies it; it never waits.

submit -> inbox -> turn: commands -> room log -> its answer, an item like any other -> fan-out -> outboxes
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from aiochat.auth.access import Access
from aiochat.auth.rules import Rules
from aiochat.batches import event_batches
from aiochat.client import Client
from aiochat.cluster import Cluster
from aiochat.commands import COMMANDS, cost_of
from aiochat.config import Config
from aiochat.directory import Directory
from aiochat.errors import REPLIES, Close, Reply
from aiochat.fanout import FanOut
from aiochat.following import Following
from aiochat.greeting import Greeter
from aiochat.hooks.application import Application
from aiochat.hooks.queue import HookQueue
from aiochat.hooks.registry import Hooks
from aiochat.inbox import Inbox
from aiochat.joining import Coming, Entrance, depart, enter
from aiochat.limits.guard import Guard
from aiochat.logqueue import LogQueue
from aiochat.messages import Command, Error, Event, Join, Left, Sender
from aiochat.monitoring.counts import Counts
from aiochat.presence import PresenceBoard
from aiochat.publishing import Publishing
from aiochat.room import Room
from aiochat.roomlog import RoomLog
from aiochat.tail import Tails

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Hub:
    """Rooms, clients and the turn. Everything but `run` may be called from outside it, on the loop's thread."""

    def __init__(self, config: Config, log: RoomLog, directory: Directory, hooks: Hooks | None = None) -> None:
        self.config = config
        self.directory = directory
        self.clients: dict[str, Client] = {}
        self.rooms: dict[str, Room] = {}
        self.rules = Rules(config.room)
        self._loop = asyncio.get_running_loop()
        self.log = LogQueue(config.store, log, self._loop.time, self.later)
        self.tails = Tails(config.history)
        self.fanout = FanOut(self)
        self.following = Following(log, self.rooms, self.fanout, self.later)
        self.publishing = Publishing(self)
        self.application: Application | None = None
        if hooks is not None:
            self.application = Application(self, hooks, HookQueue(config.hooks, self._loop.time, self.later))
        self.greeter = Greeter(self, config.security.session_secret.encode() or log.secret)
        self.access = Access(self)
        self.entering: dict[tuple[str, str], Entrance] = {}  # by room and client id
        self.behind: dict[tuple[Client, Room], float] = {}  # members not live yet, and until when they may take to be
        self.presence = PresenceBoard(
            config.presence, self.rooms, self._loop.time, self._tell_presence_in, self._release_name, self.count
        )
        self._sleeping: asyncio.Future[None] | None = None
        self.inbox = Inbox(config.hub, self._wake)
        self.guard = Guard(self, log)
        self.bans = self.guard.bans
        self._items: deque[Callable[[], object]] = deque()  # joins and losses of connections, the log's answers
        self._answering: list[Client] = []
        # How many are listed, the fullest and whether all of these are open: once for all who ask in this turn.
        self.room_list: tuple[int, list[Room], bool] | None = None
        self.cluster = None if log.link is None else Cluster(self, log.link)
        if self.cluster is not None:
            self.bans.share = self.cluster.share_ban
        self.now = 0.0  # loop time of this turn
        self.ts = 0  # Unix milliseconds; where the clock is set back it stands still, as offsets and `ts` go together
        self.turns = 0
        self.unseen_checks = 0  # how often `check` was called since the last turn that knew of it
        self.refused = Counts(REPLIES)

    # What connections call.

    def attach(self, client: Client, room: str | None) -> None:
        """A new client comes, and joins `room`, if any, before any of its commands is applied."""
        self.clients[client.id] = client
        client.waiting = True
        self.later(partial(self._attach, client, room))

    def detach(self, client: Client, *, is_expected: bool = False) -> None:
        """A client goes, after the commands it has already sent; `is_expected` back if only its connection is lost."""
        client.is_expected = is_expected
        self.later(partial(self._detach, client))

    # What the timer calls, about once a second.

    def check(self) -> None:
        """Look for what has waited too long: for the room log, for a client to come back or to go on."""
        self.unseen_checks += 1
        if self.unseen_checks > 1:
            return
        self.later(self._seen)
        self.later(self.fanout.check)
        self.later(self.presence.check_absent)
        self.later(self.greeter.renew)
        self.later(self.guard.check)
        self.later(self._drop_stalled)
        self.later(self.access.check)
        if self.cluster is not None:
            self.later(self.cluster.check)
        if self.application is not None:
            self.later(self.application.queue.check)

    def _seen(self) -> None:
        self.unseen_checks = 0

    # The turn.

    async def run(self) -> None:
        """Take turns until cancelled."""
        window_seconds = self.config.batch.window_ms / 1000
        while True:
            if not (self.inbox or self._items):
                self._sleeping = self._loop.create_future()
                await self._sleeping
            if window_seconds:
                await asyncio.sleep(window_seconds)
            try:
                await self.turn()
            except Exception:  # whatever it was, the others chat on
                _log.exception("turn_failed")
            if self.inbox or self._items:
                await asyncio.sleep(0)

    async def turn(self) -> None:
        """Apply everything that has arrived; awaits nothing but a breath for the loop within a large fan-out."""
        self.turns += 1
        self.now = self._loop.time()
        self.room_list = None
        self.tick()
        self._apply_commands()
        while True:
            await self._apply_items()
            self.fanout.append()
            if not self._items:
                break
        self.inbox.feed_on()

    def tick(self) -> int:
        """Look at the wall clock: the new `ts`."""
        self.ts = max(self.ts, time.time_ns() // 1_000_000)
        return self.ts

    def later(self, item: Callable[[], object]) -> None:
        self._items.append(item)
        self._wake()

    def _wake(self) -> None:
        if self._sleeping is not None:
            if not self._sleeping.done():
                self._sleeping.set_result(None)
            self._sleeping = None

    async def _apply_items(self) -> None:
        """In order, and with what they deliver: a join after an append must not see its messages twice."""
        for _ in range(len(self._items)):
            item = self._items.popleft()
            try:
                item()
                if self.fanout.is_due:
                    self.flush_answers()
                    await self.fanout.deliver()
            except Exception:
                _log.exception("item_failed")
        self.flush_answers()

    def _apply_commands(self) -> None:
        limits_messages = self.guard.shares.limits_messages
        for client in self.inbox.take():
            commands, client.commands = client.commands or [], None
            for done, command in enumerate(commands, 1):
                try:
                    if limits_messages:
                        self.guard.charge(client, cost_of(command))
                    COMMANDS[type(command)](self, client, command)
                except Reply as reply:
                    self.refuse(client, reply, command)
                except Exception:
                    _log.exception("command_failed", client=client.id, command=type(command).__name__)
                    self.cut_off(client)
                    client.outbox.close(Close.INTERNAL_ERROR, "internal error")
                client.is_new = False
                if client.is_cut_off:
                    break
                if client.waiting and done < len(commands):
                    client.commands = commands[done:]
                    break
            else:
                if not client.waiting:
                    self.inbox.has_taken(client)
            if client.leaving:
                self.later(partial(self._detach, client))

    def refuse(self, client: Client, reply: Reply, command: Command | Reply) -> None:
        """Tell a client that a command of its was refused; too many bad or hasty ones end its connection."""
        self.refused.add(reply.code)
        error = Error(
            id=command.id,
            command=str(command.__struct_config__.tag) if isinstance(command, Command) else command.command,
            code=reply.code,
            field=reply.field,
            reason=reply.reason,
            retry_after_ms=reply.retry_after_ms,
        )
        self.answer(client, error)
        self.guard.strike(client, reply.code)

    def _attach(self, client: Client, room: str | None) -> None:
        if self.guard.end_if_banned(client):  # since it was let in
            self.go_on(client)
            return
        if not client.codec.is_text:
            self.greeter.greet(client)
        is_named = client.name is not None and (client.user is None or client.name != client.identity.name)
        client.is_new = room is None and not is_named
        self.access.watch(client)
        if self.cluster is not None:
            self.cluster.places.add(client)
        if client.identity.rooms and not client.codec.is_text:
            self.greeter.bring_in(client, room)
        elif room is None:
            self.go_on(client)
        else:
            is_quiet = client.codec.is_text and client.name is None
            try:
                enter(self, client, Coming(room, client.name, Join(room=room), is_quiet=is_quiet))
            except Reply as reply:
                self.refuse(client, reply, Join(room=room))
                self.go_on(client)

    def _detach(self, client: Client) -> None:
        if client.waiting or client.commands is not None:
            client.leaving = True
            return
        client.feed_on = None
        self.greeter.forget(client)
        self.access.forget(client)
        is_gone = self.clients.get(client.id) is client  # else another connection has taken its session
        if is_gone:
            del self.clients[client.id]
        for room in client.rooms:
            depart(self, client, room, is_expected=client.is_expected)
        if self.cluster is not None:
            self.cluster.places.discard(client, is_gone=is_gone)
        if is_gone and self.application is not None:
            self.application.disconnected(client)

    def _drop_stalled(self) -> None:
        while self.behind:
            (client, room), deadline = next(iter(self.behind.items()))
            if deadline > self.now:
                break
            depart(self, client, room)
            self.answer(client, Left(room=room.name, reason="stalled"))

    def _tell_presence_in(self, seconds: float) -> None:
        self._loop.call_later(seconds, self.later, self._tell_presence)

    def _tell_presence(self) -> None:
        for room, events in self.presence.due():
            self.fanout.tell(room, events)

    def _release_name(self, room: str, sender: Sender) -> None:
        if sender.client is not None and sender.name is not None:
            self.directory.release(room, sender.name, sender.client)

    # What the commands use.

    def room(self, name: str) -> Room:
        """The room of this name, made if need be."""
        if name not in self.rooms:
            self.rooms[name] = Room(name, self.rules.of(name))
        return self.rooms[name]

    def count(self, room: Room) -> int:
        """How many are in the room, on all nodes."""
        here = len(room.members)
        return here if self.cluster is None else self.cluster.members.count(room.name, here)

    def forget_if_idle(self, room: Room) -> None:
        """Let go of a room that nobody is in and nothing is on its way to."""
        if room.is_idle and self.rooms.get(room.name) is room:
            del self.rooms[room.name]
            self.tails.forget(room.name)
            self.presence.forget(room)
            self.following.forget_if_idle(room.name)

    def answer(self, client: Client, event: Event) -> None:
        """Tell one client; all events of a turn for it go out together."""
        if client.answers is None:
            client.answers = [event]
            self._answering.append(client)
        else:
            client.answers.append(event)

    def go_on(self, client: Client) -> None:
        """The client waits no longer: its commands count again."""
        client.waiting = False
        if client.commands is None:
            self.inbox.has_taken(client)
        self.inbox.go_on(client)
        if client.leaving and client.commands is None:
            self.later(partial(self._detach, client))

    def finish(self, client: Client, code: Close, reason: str) -> None:
        """Close once all that it did has gone out; what it sent after is not applied."""
        client.waiting = True
        self.log.settle(partial(self._finished, client, code, reason))

    def _finished(self, client: Client, code: Close, reason: str) -> None:
        self.end(client, code, reason)
        self.go_on(client)

    def end(self, client: Client, code: Close, reason: str) -> None:
        """Close now, behind what it was told already."""
        self.cut_off(client)
        self.flush_answers()
        client.outbox.close(code, reason)

    def cut_off(self, client: Client) -> None:
        """Nothing that the client has sent and not seen applied counts any more."""
        client.is_cut_off = True
        self.inbox.has_taken(client)
        client.commands = None

    def flush_answers(self) -> None:
        """Send every client what it was told in this turn."""
        answering, self._answering = self._answering, []
        for client in answering:
            answers, client.answers = client.answers or [], None
            try:
                for batch in event_batches(client.codec, answers, self.config.batch):
                    client.outbox.send(batch)
            except Exception:
                _log.exception("answers_failed", client=client.id)
