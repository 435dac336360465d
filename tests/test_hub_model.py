"""The hub under random operations, on a log that is slow and fails, held against a simple model of it."""

import asyncio
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiochat import messages as m
from aiochat.errors import StoreError
from aiochat.names import fold
from tests import hubs
from tests.hub_model import MAX_ROOMS, Model, Person

ROOMS = st.sampled_from(["lobby", "kitchen", "attic"])
NAMES = st.sampled_from(["alice", "ALICE", "alice-2", "bob"])
WHO = st.integers(0, 5)  # the number of a client, modulo how many there are
AWAY = StoreError("away")


def plain(event: m.Event) -> m.Event:
    """Without what the model does not say: when, under which epoch, in which words, in which order of rooms."""
    match event:
        case m.Message():
            return msgspec.structs.replace(event, ts=0)
        case m.Joined() | m.HistoryPage():
            messages = tuple(msgspec.structs.replace(message, ts=0) for message in event.messages)
            return msgspec.structs.replace(event, epoch="", messages=messages)
        case m.Error():
            return msgspec.structs.replace(event, reason="")
        case m.RoomList():
            return msgspec.structs.replace(event, rooms=tuple(sorted(event.rooms, key=lambda info: info.room)))
    return event


class Hubs(RuleBasedStateMachine):
    """Each rule does the same to the hub and to the model; after each turn all clients must have been told the same."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.model = Model()
        self.there: list[tuple[hubs.Peer, Person]] = []
        self.everybody: list[tuple[hubs.Peer, Person]] = []
        self.said = 0
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        limits = {**hubs.UNLIMITED, "max_rooms_per_client": MAX_ROOMS}
        self.chat = hubs.SlowChat(limits=limits)

    @precondition(lambda self: len(self.there) < 6)
    @rule(room=ROOMS, name=st.none() | NAMES, single_room=st.booleans())
    def connect(self, room: str, name: str | None, single_room: bool) -> None:
        peer = self.chat.connect(room, name, hubs.ONE_ROOM if single_room else hubs.MANY_ROOMS)
        person = Person(peer.client.id, single_room, name)
        self.model.connect(person, room)
        self.there.append((peer, person))
        self.everybody.append((peer, person))

    @precondition(lambda self: self.there)
    @rule(number=WHO)
    def hang_up(self, number: int) -> None:
        peer, person = self.there.pop(number % len(self.there))
        peer.hang_up()
        self.model.hang_up(person)

    @rule(number=WHO, room=ROOMS)
    def publish(self, number: int, room: str) -> None:
        self.said += 1
        self._ask(number, lambda room: m.Publish(str(self.said), None, room), room)

    @rule(number=WHO, room=ROOMS, name=st.none() | NAMES)
    def join(self, number: int, room: str, name: str | None) -> None:
        self._ask(number, lambda _: m.Join(room, name), room)

    @precondition(lambda self: self.there)
    @rule(number=WHO)
    def leave(self, number: int) -> None:
        """Back to the lobby: a command of clients with a single room."""
        if self.there[number % len(self.there)][1].single_room:
            self._ask(number, lambda _: m.Leave(), "")

    @rule(number=WHO, room=ROOMS, name=NAMES)
    def rename(self, number: int, room: str, name: str) -> None:
        self._ask(number, lambda room: m.Rename(name, room), room)

    @rule(number=WHO, room=ROOMS, kind=st.sampled_from([m.Who, m.History, m.Rooms]))
    def ask(self, number: int, room: str, kind: Any) -> None:
        questions = {m.Who: m.Who, m.History: lambda room: m.History(3, room), m.Rooms: lambda _: m.Rooms()}
        self._ask(number, questions[kind], room)

    @precondition(lambda self: self.model.calls)
    @rule(fails=st.sampled_from([False, False, False, True]))
    def answer(self, fails: bool) -> None:
        """The log answers its oldest call; the hub applies it in its next turn."""
        self.chat.log.answer(AWAY if fails else None)
        self.model.answer(fails=fails)

    @rule()
    def turn(self) -> None:
        """The hub waits for nobody: a turn ends, whatever the log has not answered."""
        self.runner.run(self.chat.hub.turn())
        self.model.turn()
        for peer, person in self.everybody:
            assert [plain(event) for event in peer.told] == [plain(event) for event in person.told]

    @invariant()
    def names_are_unique_in_a_room(self) -> None:
        """After folding; and each is held by its member, and by nobody else."""
        for room in self.chat.hub.rooms.values():
            names = {client.id: sender.name for client, sender in room.members.items() if sender.name}
            held = self.chat.hub.directory._holders.get(room.name, {})
            assert held == {fold(name): id for id, name in names.items()}
            assert len(held) == len(names)

    @invariant()
    def messages_come_in_offset_order_each_once(self) -> None:
        """In each room without a hole, as long as a client is in it."""
        for peer, _ in self.there:
            last: dict[str, int] = {}
            for event in peer.told:
                if isinstance(event, m.Joined) and peer.client.codec.single_room:
                    last.clear()
                if isinstance(event, m.Message):
                    assert event.offset == last.get(event.room, event.offset - 1) + 1
                    last[event.room] = event.offset

    @invariant()
    def one_append_is_in_flight(self) -> None:
        assert len(self.chat.log.calls) == len(self.model.calls)

    def teardown(self) -> None:
        """When all are gone and the log has answered, nothing is left of anybody."""
        try:
            while self.there:
                self.hang_up(0)
            while not self.model.is_idle:
                if self.model.calls:
                    self.answer(False)
                self.turn()
            assert not self.model.rooms
            assert self.chat.is_empty
        finally:
            self.runner.close()

    def _ask(self, number: int, command: Any, room: str) -> None:
        """A client says it; one with a single room need not say which."""
        if self.there:
            peer, person = self.there[number % len(self.there)]
            asked = command(None if person.single_room else room)
            peer.ask(asked)
            self.model.submit(person, asked)


TestHubs = Hubs.TestCase
TestHubs.settings = settings(max_examples=50, stateful_step_count=50)
