"""What the hub should do, in lists and dicts: no bytes, no outboxes, no time, and a log that answers when told to."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from aiochat import messages as m

MAX_ROOMS = 2  # of one client, unless its codec has a single one
Page = tuple[int, tuple[m.Message, ...]]  # the newest offset, and messages


@dataclass
class Person:
    """One client; `told` is all it should have been sent, in order."""

    id: str
    single_room: bool
    name: str | None
    rooms: list[str] = field(default_factory=list)
    commands: list[m.Command] = field(default_factory=list)
    told: list[m.Event] = field(default_factory=list)
    is_waiting: bool = True  # for the log
    is_leaving: bool = False
    is_gone: bool = False

    def tell(self, event: m.Event) -> None:
        if not self.is_gone:
            self.told.append(event)


class Model:
    """A turn takes each client's commands, in order, until it waits; then all that arrived otherwise, in order."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, m.Sender]] = {}  # the members, in the order of their coming
        self.people: dict[str, Person] = {}
        self.calls: deque[Callable[[bool], None]] = deque()  # of the log, not answered yet
        self._logged: dict[str, list[m.Message]] = {}
        self._inbox: list[Person] = []
        self._items: deque[Callable[[], None]] = deque()
        self._drafts: dict[str, list[tuple[Person, m.Message]]] = {}
        self._is_appending = False

    @property
    def is_idle(self) -> bool:
        """Whether a turn would change nothing, and the log owes no answer."""
        return not (self._inbox or self._items or self._drafts or self.calls)

    # What happens to it.

    def connect(self, person: Person, room: str) -> None:
        self.people[person.id] = person
        is_quiet = person.name is None
        self._items.append(lambda: self._enter(person, room, person.name, is_quiet=is_quiet))

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
        inbox, self._inbox = self._inbox, []
        for person in inbox:
            while person.commands and not person.is_waiting:
                self._apply(person, person.commands.pop(0))
            if person.is_leaving:
                self._items.append(partial(self._detach, person))
        while self._items:
            self._items.popleft()()
        if self._drafts and not self._is_appending:
            batch, self._drafts = self._drafts, {}
            self._is_appending = True
            self.calls.append(partial(self._log, batch))
            for room in batch:
                self._forget_if_idle(room)

    # Commands.

    def _apply(self, person: Person, command: m.Command) -> None:
        match command:
            case m.Join(room, name):
                if person.single_room or room in person.rooms or len(person.rooms) < MAX_ROOMS:
                    self._enter(person, room, name or person.name)
                else:
                    person.tell(m.Error("too_many_rooms", "", "join", "room"))
            case m.Leave():
                self._enter(person, "lobby", person.name)
            case m.Rooms():
                rooms = [m.RoomInfo(room, len(members)) for room, members in self.rooms.items()]
                person.tell(m.RoomList(len(rooms), tuple(rooms)))
            case m.Publish(room=room) | m.Rename(room=room) | m.Who(room=room) | m.History(room=room):
                room = person.rooms[0] if room is None else room
                if room in person.rooms:
                    self._apply_within(person, command, room)
                else:
                    person.tell(m.Error("not_joined", "", type(command).__name__.lower(), "room"))

    def _apply_within(self, person: Person, command: m.Command, room: str) -> None:
        members = self.rooms[room]
        match command:
            case m.Publish(text):
                message = m.Message(room, 0, 0, members[person.id], text)
                self._drafts.setdefault(room, []).append((person, message))
            case m.Rename(name):
                self._name(person, room, name)
                person.tell(m.Renamed(room, person.name or ""))
            case m.Who():
                person.tell(m.Members(room, len(members), tuple(members.values())))
            case m.History(limit):
                person.is_waiting = True
                self._read(room, limit, partial(self._history, person, room))

    def _history(self, person: Person, room: str, page: Page | None) -> None:
        self._go_on(person)
        failed = m.Error("unavailable", "", "history", None, 1000)
        person.tell(failed if page is None else m.HistoryPage(room, "", page[1]))

    # Coming and going.

    def _enter(self, person: Person, room: str, name: str | None, *, is_quiet: bool = False) -> None:
        person.is_waiting = True
        self._read(room, 0 if name is None else 20, partial(self._entered, person, room, name, is_quiet))

    def _entered(self, person: Person, room: str, name: str | None, is_quiet: bool, page: Page | None) -> None:
        self._go_on(person)
        members = self.rooms.setdefault(room, {})
        if room not in person.rooms:
            if person.single_room:
                self._leave_all(person)
            person.rooms.append(room)
            self._name(person, room, name)
        if not is_quiet:
            newest, messages = page or (0, ())
            person.tell(m.Joined(room, members[person.id].name, "", newest, len(members), messages))

    def _name(self, person: Person, room: str, name: str | None) -> None:
        members = self.rooms[room]
        if name is not None:
            taken = {each.name.casefold() for id, each in members.items() if each.name and id != person.id}
            wanted = [name, *(f"{name}-{number}" for number in range(2, 20))]
            name = next(each for each in wanted if each.casefold() not in taken)
        person.name = name
        members[person.id] = m.Sender(person.id, name)

    def _detach(self, person: Person) -> None:
        if person.is_waiting or person.commands:
            person.is_leaving = True
        elif self.people.pop(person.id, None):
            self._leave_all(person)

    def _leave_all(self, person: Person) -> None:
        rooms, person.rooms = person.rooms, []
        for room in rooms:
            del self.rooms[room][person.id]
            self._forget_if_idle(room)

    def _forget_if_idle(self, room: str) -> None:
        if not self.rooms.get(room) and room not in self._drafts:
            self.rooms.pop(room, None)

    def _go_on(self, person: Person) -> None:
        person.is_waiting = False
        if person.commands:
            self._inbox.append(person)
        elif person.is_leaving:
            self._items.append(partial(self._detach, person))

    # The log.

    def _read(self, room: str, limit: int, then: Callable[[Page | None], None]) -> None:
        def answered(fails: bool) -> None:
            known = self._logged.get(room, [])
            page = None if fails else (len(known), tuple(known[len(known) - min(limit, len(known)) :]))
            self._items.append(lambda: then(page))

        self.calls.append(answered)

    def _log(self, batch: dict[str, list[tuple[Person, m.Message]]], fails: bool) -> None:
        messages: list[m.Message] = []
        for room, drafts in batch.items() if not fails else ():
            known = self._logged.setdefault(room, [])
            for _, draft in drafts:
                known.append(m.Message(room, len(known) + 1, 0, draft.sender, draft.text))
                messages.append(known[-1])
        publishers = [person for drafts in batch.values() for person, _ in drafts] if fails else []
        self._items.append(lambda: self._appended(messages, publishers))

    def _appended(self, messages: list[m.Message], refused: list[Person]) -> None:
        self._is_appending = False
        for person in refused:
            person.tell(m.Error("unavailable", "", "publish", None, 1000))
        for message in messages:
            for id in self.rooms.get(message.room, ()):
                self.people[id].tell(message)
