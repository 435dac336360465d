"""How a client comes into a room, catches up with it, and leaves it; within the hub's turns.

The name is claimed, then what was said is read: from the room's tail in memory or else from the log, whose answer comes
in a later turn. Then the client is a member; it is live if what it was given ends where delivery stands.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from aiochat.auth.rules import check_join
from aiochat.client import Client
from aiochat.errors import Reply, StoreError, unavailable
from aiochat.messages import Command, Entry, Gap, Joined, Left, Position, Sender
from aiochat.room import Room
from aiochat.roomlog import PAGE_BYTES, Page
from aiochat.tail import entry_bytes, first_page

if TYPE_CHECKING:
    from aiochat.hub import Hub

PAGE_ENTRIES: Final = 300
_LINES: Final = 20  # of history, for a text client that has a name
_STALLED_SECONDS: Final = 60.0  # for who was given a page with more to come, and does not ask on


@dataclass(frozen=True, slots=True)
class Coming:
    """How a client comes into a room: called `name`, as `command` asked for it.

    `then` is called, instead of the client's going on, with the bytes of content that it was given.
    """

    room: str
    name: str | None
    command: Command
    since: Position | None = None
    limit: int | None = None
    is_quiet: bool = False  # not told that it has joined
    max_bytes: int = PAGE_BYTES
    then: Callable[[int], object] | None = None


def enter(hub: "Hub", client: Client, coming: Coming) -> None:
    """Make `client` a member and answer its command; its further commands wait until then.

    Raises `Reply`: `forbidden`, `too_many_rooms`.
    """
    check_join(client.identity, coming.room, hub.rules.of(coming.room))
    joined = next((joined for joined in client.rooms if joined.name == coming.room), None)
    allowed = hub.config.limits.max_rooms_per_client
    if joined is None and not client.codec.is_text and len(client.rooms) >= allowed:
        raise Reply("too_many_rooms", f"a client may be in {allowed} rooms at once", field="room")
    client.waiting = True
    if joined is not None:
        Entrance(hub, client, coming).called(joined.members[client].name)
    elif hub.application is not None:
        hub.application.may_join(client, coming.name, coming.room, partial(_judged, hub, client, coming))
    else:
        _claim(hub, client, coming)


def _judged(hub: "Hub", client: Client, coming: Coming, refusal: Reply | None) -> None:
    """The embedding application has said whether it may come in."""
    if refusal is None:
        _claim(hub, client, coming)
    elif coming.then is not None:
        hub.answer(client, Left(room=coming.room, reason=refusal.code))
        coming.then(0)
    else:
        client.waiting = False
        hub.refuse(client, refusal, coming.command)
        if not client.waiting:  # for its end
            hub.go_on(client)


def _claim(hub: "Hub", client: Client, coming: Coming) -> None:
    entrance = Entrance(hub, client, coming)
    if hub.cluster is not None:
        hub.cluster.enter(client, coming.room, coming.name, entrance.called)
    elif coming.name is None:
        entrance.called(None)
    else:
        hub.directory.claim(coming.room, coming.name, client.id, client.user, entrance.called)


def depart(hub: "Hub", client: Client, room: Room, *, is_expected: bool = False) -> None:
    """Take `client` out of a room; a program that is expected back keeps its name there for the grace."""
    client.rooms = tuple(joined for joined in client.rooms if joined is not room)
    hub.behind.pop((client, room), None)
    sender = room.remove(client)
    keeps_name = hub.cluster is not None or (is_expected and not client.codec.is_text)
    if sender.name is not None and not keeps_name:
        hub.directory.release(room.name, sender.name, client.id)
    if hub.cluster is not None:
        hub.cluster.leave(client, room.name, is_expected=is_expected)
    elif is_expected:
        hub.presence.lost(room, sender)
    else:
        hub.presence.went(room, sender)
    if hub.application is not None:
        hub.application.left(client, sender.name, room.name)
    hub.forget_if_idle(room)


class Entrance:
    """One client on its way into one room."""

    def __init__(self, hub: "Hub", client: Client, coming: Coming) -> None:
        self._hub = hub
        self._client = client
        self._coming = coming
        self._room = coming.room
        self._since = coming.since
        self._is_shown = hub.rules.of(coming.room).history
        self._limit = self._usual_limit() if coming.limit is None else coming.limit
        self.name: str | None = None
        hub.entering[coming.room, client.id] = self
        hub.following.come(coming.room)

    def _usual_limit(self) -> int:
        if not self._client.codec.is_text:
            return self._hub.config.history.on_join
        return 0 if self._coming.name is None else _LINES

    def called(self, name: str | None) -> None:
        """The directory has given it this name."""
        self.name = name
        if not self._is_shown:
            self._limit = 0
        if self._since is None:
            read(self._hub, self._room, self._arrived, limit=self._limit)
        else:
            limit = PAGE_ENTRIES if self._coming.max_bytes > 0 and self._is_shown else 0
            read(self._hub, self._room, self._caught_up, limit=limit, after=self._since.offset)

    def _arrived(self, result: Page | StoreError) -> None:
        """Where the room stands and its newest messages are known."""
        if isinstance(result, StoreError) and not self._client.codec.is_text:
            self._refused()
            return
        page = Page("", 1, 0, ()) if isinstance(result, StoreError) else result  # people can talk without a history
        if self._since is None:
            self._admit(page.entries)
        else:  # of another epoch
            entries = self._affordable(reversed(page.entries))[::-1]
            self._admit(entries, Gap(room=self._room, epoch=page.epoch, offset=page.newest))

    def _caught_up(self, result: Page | StoreError) -> None:
        """What it missed is known, or its first page; what the log holds no more is a gap before it."""
        since = self._since
        if isinstance(result, StoreError):
            self._refused()
            return
        if since is None or since.epoch != result.epoch or since.offset > result.newest:
            read(self._hub, self._room, self._arrived, limit=self._limit)
            return
        if not self._is_shown:  # all that was missed is a gap
            result = Page(result.epoch, result.newest + 1, result.newest, ())
        entries = self._affordable(iter(result.entries))
        last = entries[-1].offset if entries else since.offset
        gap = None
        if since.offset < result.oldest - 1 and (entries or not result.entries):
            first = entries[0].offset if entries else result.newest + 1
            gap = Gap(room=self._room, epoch=result.epoch, from_=since.offset + 1, to=first - 1)
            last = max(last, first - 1)
        self._admit(entries, gap, recovered=gap is None, more=last < self._hub.room(self._room).delivered)

    def _affordable(self, entries: Iterator[Entry]) -> tuple[Entry, ...]:
        """The first ones that make a page, or what `resume` leaves of it to this room."""
        max_bytes = self._coming.max_bytes
        page = first_page(entries, PAGE_ENTRIES, max_bytes)
        if max_bytes < PAGE_BYTES and sum(map(entry_bytes, page)) > max_bytes:
            return ()
        return tuple(page)

    def _admit(
        self, entries: tuple[Entry, ...], gap: Gap | None = None, *, recovered: bool = False, more: bool = False
    ) -> None:
        hub, client = self._hub, self._client
        room = hub.room(self._room)
        if client.is_cut_off:
            self._give_up(room)
            return
        is_new = client not in room.members
        if is_new:
            self._become_member(room)
        if more:
            room.fall_behind(client)
            hub.behind.pop((client, room), None)
            hub.behind[client, room] = hub.now + _STALLED_SECONDS
        else:
            room.go_live(client)
            hub.behind.pop((client, room), None)
        if gap is not None:
            hub.answer(client, gap)
        is_catching_up = self._since is not None
        if not self._coming.is_quiet:
            joined = Joined(
                id=self._coming.command.id,
                room=room.name,
                name=room.members[client].name,
                epoch=room.epoch,
                offset=room.delivered,
                members=hub.count(room),
                messages=entries,
                recovered=recovered if is_catching_up else None,
                more=more if is_catching_up else None,
            )
            hub.answer(client, joined)
        if is_new and self._coming.then is None and self.name != client.name:
            hub.greeter.give_session(client)  # to come back under this name
        self._done(sum(map(entry_bytes, entries)))

    def _become_member(self, room: Room) -> None:
        hub, client = self._hub, self._client
        if client.codec.is_text:
            for other in client.rooms:
                depart(hub, client, other)
            client.name = self.name
        sender = Sender(client.id, self.name, client.user)
        client.rooms += (room,)
        room.add(client, sender)
        if hub.cluster is None:
            hub.presence.came(room, sender)

    def _refused(self) -> None:
        """The log cannot say where the room stands, without which a program could not go on after a break."""
        self._give_up(self._hub.room(self._room))
        if self._coming.then is None:
            self._hub.refuse(self._client, unavailable(), self._coming.command)
        else:
            self._hub.answer(self._client, Left(room=self._room, reason="unavailable"))

    def _give_up(self, room: Room) -> None:
        if self._hub.cluster is not None:
            if self._client not in room.members:  # else it was catching up
                self._hub.cluster.leave(self._client, room.name)
        elif self.name is not None and not self._is_inherited(room):
            self._hub.directory.release(room.name, self.name, self._client.id)
        self._hub.forget_if_idle(room)
        self._done(0)

    def _is_inherited(self, room: Room) -> bool:
        """Whether the name is, or will be, that of who has resumed the session meanwhile; or of itself, from before."""
        heir = self._hub.clients.get(self._client.id)
        if heir in room.members:
            return room.members[heir].name == self.name
        entrance = self._hub.entering.get((room.name, self._client.id))
        return entrance is not None and entrance is not self and entrance.name == self.name

    def _done(self, size: int) -> None:
        place = (self._room, self._client.id)
        if self._hub.entering.get(place) is self:
            del self._hub.entering[place]
        self._hub.following.arrive(self._room)
        if self._coming.then is None:
            self._hub.go_on(self._client)
        else:
            self._coming.then(size)


# What a room said, from its tail or the log, up to what was delivered.


def read(
    hub: "Hub",
    room: str,
    then: Callable[[Page | StoreError], object],
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> None:
    """Call `then` with a page of the room as the log's contract has it, at once or in a later turn."""
    known = hub.rooms.get(room)
    page = None if known is None else _from_tail(hub, known, limit, before, after)
    if page is not None:
        then(page)
        return
    is_newest = before is None and after is None
    wanted = max(limit, hub.config.history.on_join) if is_newest else limit  # more, for the room's tail
    hub.log.read(room, partial(_from_log, hub, room, limit, then), limit=wanted, before=before, after=after)


def has_more(page: Page, before: int | None, after: int | None) -> bool:
    """Whether there is more beyond a page that has entries or was asked for with a limit, in the direction asked."""
    entries = page.entries
    if after is not None:
        return (entries[-1].offset if entries else after) < page.newest
    first = page.newest + 1 if before is None else before
    return (entries[0].offset if entries else first) > page.oldest


def _from_tail(hub: "Hub", room: Room, limit: int, before: int | None, after: int | None) -> Page | None:
    tail = hub.tails.get(room.name)
    if not room.epoch or tail is None or before is not None:
        return None
    first = tail.first or room.delivered + 1
    if after is None:
        if tail.count < limit and first > room.oldest:
            return None
        entries = tail.newest(limit)
    else:
        if after + 1 < first and first > room.oldest:
            return None
        entries = first_page(tail.after(after), limit)
    max_age_ms = hub.config.history.max_age_hours * 3_600_000
    if entries and max_age_ms and entries[0].ts < hub.ts - max_age_ms:
        return None
    return Page(room.epoch, room.oldest, room.delivered, tuple(entries))


def _from_log(
    hub: "Hub", name: str, limit: int, then: Callable[[Page | StoreError], object], result: Page | StoreError
) -> None:
    if isinstance(result, StoreError):
        then(result)
        return
    room = hub.room(name)
    page = _as_delivered(hub, room, result)
    if len(page.entries) > limit:
        page = Page(page.epoch, page.oldest, page.newest, page.entries[len(page.entries) - limit :])
    then(page)
    hub.forget_if_idle(room)


def _as_delivered(hub: "Hub", room: Room, page: Page) -> Page:
    """Learn from the page where the room stands, or cut off what the room's members have not been given yet."""
    if not room.epoch:
        room.epoch, room.delivered = page.epoch, page.newest
    elif page.epoch != room.epoch:
        hub.fanout.begin_anew(room, page.epoch, page.newest)
    room.oldest = page.oldest
    if page.newest > room.delivered:
        entries = tuple(takewhile(lambda entry: entry.offset <= room.delivered, page.entries))
        page = Page(page.epoch, page.oldest, room.delivered, entries)
    _keep_as_tail(hub, room, page)
    return page


def _keep_as_tail(hub: "Hub", room: Room, page: Page) -> None:
    tail = hub.tails.get(room.name)
    is_newest = not page.entries or page.entries[-1].offset == page.newest
    if is_newest and (tail is None or tail.count < len(page.entries)):
        hub.tails.forget(room.name)
        hub.tails.add(room.name, page.entries, sum(map(entry_bytes, page.entries)))
