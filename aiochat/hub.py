"""The one coroutine that owns rooms and clients. A turn takes everything that arrived and applies it; it never waits.

submit -> inbox -> turn: commands -> room log -> its answer, an item like any other -> fan-out -> outboxes
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from aiochat.client import Client
from aiochat.codecs import event_batches
from aiochat.commands import COMMANDS, COSTS, enter, leave_all
from aiochat.config import Config
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, Reply, StoreError, unavailable
from aiochat.limits import Budget, Strikes
from aiochat.logqueue import LogQueue
from aiochat.messages import Command, Error, Event, Message, Publish, RoomList, Sender
from aiochat.room import WRITES_PER_SLICE, Room
from aiochat.roomlog import Draft, Page, RoomLog, content_bytes

_INBOX_BYTES_PER_CLIENT: Final = 128 << 10
_REFUSALS_ALLOWED: Final = (100, 10.0)  # within so many seconds, then 4429
_BAD_MESSAGES_ALLOWED: Final = (19, 60.0)  # likewise 4400: the twentieth ends it

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Hub:
    """Rooms, clients and the turn. Everything but `run` may be called from outside it, on the loop's thread."""

    def __init__(self, config: Config, log: RoomLog, directory: LocalDirectory) -> None:
        self.config = config
        self.directory = directory
        self.clients: dict[str, Client] = {}
        self.rooms: dict[str, Room] = {}
        self._loop = asyncio.get_running_loop()
        self.log = LogQueue(config.store, log, self._loop.time, self._item)
        self._sleeping: asyncio.Future[None] | None = None
        self._inbox_per_client = config.hub.inbox_per_client
        self._max_inbox_bytes = config.hub.inbox_bytes
        self._limits_rate = config.limits.messages_per_second > 0
        self._inbox: list[Client] = []  # who has commands for the next turn
        self._inbox_bytes = 0
        self._items: deque[Callable[[], object]] = deque()  # joins and losses of connections, the log's answers
        self._held: dict[Client, None] = {}  # whose connections stopped reading until their commands are taken
        self._answering: list[Client] = []
        self._deliveries: list[tuple[Room, Sequence[Message]]] = []
        self._publishing: set[asyncio.Future[int]] = set()  # calls of `publish` under way
        self.room_list: RoomList | None = None  # one for all who ask in this turn
        self._now = 0.0  # loop time of this turn
        self.ts = 0  # wall clock of this turn, Unix milliseconds

    # What connections call.

    def attach(self, client: Client, room: str) -> None:
        """A new client comes, and joins `room` before any of its commands is applied."""
        self.clients[client.id] = client
        client.waiting = True
        self._item(partial(enter, self, client, room, client.name, quiet=client.name is None))

    def detach(self, client: Client) -> None:
        """A client goes, after the commands it has already sent."""
        self._item(partial(self._detach, client))

    def submit(self, client: Client, command: Command | Reply, size: int) -> None:
        """Queue a command of `size` bytes for the next turn; `client.is_full` says whether to send more before it."""
        commands = client.commands
        if commands is not None:
            commands.append(command)
        else:
            client.commands = commands = [command]
            if not client.waiting:
                self._inbox.append(client)
                if self._sleeping is not None:
                    self._wake()
        client.queued_bytes += size
        self._inbox_bytes += size
        client.is_full = (
            len(commands) >= self._inbox_per_client
            or client.queued_bytes >= _INBOX_BYTES_PER_CLIENT
            or self._inbox_bytes >= self._max_inbox_bytes
        )

    def hold(self, client: Client, feed_on: Callable[[], None]) -> None:
        """Call `feed_on` after the turn that takes the last of the client's commands."""
        client.feed_on = feed_on
        self._held[client] = None
        self._wake()

    # What the embedding application calls.

    def publish(self, room: str, text: str | None, data: Any) -> asyncio.Future[int]:
        """Publish a message of nobody's; the future has its offset, or a `Reply` `unavailable`.

        Raises `TypeError` where `data` is not what JSON can say.
        """
        published: asyncio.Future[int] = self._loop.create_future()
        draft = Draft(Sender(), text, data, time.time_ns() // 1_000_000, content_bytes(text, data), published)
        self._publishing.add(published)
        published.add_done_callback(self._publishing.discard)
        self._item(partial(self._publish, room, draft))
        return published

    def abandon(self) -> None:
        """The chat is over: whoever still waits for a `publish` is told."""
        for published in list(self._publishing):
            if not published.done():
                published.set_exception(unavailable("the chat has stopped"))

    def flush(self) -> asyncio.Future[None]:
        """Done when everything that has arrived so far has been fanned out."""
        flushed: asyncio.Future[None] = self._loop.create_future()
        self._item(lambda: self.log.settle(lambda: flushed.set_result(None) if not flushed.done() else None))
        return flushed

    # What the timer calls, about once a second.

    def check_waits(self) -> None:
        """Refuse what has waited too long for the room log."""
        self._item(self._refuse_late)

    # The turn.

    async def run(self) -> None:
        """Take turns until cancelled."""
        window_seconds = self.config.batch.window_ms / 1000
        while True:
            if not (self._inbox or self._items or self._held):
                self._sleeping = self._loop.create_future()
                await self._sleeping
            if window_seconds:
                await asyncio.sleep(window_seconds)
            try:
                await self.turn()
            except Exception:  # whatever it was, the others chat on
                _log.exception("turn_failed")
            if self._inbox or self._items or self._held:
                await asyncio.sleep(0)

    async def turn(self) -> None:
        """Apply everything that has arrived; awaits nothing but a breath for the loop within a large fan-out."""
        self._now = self._loop.time()
        self.room_list = None
        self.ts = time.time_ns() // 1_000_000
        self._apply_commands()
        while True:
            await self._apply_items()
            self._append()
            if not self._items:
                break
        self._feed_on()

    def _feed_on(self) -> None:
        held, self._held = self._held, {}
        for client in held:
            if client.commands is not None:
                if not client.waiting:  # go_on() sees to those that wait
                    self._held[client] = None
            elif client.feed_on is not None:
                feed_on, client.feed_on = client.feed_on, None
                try:
                    feed_on()
                except Exception:
                    _log.exception("feed_failed", client=client.id)
                    client.outbox.close(Close.INTERNAL_ERROR, "internal error")

    def _item(self, item: Callable[[], object]) -> None:
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
                if self._deliveries:
                    await self._deliver()
            except Exception:
                _log.exception("item_failed")
        self._flush_answers()

    def _apply_commands(self) -> None:
        senders, self._inbox = self._inbox, []
        for client in senders:
            commands, client.commands = client.commands or [], None
            for done, command in enumerate(commands, 1):
                try:
                    if self._limits_rate:
                        self._check_rate(client, type(command))
                    COMMANDS[type(command)](self, client, command)
                except Reply as reply:
                    self.refuse(client, reply, command)
                except Exception:
                    _log.exception("command_failed", client=client.id, command=type(command).__name__)
                    client.outbox.close(Close.INTERNAL_ERROR, "internal error")
                if client.waiting and done < len(commands):
                    client.commands = commands[done:]
                    break
            else:
                self._inbox_bytes -= client.queued_bytes
                client.queued_bytes = 0
                client.is_full = False
            if client.leaving:
                self.detach(client)

    def _check_rate(self, client: Client, kind: type[Command | Reply]) -> None:
        limits = self.config.limits
        if client.budget is None:
            client.budget = Budget(limits.messages_per_second, limits.burst_messages, self._now)
        wait_seconds = client.budget.take(COSTS.get(kind, 1), self._now)
        if wait_seconds:
            reason = f"more than {limits.messages_per_second:g} messages a second"
            raise Reply("rate_limited", reason, retry_after_ms=int(wait_seconds * 1000) + 1)

    def refuse(self, client: Client, reply: Reply, command: Command | Reply) -> None:
        name = command.__struct_config__.tag if isinstance(command, Command) else None
        self.answer(
            client, Error(reply.code, reply.reason, str(name) if name else None, reply.field, reply.retry_after_ms)
        )
        if reply.code == "rate_limited":
            client.refusals = client.refusals or Strikes()
            if client.refusals.add(*_REFUSALS_ALLOWED, self._now):
                self.finish(client, Close.FLOODING, "too many messages")
        elif reply.code == "bad_message":
            client.bad_messages = client.bad_messages or Strikes()
            if client.bad_messages.add(*_BAD_MESSAGES_ALLOWED, self._now):
                client.outbox.close(Close.BAD_REQUEST, "too many bad messages")

    def _detach(self, client: Client) -> None:
        if client.waiting or client.commands is not None:
            client.leaving = True
            return
        if self.clients.pop(client.id, None) is not None:
            client.feed_on = None
            leave_all(self, client)

    # What the commands use.

    def room(self, name: str) -> Room:
        """The room of this name, made if need be."""
        if name not in self.rooms:
            self.rooms[name] = Room(name)
        return self.rooms[name]

    def forget_if_idle(self, room: Room) -> None:
        """Let go of a room that nobody is in and nothing is on its way to."""
        if room.is_idle and self.rooms.get(room.name) is room:
            del self.rooms[room.name]

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
        if client.commands is not None:
            self._inbox.append(client)
        elif client.leaving:
            self.detach(client)
        if client.feed_on is not None:
            self._held[client] = None

    def finish(self, client: Client, code: Close, reason: str) -> None:
        """Close once all that it did has gone out; what it sent after is not applied."""
        client.waiting = True
        self.log.settle(partial(self._finished, client, code, reason))

    def _finished(self, client: Client, code: Close, reason: str) -> None:
        self._inbox_bytes -= client.queued_bytes
        client.queued_bytes = 0
        client.is_full = False
        client.commands = None
        self._flush_answers()
        client.outbox.close(code, reason)
        self.go_on(client)

    # The log's answers and the fan-out.

    def _publish(self, name: str, draft: Draft) -> None:
        room = self.room(name)
        try:
            self.log.add(room, draft)
        except Reply:
            self._refuse_publishers([draft])
            self.forget_if_idle(room)

    def _append(self) -> None:
        for room in self.log.append(self._appended):
            if not room.members:
                self.forget_if_idle(room)

    def _appended(self, batch: Mapping[str, list[Draft]], result: Mapping[str, Page] | StoreError) -> None:
        for name, drafts in batch.items():
            if isinstance(result, StoreError):
                self._refuse_publishers(drafts)
                continue
            page = result[name]
            room = self.rooms.get(name)
            if room is not None:
                self._deliveries.append((room, page.messages))
            if self._publishing:
                self._tell_publishers(drafts, page.messages)

    def _tell_publishers(self, drafts: list[Draft], messages: Sequence[Message]) -> None:
        for draft, message in zip(drafts, messages, strict=True):
            if isinstance(draft.publisher, asyncio.Future) and not draft.publisher.done():
                draft.publisher.set_result(message.offset)

    async def _deliver(self) -> None:
        self._flush_answers()
        deliveries, self._deliveries = self._deliveries, []
        limits = self.config.batch
        for room, messages in deliveries:
            try:
                if len(room.members) <= WRITES_PER_SLICE:
                    room.fan_out(messages, limits)
                else:
                    for _ in room.slices(messages, limits):
                        await asyncio.sleep(0)
            except Exception:  # the other rooms get theirs
                _log.exception("fan_out_failed", room=room.name)

    def _flush_answers(self) -> None:
        answering, self._answering = self._answering, []
        for client in answering:
            answers, client.answers = client.answers or [], None
            try:
                for batch in event_batches(client.codec, answers, self.config.batch):
                    client.outbox.send(batch)
            except Exception:
                _log.exception("answers_failed", client=client.id)

    def _refuse_late(self) -> None:
        refused, rooms = self.log.refuse_late()
        self._refuse_publishers(refused)
        for room in rooms:
            self.forget_if_idle(room)

    def _refuse_publishers(self, drafts: Iterable[Draft]) -> None:
        for draft in drafts:
            if isinstance(draft.publisher, Client):
                self.refuse(draft.publisher, unavailable(), Publish())
            elif not draft.publisher.done():
                draft.publisher.set_exception(unavailable())
