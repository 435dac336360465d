"""What the hub should do, in lists and dicts: no bytes, no outboxes, no time, and a log that answers when told to."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from aiochat import messages as m
from tests.hub_state import EPOCH, MAX_ROOMS, ON_JOIN, PAGE_ENTRIES, Entries, Page, Person, Room, page_of

Batch = dict[str, list[tuple[Person, m.Sender, m.Publish]]]
Then = Callable[[Page | None], None]


class Model:
    """A turn takes each client's commands, in order, until it waits; then all that arrived otherwise, in order."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.people: dict[str, Person] = {}
        self.names: dict[str, dict[str, str]] = {}  # who holds which name, folded, by room
        self.logged: dict[str, Entries] = {}
        self.calls: deque[Callable[[bool], None]] = deque()  # of the log, not answered yet
        self._inbox: list[Person] = []
        self._items: deque[Callable[[], None]] = deque()
        self._drafts: Batch = {}
        self._is_appending = False
        self._room_list: tuple[tuple[str, Room], ...] | None = (
            None  # of this turn; how many are in each is told as it is
        )

    @property
    def is_idle(self) -> bool:
        """Whether a turn would change nothing, and the log owes no answer."""
        return not (self._inbox or self._items or self._drafts or self.calls)

    # What happens to it.

    def connect(self, person: Person, room: str | None) -> None:
        self.people[person.id] = person
        if room is None:
            self._items.append(partial(self._go_on, person))
            return
        is_quiet = person.is_text and person.name is None
        self._items.append(partial(self._enter, person, m.Join(room=room), person.name, is_quiet=is_quiet))

    def hang_up(self, person: Person) -> None:
        person.is_gone = True
        self._items.append(partial(self._detach, person))

    def submit(self, person: Person, command: m.Command) -> None:
        if not person.commands and not person.is_waiting:
            self._inbox.append(person)
        person.commands.append(command)

    def answer(self, *, fails: bool) -> None:
        """The log answers its oldest call."""
        self.calls.popleft()(fails)

    def turn(self) -> None:
        self._room_list = None
        inbox, self._inbox = self._inbox, []
        for person in inbox:
            person.is_applying = True
            while person.commands and not person.is_waiting:
                self._apply(person, person.commands.pop(0))
            person.is_applying = False
            if person.is_leaving:
                self._items.append(partial(self._detach, person))
        while True:
            for _ in range(len(self._items)):
                self._items.popleft()()
            self._append()
            if not self._items:
                break

    # Commands.

    def _apply(self, person: Person, command: Any) -> None:
        match command:
            case m.Join(room=room, name=name):
                if person.is_text or room in person.rooms or len(person.rooms) < MAX_ROOMS:
                    self._enter(person, command, name or person.name)
                else:
                    self._refuse(person, command, "too_many_rooms", "room")
            case m.Leave() if person.is_text:
                self._enter(person, m.Join(id=command.id, room="lobby"), person.name)
            case m.Rooms():
                if self._room_list is None:
                    self._room_list = tuple(self.rooms.items())
                infos = tuple(m.RoomInfo(name, len(room.members)) for name, room in self._room_list)
                person.tell(m.RoomList(id=command.id, count=len(infos), rooms=infos))
            case m.Ping():
                person.tell(m.Pong(id=command.id))
            case m.Direct(name=None):
                found = self.people.get(command.client or "")
                self._direct(person, command, found, m.Sender(person.id, person.name), None)
            case _:
                room = person.rooms[0] if command.room == m.HERE else command.room
                if room in person.rooms:
                    self._apply_within(person, command, room)
                else:
                    self._refuse(person, command, "not_joined", "room")

    def _apply_within(self, person: Person, command: Any, room: str) -> None:
        members = self.rooms[room].members
        match command:
            case m.Publish():
                self._drafts.setdefault(room, []).append((person, members[person.id], command))
            case m.Leave():
                self._depart(person, room)
                person.tell(m.Left(id=command.id, room=room))
            case m.Rename(name=name):
                self._release(person, room, members[person.id].name)
                called = self._claim(person, room, name)
                members[person.id] = m.Sender(person.id, called)
                person.tell(m.Renamed(id=command.id, room=room, name=called or ""))
                if person.is_text:
                    person.name = called
            case m.Who():
                person.tell(m.Members(id=command.id, room=room, count=len(members), members=tuple(members.values())))
            case m.Direct(name=name):
                holder = self.names.get(room, {}).get(str(name).casefold(), "")
                found = self.people.get(holder) if holder in members else None
                self._direct(person, command, found, members[person.id], room)
            case m.History(before=before, after=after, limit=limit):
                person.is_waiting = True
                limit = min(ON_JOIN if limit is None else limit, PAGE_ENTRIES)
                self._read(room, limit, before, after, partial(self._history, person, room, command))

    def _history(self, person: Person, room: str, command: m.History, page: Page | None) -> None:
        self._go_on(person)
        if page is None:
            self._refuse(person, command, "unavailable", None, 1000)
            return
        if command.epoch not in (None, EPOCH):
            self._refuse(person, command, "epoch_changed", "epoch")
            return
        newest, entries = page
        if command.after is not None:
            more = (entries[-1].offset if entries else command.after) < newest
        else:
            before = newest + 1 if command.before is None else command.before
            more = (entries[0].offset if entries else before) > 1
        person.tell(m.HistoryPage(id=command.id, room=room, epoch="", messages=entries, more=more))

    def _direct(
        self, person: Person, command: m.Direct, found: Person | None, sender: m.Sender, room: str | None
    ) -> None:
        if found is None:
            self._refuse(person, command, "no_such_client", "client" if command.name is None else "name")
            return
        found.tell(m.DirectMessage(sender=sender, ts=0, room=room, text=command.text))
        person.tell(m.Sent(id=command.id, connections=1, name=command.name))

    def _refuse(
        self, person: Person, command: m.Command, code: str, field: str | None, retry_after_ms: int | None = None
    ) -> None:
        tag = type(command).__name__.lower()
        id = None if person.is_text else command.id
        error = m.Error(id=id, command=tag, code=code, field=field, reason="", retry_after_ms=retry_after_ms)
        person.tell(error)

    # Coming and going.

    def _enter(self, person: Person, command: m.Join, name: str | None, *, is_quiet: bool = False) -> None:
        person.is_waiting = True
        room, since, limit = command.room, command.since, command.limit
        is_there = room in person.rooms
        name = self.rooms[room].members[person.id].name if is_there else self._claim(person, room, name)
        if limit is None:
            limit = ON_JOIN if not person.is_text else 0 if command.name is None and name is None else 20
        arrived = partial(self._arrived, person, command, name, is_quiet)
        if since is None:
            self._read(room, limit, None, None, arrived)
        else:
            then = partial(self._caught_up, person, command, name, limit)
            self._read(room, PAGE_ENTRIES, None, since.offset, then)

    def _arrived(self, person: Person, command: m.Join, name: str | None, is_quiet: bool, page: Page | None) -> None:
        if page is None and not person.is_text:
            self._turned_away(person, command, name)
            return
        newest, entries = page or (0, ())
        if command.since is None:
            self._admit(person, command, name, entries, is_quiet=is_quiet)
        else:
            gap = m.Gap(room=command.room, epoch="", offset=newest)
            self._admit(person, command, name, entries[-PAGE_ENTRIES:], gap, False)

    def _caught_up(self, person: Person, command: m.Join, name: str | None, limit: int, page: Page | None) -> None:
        since = command.since
        if page is None or since is None:
            self._turned_away(person, command, name)
        elif since.epoch != EPOCH or since.offset > page[0]:
            arrived = partial(self._arrived, person, command, name, False)
            self._read(command.room, limit, None, None, arrived)
        else:
            self._admit(person, command, name, page[1], recovered=True)

    def _turned_away(self, person: Person, command: m.Join, name: str | None) -> None:
        if command.room not in person.rooms:
            self._release(person, command.room, name)
        self._forget_if_idle(command.room)
        self._refuse(person, command, "unavailable", None, 1000)
        self._go_on(person)

    def _admit(
        self,
        person: Person,
        command: m.Join,
        name: str | None,
        entries: Entries,
        gap: m.Gap | None = None,
        recovered: bool | None = None,
        is_quiet: bool = False,
    ) -> None:
        room = self.rooms.setdefault(command.room, Room())
        if command.room not in person.rooms:
            if person.is_text:
                self._leave_all(person)
                person.name = name
            person.rooms.append(command.room)
            room.members[person.id] = m.Sender(person.id, name)
        more = None if recovered is None else False
        if recovered and command.since is not None:
            more = (entries[-1].offset if entries else command.since.offset) < room.stands_at
        (room.live.discard if more else room.live.add)(person.id)
        if gap is not None:
            person.tell(gap)
        if not is_quiet:
            called, members = room.members[person.id].name, len(room.members)
            stand: dict[str, Any] = {"epoch": "", "offset": room.stands_at, "recovered": recovered, "more": more}
            person.tell(
                m.Joined(id=command.id, room=command.room, name=called, members=members, messages=entries, **stand)
            )
        self._go_on(person)

    def _claim(self, person: Person, room: str, name: str | None) -> str | None:
        if name is None:
            return None
        names = self.names.setdefault(room, {})
        wanted = [name, *(f"{name}-{number}" for number in range(2, 20))]
        called = next(each for each in wanted if names.get(each.casefold(), person.id) == person.id)
        names[called.casefold()] = person.id
        return called

    def _release(self, person: Person, room: str, name: str | None) -> None:
        if name is not None and self.names.get(room, {}).get(name.casefold()) == person.id:
            del self.names[room][name.casefold()]

    def _detach(self, person: Person) -> None:
        if person.is_waiting or person.commands:
            person.is_leaving = True
        elif self.people.pop(person.id, None):
            self._leave_all(person)

    def _leave_all(self, person: Person) -> None:
        for room in person.rooms[:]:
            self._depart(person, room)

    def _depart(self, person: Person, name: str) -> None:
        room = self.rooms[name]
        person.rooms.remove(name)
        room.live.discard(person.id)
        self._release(person, name, room.members.pop(person.id).name)
        self._forget_if_idle(name)

    def _forget_if_idle(self, name: str) -> None:
        if name in self.rooms and not self.rooms[name].members and name not in self._drafts:
            del self.rooms[name]

    def _go_on(self, person: Person) -> None:
        person.is_waiting = False
        if person.is_applying:
            return
        if person.commands:
            self._inbox.append(person)
        elif person.is_leaving:
            self._items.append(partial(self._detach, person))

    def _read(self, name: str, limit: int, before: int | None, after: int | None, then: Then) -> None:
        """From memory at once, or from the log, in a later turn."""
        known = self.rooms.get(name)
        page = None if known is None else known.kept(limit, before, after)
        if page is not None:
            then(page)
            return
        wanted = max(limit, ON_JOIN) if before is None and after is None else limit

        def answered(fails: bool) -> None:
            entries = self.logged.get(name, ())
            page = None if fails else (len(entries), page_of(entries, wanted, before, after))
            self._items.append(partial(self._has_read, name, limit, page, then))

        self.calls.append(answered)

    def _has_read(self, name: str, limit: int, page: Page | None, then: Then) -> None:
        if page is not None:
            newest, entries = page
            room = self.rooms.setdefault(name, Room())
            if room.delivered is None:
                room.delivered = newest
            entries = tuple(entry for entry in entries if entry.offset <= room.stands_at)
            is_newest = not entries or entries[-1].offset == room.delivered
            if is_newest and (room.tail is None or sum(map(len, room.tail)) < len(entries)):
                room.tail = None
                room.keep(entries)
            page = room.delivered, entries[max(0, len(entries) - limit) :]
        then(page)
        self._forget_if_idle(name)

    def _append(self) -> None:
        if self._is_appending or not self._drafts:
            return
        batch, self._drafts = self._drafts, {}
        self._is_appending = True
        self.calls.append(partial(self._log, batch))
        for room in batch:
            self._forget_if_idle(room)

    def _log(self, batch: Batch, fails: bool) -> None:
        entries: dict[str, Entries] = {}
        for room, drafts in batch.items() if not fails else ():
            first = len(self.logged.get(room, ())) + 1
            said = [m.Message(room, first + n, 0, sender, draft.text) for n, (_, sender, draft) in enumerate(drafts)]
            entries[room] = tuple(said)
            self.logged[room] = self.logged.get(room, ()) + entries[room]
        self._items.append(partial(self._appended, batch, entries))

    def _appended(self, batch: Batch, entries: dict[str, Entries]) -> None:
        self._is_appending = False
        for room, drafts in batch.items():
            for number, (person, _, command) in enumerate(drafts):
                if room not in entries:
                    self._refuse(person, command, "unavailable", None, 1000)
                elif not person.is_text:
                    offset = entries[room][number].offset
                    person.tell(m.Ack(id=command.id, room=room, offset=offset, ts=0))
        for room, said in entries.items():
            if room in self.rooms:
                self._deliver(self.rooms[room], said)

    def _deliver(self, room: Room, entries: Entries) -> None:
        room.delivered = entries[-1].offset
        if room.members:
            room.keep(entries)
        else:
            room.tail = None
        for id in room.live:
            for entry in entries:
                self.people[id].tell(entry)
