"""The hub and its model side by side: each step does the same to both, and all clients must be told the same."""

import asyncio
from itertools import count

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiochat import commands as hub_commands
from aiochat import joining
from aiochat import messages as m
from aiochat.directory import LocalDirectory
from aiochat.errors import StoreError
from tests import hubs
from tests.hub_model import Model
from tests.hub_state import EPOCH, MAX_ROOMS, ON_JOIN, PAGE_ENTRIES, TAIL_MESSAGES, Person

ROOMS = st.sampled_from(["lobby", "lobby", "kitchen", "attic"])
NAMES = st.sampled_from(["alice", "ALICE", "alice-2", "bob"])
TEXTS = st.integers(0).map(str)
CLIENTS = 5

PUBLISH = st.builds(m.Publish, room=ROOMS, text=TEXTS)
JOIN = st.builds(m.Join, room=ROOMS, name=st.none() | NAMES)
RENAME = st.builds(m.Rename, room=ROOMS, name=NAMES)
HISTORY = st.builds(m.History, room=ROOMS, limit=st.integers(1, 5))
DIRECT = st.builds(m.Direct, room=ROOMS, name=NAMES, text=TEXTS)
WHO = st.builds(m.Who, room=ROOMS)
LEAVE = st.builds(m.Leave, room=ROOMS)
COMMANDS = PUBLISH | JOIN | RENAME | HISTORY | DIRECT | WHO | LEAVE | st.just(m.Rooms())
AWAY = StoreError("away")


def plain(event: m.Event) -> m.Event:
    """Without what the model does not say: when, under which epoch, in which words, in which order of rooms."""
    match event:
        case m.Message() | m.Ack() | m.DirectMessage():
            return msgspec.structs.replace(event, ts=0)
        case m.Joined() | m.HistoryPage():
            messages = tuple(msgspec.structs.replace(message, ts=0) for message in event.messages)
            return msgspec.structs.replace(event, epoch="", messages=messages)
        case m.Gap():
            return msgspec.structs.replace(event, epoch="")
        case m.Error():
            return msgspec.structs.replace(event, reason="")
        case m.RoomList():
            return msgspec.structs.replace(event, rooms=tuple(sorted(event.rooms, key=lambda info: info.room)))
    return event


class Reader:
    """Follows what one client is told, without the model: in each room every message once, in order, without a hole."""

    def __init__(self, *, is_text: bool) -> None:
        self.since: dict[m.Id | None, int] = {}  # of the joins it sent, by their ids
        self.read: dict[str, int] = {}  # up to where, by room
        self.is_behind: set[str] = set()
        self._is_text = is_text

    def follow(self, told: list[m.Event]) -> None:
        for event in told:
            match event:
                case m.Joined():
                    self._joined(event)
                case m.Left():
                    self.read.pop(event.room, None)
                case m.Message():
                    assert event.room not in self.is_behind, "nothing is sent to who has not asked on"
                    assert event.offset == self.read.get(event.room, event.offset - 1) + 1
                    self.read[event.room] = event.offset

    def _joined(self, joined: m.Joined) -> None:
        offsets = [message.offset for message in joined.messages]
        if self._is_text:
            self.read.clear()
        self.is_behind.discard(joined.room)
        if joined.epoch:  # else the log did not say where the room stands
            self.read[joined.room] = joined.offset
        if joined.recovered:
            since = self.since[joined.id]
            assert offsets == list(range(since + 1, since + 1 + len(offsets)))
            self.read[joined.room] = since + len(offsets)
            assert joined.more == (self.read[joined.room] < joined.offset)
        elif offsets:
            assert offsets == list(range(joined.offset + 1 - len(offsets), joined.offset + 1))
        if joined.more:
            self.is_behind.add(joined.room)


class Hubs(RuleBasedStateMachine):
    """Each rule does the same to the hub and to the model; after each turn all clients must have been told the same."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.patches = pytest.MonkeyPatch()
        for module in (joining, hub_commands):
            self.patches.setattr(module, "PAGE_ENTRIES", PAGE_ENTRIES)
        self.model = Model()
        self.ids = count(1)
        self.there: list[tuple[hubs.Peer, Person]] = []
        self.everybody: list[tuple[hubs.Peer, Person, Reader]] = []
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        """With something to catch up with in one room."""
        limits = {**hubs.UNLIMITED, "max_rooms_per_client": MAX_ROOMS}
        self.chat = hubs.SlowChat(limits=limits, history={"tail_messages": TAIL_MESSAGES, "on_join": ON_JOIN})
        self.chat.log.epoch = EPOCH
        self.model.logged["lobby"] = self.chat.log.fill("lobby", 6)

    @precondition(lambda self: len(self.there) < CLIENTS)
    @rule(room=ROOMS, name=st.none() | NAMES, is_text=st.booleans(), names_no_room=st.booleans())
    def connect(self, room: str, name: str | None, is_text: bool, names_no_room: bool) -> None:
        """A text client is in some room at any time."""
        where = None if names_no_room and not is_text else room
        peer = self.chat.connect(where, name, hubs.ONE_ROOM if is_text else hubs.MANY_ROOMS)
        person = Person(peer.client.id, is_text, name)
        self.model.connect(person, where)
        self.there.append((peer, person))
        self.everybody.append((peer, person, Reader(is_text=is_text)))

    @precondition(lambda self: len(self.there) == CLIENTS)
    @rule(number=st.integers(0, CLIENTS - 1))
    def hang_up(self, number: int) -> None:
        peer, person = self.there.pop(number)
        peer.hang_up()
        self.model.hang_up(person)

    @precondition(lambda self: self.there)
    @rule(number=st.integers(0, CLIENTS - 1), commands=st.lists(COMMANDS, min_size=1, max_size=3))
    def ask(self, number: int, commands: list[m.Command]) -> None:
        """In one read."""
        for command in commands:
            self.submit(number % len(self.there), command)

    def submit(self, number: int, command: m.Command) -> None:
        """A text client does not say where, and its commands have no id."""
        peer, person = self.there[number]
        if not person.is_text:
            command = msgspec.structs.replace(command, id=next(self.ids))
        elif not isinstance(command, m.Join | m.Rooms):
            command = msgspec.structs.replace(command, room=m.HERE)
        self._submit(peer, person, command)

    @precondition(lambda self: self._behind())
    @rule(number=st.integers(0, CLIENTS - 1))
    def ask_on(self, number: int) -> None:
        """Somebody who has more to come asks for it, as a client should."""
        behind = self._behind()
        peer, person, reader, room = behind[number % len(behind)]
        since = m.Position(EPOCH, reader.read[room])
        self._submit(peer, person, m.Join(id=next(self.ids), room=room, since=since))

    def _behind(self) -> list[tuple[hubs.Peer, Person, Reader, str]]:
        return [
            (peer, person, reader, room)
            for peer, person, reader in self.everybody
            for room in sorted(reader.is_behind)
            if not person.is_gone and room in reader.read
        ]

    def _submit(self, peer: hubs.Peer, person: Person, command: m.Command) -> None:
        if isinstance(command, m.Join) and command.since is not None:
            self._reader(peer).since[command.id] = command.since.offset
        peer.ask(command)
        self.model.submit(person, command)

    def _reader(self, peer: hubs.Peer) -> Reader:
        return next(reader for other, _, reader in self.everybody if other is peer)

    def _answer(self, *, fails: bool) -> None:
        self.chat.log.answer(AWAY if fails else None)
        self.model.answer(fails=fails)

    @rule(failures=st.lists(st.sampled_from([False] * 5 + [True]), max_size=3))
    def turn(self, failures: list[bool]) -> None:
        """The log answers some of its calls, and the hub waits for nobody: a turn ends, whatever is not answered."""
        for fails in failures[: len(self.model.calls)]:
            self._answer(fails=fails)
        self._turn()

    def _turn(self) -> None:
        self.runner.run(self.chat.hub.turn())
        self.model.turn()
        for peer, person, reader in self.everybody:
            told = peer.told
            assert [plain(event) for event in told] == [plain(event) for event in person.told]
            reader.follow(told)
            peer.socket.written.clear()
            person.told.clear()

    @rule()
    def settle(self) -> None:
        """The log answers everything, one by one, until nothing is left to do: then nobody misses a message."""
        while not self.model.is_idle:
            if self.model.calls:
                self._answer(fails=False)
            self._turn()
        for peer, person in self.there:
            reader = self._reader(peer)
            for room in set(person.rooms) & set(reader.read) - reader.is_behind:
                assert reader.read[room] == len(self.model.logged.get(room, ()))

    @invariant()
    def names_are_unique_in_a_room(self) -> None:
        """After folding; each is held by its member, or by who is on its way into the room, and by nobody else."""
        directory = self.chat.hub.directory
        assert isinstance(directory, LocalDirectory)
        held = {
            room: {name: holding.clients for name, holding in holdings.items()}
            for room, holdings in directory._rooms.items()
        }
        assert held == {
            room: {name: [id] for name, id in names.items()} for room, names in self.model.names.items() if names
        }

    @invariant()
    def one_append_is_in_flight(self) -> None:
        assert len(self.chat.log.calls) == len(self.model.calls)

    @invariant()
    def tails_are_bounded(self) -> None:
        """And kept only of rooms that there are."""
        assert {name for name in self.chat.hub.tails._tails if name not in self.chat.hub.rooms} == set()
        assert len(self.chat.hub.tails) == sum(room.tail is not None for room in self.model.rooms.values())

    def teardown(self) -> None:
        """When all are gone and the log has answered, nothing is left of anybody."""
        try:
            for peer, person in self.there:
                peer.hang_up()
                self.model.hang_up(person)
            self.there = []
            self.settle()
            assert not self.model.rooms
            assert self.chat.is_empty
        finally:
            self.patches.undo()
            self.runner.close()
