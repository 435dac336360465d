"""From the room log to everybody: what each append brought is delivered, room by room, and its publishers are told.

What a room's log holds beyond what was delivered, because its answer got lost with its process, is read and delivered
first, so that nobody sees a hole.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import structlog

from aiochat.batches import batches, event_batches
from aiochat.client import Client
from aiochat.codecs import Codec
from aiochat.errors import UNCONFIRMED, Reply, StoreError, unavailable
from aiochat.messages import Ack, Entry, Event, Gap, Presence, Publish
from aiochat.outbox import Batch
from aiochat.publishing import Published
from aiochat.room import WRITES_PER_SLICE, Room
from aiochat.roomlog import Appended, Arrived, Draft, Page, Repeated
from aiochat.tail import entry_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub

_FILL_ENTRIES = 300

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class FanOut:
    """The hub's way out. A draft's publisher is a text client, a pair of a client and its command, or a future."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._limits = hub.config.batch
        self._deliveries: list[tuple[Room, Callable[[Codec], Iterable[Batch]]]] = []
        self._holes: dict[Room, None] = {}  # rooms whose log holds more than was delivered, and could not be read

    @property
    def is_due(self) -> bool:
        """Whether there is something to `deliver`."""
        return bool(self._deliveries)

    # From the log.

    def append(self) -> None:
        """Hand the log what waits, unless it is busy."""
        for room in self._hub.log.append(self._appended):
            if not room.members:
                self._hub.forget_if_idle(room)

    def check(self) -> None:
        """About once a second: refuse what waits for too long, and try again what did not work."""
        late, refused, rooms = self._hub.log.refuse_late()
        self._give_up(late)
        self.refuse(refused)
        for room in rooms:
            self._hub.forget_if_idle(room)
        holes, self._holes = self._holes, {}
        for room in holes:
            self._fill(room)
        self._hub.log.probe(self._appended)

    def refuse(self, drafts: Iterable[Draft]) -> None:
        """Tell the publishers that the log did not take their drafts."""
        for draft in drafts:
            self._told("", draft, unavailable())

    def _give_up(self, drafts: Iterable[Draft]) -> None:
        """Tell the publishers that it is not known whether the log took their drafts."""
        for draft in drafts:
            self._told("", draft, unavailable(UNCONFIRMED))

    def _appended(self, batch: Mapping[str, list[Draft]], result: Mapping[str, Appended] | StoreError) -> None:
        if isinstance(result, StoreError):
            self._give_up(chain.from_iterable(batch.values()))
            return
        rooms = self._hub.rooms
        for name, drafts in batch.items():
            appended = result[name]
            room = rooms.get(name)
            if room is not None and appended.entries and not self._hub.log.is_shared:
                self._arrived(room, appended, sum([draft.size for draft in drafts]))
            for draft, outcome in zip(drafts, appended.results, strict=True):
                if type(draft.publisher) is not Client or isinstance(outcome, Reply):
                    self._told(name, draft, outcome, appended.epoch)

    def _arrived(self, room: Room, appended: Appended, size: int) -> None:
        first = appended.entries[0].offset
        if not room.epoch:
            room.epoch, room.delivered = appended.epoch, first - 1
        elif room.epoch != appended.epoch:
            self.begin_anew(room, appended.epoch, first - 1)
        if first > room.delivered + 1:
            self._fill(room)
        elif not room.is_filling:
            self._deliver(room, appended.entries, size)

    def arrived(self, room: Room, arrived: Arrived) -> None:
        """What a log brings that this node shares with others, whoever said it."""
        if not room.epoch:
            if not room.members:
                return  # who comes is given a page with all of it
            room.epoch, room.delivered = arrived.epoch, arrived.after
        elif room.epoch != arrived.epoch:
            self.begin_anew(room, arrived.epoch, arrived.after)
        elif arrived.after > room.delivered:
            self._lose(room, arrived.after)
        entries = arrived.entries
        if arrived.after < room.delivered:  # the page that the first member was given went on
            entries = [entry for entry in entries if entry.offset > room.delivered]
        if entries:
            self._deliver(room, entries, arrived.size)

    def begin_anew(self, room: Room, epoch: str, newest: int) -> None:
        """The room's log has begun again under another epoch, and stands at `newest`: tell its members."""
        if room.epoch == epoch:
            return  # they know
        room.epoch, room.delivered, room.oldest = epoch, newest, 1
        self._hub.tails.forget(room.name)
        self.tell(room, [Gap(room=room.name, epoch=epoch, offset=newest)])

    def _told(self, room: str, draft: Draft, outcome: Entry | Repeated | Reply, epoch: str = "") -> None:
        publisher = draft.publisher
        if type(publisher) is tuple:
            client, command = publisher
            self._answer(room, client, command, outcome)
        elif isinstance(publisher, Client):
            if isinstance(outcome, Reply):
                self._hub.refuse(publisher, outcome, Publish(room=""))
        elif isinstance(publisher, asyncio.Future) and not publisher.done():  # None was told when the log was late
            if isinstance(outcome, Reply):
                publisher.set_exception(outcome)
            else:
                is_repeated = isinstance(outcome, Repeated)
                publisher.set_result(Published(epoch, outcome.offset, outcome.ts, is_repeated))

    def _answer(self, room: str, client: Client, command: Publish, outcome: Entry | Repeated | Reply) -> None:
        if isinstance(outcome, Reply):
            self._hub.refuse(client, outcome, command)
            return
        repeated = isinstance(outcome, Repeated)
        ack = Ack(id=command.id, room=room, offset=outcome.offset, ts=outcome.ts, key=command.key, repeated=repeated)
        self._hub.answer(client, ack)

    # What was missed.

    def _fill(self, room: Room) -> None:
        if not room.is_filling and room.members:
            room.is_filling = True
            read = partial(self._filled, room)
            self._hub.log.read(room.name, read, limit=_FILL_ENTRIES, after=room.delivered)

    def _filled(self, room: Room, result: Page | StoreError) -> None:
        room.is_filling = False
        if isinstance(result, StoreError):
            self._holes[room] = None
            return
        if result.epoch != room.epoch:
            self.begin_anew(room, result.epoch, result.newest)
            return
        if result.oldest > room.delivered + 1:
            self._lose(room, result.oldest - 1)
        if result.entries:
            self._deliver(room, result.entries, sum(map(entry_bytes, result.entries)))
            if room.delivered < result.newest:
                self._fill(room)

    def _lose(self, room: Room, until: int) -> None:
        """What follows up to here cannot be given to anybody."""
        lost = Gap(room=room.name, epoch=room.epoch, from_=room.delivered + 1, to=until)
        room.delivered = until
        self._hub.tails.forget(room.name)
        self.tell(room, [lost])

    # To the members.

    def _deliver(self, room: Room, entries: Sequence[Entry], size: int) -> None:
        room.delivered = entries[-1].offset
        if room.members:
            self._hub.tails.add(room.name, entries, size)
            self._deliveries.append((room, lambda codec: batches(codec, entries, self._limits)))
        else:
            self._hub.tails.forget(room.name)  # which has no hole

    def tell(self, room: Room, events: list[Event]) -> None:
        """Tell the room what is in no log; of the text clients only those with a name."""
        self._hub.flush_answers()
        self._deliveries.append(
            (room, lambda codec: () if codec.is_text else event_batches(codec, events, self._limits))
        )
        named = [
            (client, sender)
            for client, sender in room.members.items()
            if client.codec.is_text and sender.name is not None
        ]
        if not named:
            return
        shared = list(event_batches(named[0][0].codec, events, self._limits))
        for client, _ in named:
            others = [_without(event, client.id) for event in events]
            for batch in shared if others == events else event_batches(client.codec, others, self._limits):
                client.outbox.send(batch)

    async def deliver(self) -> None:
        """Send out what has arrived; awaits nothing but a breath for the loop within a large room."""
        deliveries, self._deliveries = self._deliveries, []
        for room, batches_for in deliveries:
            try:
                if len(room.members) <= WRITES_PER_SLICE:
                    room.fan_out(batches_for)
                else:
                    for _ in room.slices(batches_for):
                        await asyncio.sleep(0)
            except Exception:  # the other rooms get theirs
                _log.exception("fan_out_failed", room=room.name)


def _without(event: Event, client: str) -> Event:
    """What there is to tell somebody who need not be told of himself."""
    if not isinstance(event, Presence):
        return event
    came = tuple(sender for sender in event.came if sender.client != client)
    renamed = tuple(renaming for renaming in event.renamed if renaming.client != client)
    return Presence(room=event.room, members=event.members, came=came, went=event.went, renamed=renamed)
