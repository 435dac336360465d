"""The hub under random operations, on a log that is slow and fails, held against a simple model of it."""

import asyncio

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
COMMANDS = st.one_of(
    st.builds(m.Publish, st.integers(0).map(str), st.none(), ROOMS),
    st.builds(m.Join, ROOMS, st.none() | NAMES),
    st.builds(m.Rename, NAMES, ROOMS),
    st.builds(m.History, st.integers(1, 5), ROOMS),
    st.builds(m.Who, ROOMS),
    st.just(m.Rooms()),
    st.just(m.Leave()),
)
CLIENTS = 5
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
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        limits = {**hubs.UNLIMITED, "max_rooms_per_client": MAX_ROOMS}
        self.chat = hubs.SlowChat(limits=limits)

    @precondition(lambda self: len(self.there) < CLIENTS)
    @rule(room=ROOMS, name=st.none() | NAMES, single_room=st.booleans())
    def connect(self, room: str, name: str | None, single_room: bool) -> None:
        peer = self.chat.connect(room, name, hubs.ONE_ROOM if single_room else hubs.MANY_ROOMS)
        person = Person(peer.client.id, single_room, name)
        self.model.connect(person, room)
        self.there.append((peer, person))
        self.everybody.append((peer, person))

    @precondition(lambda self: len(self.there) == CLIENTS)
    @rule(number=st.integers(0, CLIENTS - 1))
    def hang_up(self, number: int) -> None:
        peer, person = self.there.pop(number)
        peer.hang_up()
        self.model.hang_up(person)

    @precondition(lambda self: self.there)
    @rule(number=st.integers(0, CLIENTS - 1), commands=st.lists(COMMANDS, min_size=1, max_size=3))
    def ask(self, number: int, commands: list[m.Command]) -> None:
        """In one read; who has a single room does not say where, and nobody else has a way back to the lobby."""
        peer, person = self.there[number % len(self.there)]
        for command in commands:
            if person.single_room and isinstance(command, m.Publish | m.Rename | m.History | m.Who):
                command = msgspec.structs.replace(command, room=None)  # noqa: PLW2901
            if person.single_room or not isinstance(command, m.Leave):
                peer.ask(command)
                self.model.submit(person, command)

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

    @rule()
    def settle(self) -> None:
        """The log answers everything, one by one, until nothing is left to do."""
        while not self.model.is_idle:
            if self.model.calls:
                self.answer(False)
            self.turn()

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
            for peer, person in self.there:
                peer.hang_up()
                self.model.hang_up(person)
            self.settle()
            assert not self.model.rooms
            assert self.chat.is_empty
        finally:
            self.runner.close()


TestHubs = Hubs.TestCase
TestHubs.settings = settings(max_examples=60, stateful_step_count=40)
