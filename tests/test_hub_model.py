"""The hub under random operations, on a log that is slow and fails, held against a simple model of it."""

import random
from collections.abc import Callable

import pytest
from hypothesis import settings

from aiochat import messages as m
from tests.hub_machine import CLIENTS, Hubs
from tests.hub_state import EPOCH, Person

TestHubs = Hubs.TestCase
TestHubs.settings = settings(max_examples=60, stateful_step_count=40)


# The same on long walks: chance alone, but with the odds set so that much is said, missed and caught up with.


class Walk:
    """One machine's way through random steps."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.machine = Hubs()
        self.machine.begin()
        self._steps: dict[Callable[[], None], int] = {
            self._connect: 2, self._ask: 8, self._ask_on: 2, self._turn: 8, self._hang_up: 1, self.machine.settle: 1
        }  # fmt: skip

    def go(self, steps: int) -> None:
        try:
            for step in self._random.choices(list(self._steps), list(self._steps.values()), k=steps):
                step()
                for check in (Hubs.names_are_unique_in_a_room, Hubs.one_append_is_in_flight, Hubs.tails_are_bounded):
                    check(self.machine)
        finally:
            self.machine.teardown()

    def _connect(self) -> None:
        if len(self.machine.there) < CLIENTS:
            chance = self._random.random
            self.machine.connect(self._room(), self._name(), is_text=chance() < 0.3, names_no_room=chance() < 0.3)

    def _hang_up(self) -> None:
        if len(self.machine.there) == CLIENTS:
            self.machine.hang_up(self._random.randrange(CLIENTS))

    def _turn(self) -> None:
        self.machine.turn([self._random.random() < 0.1 for _ in range(self._random.randrange(3))])

    def _ask_on(self) -> None:
        if self.machine._behind():
            self.machine.ask_on(self._random.randrange(CLIENTS))

    def _ask(self) -> None:
        if not self.machine.there:
            return
        number = self._random.randrange(len(self.machine.there))
        person = self.machine.there[number][1]
        for _ in range(self._random.randint(1, 3)):
            kinds = [self._publish, self._publish, self._publish, self._join, self._other]
            command = self._random.choice(kinds)(person)
            self.machine.submit(number, command)

    def _publish(self, person: Person) -> m.Command:
        return m.Publish(room=self._its_room(person), text=str(self._random.randrange(100)))

    def _join(self, person: Person) -> m.Command:
        room, since = self._its_room(person), None
        if not person.is_text and self._random.random() < 0.8:
            newest = len(self.machine.model.logged.get(room, ()))
            epoch = self._random.choice([EPOCH] * 7 + ["other"])
            since = m.Position(epoch, max(0, newest + 1 - self._random.randrange(10)))
        return m.Join(room=room, name=self._name(), since=since, limit=self._limit())

    def _other(self, person: Person) -> m.Command:
        room, name, offset = self._its_room(person), self._name() or "bob", self._random.randrange(8)
        commands: list[m.Command] = [
            m.History(room=room, limit=self._limit()),
            m.Rename(room=room, name=name),
            m.Direct(room=room, name=name, text="psst"),
            m.Leave(room=room),
            m.Who(room=room),
            m.Rooms(),
        ]
        if not person.is_text:
            commands += [
                m.History(room=room, before=offset, limit=self._limit()),
                m.History(room=room, after=offset, limit=self._limit()),
                m.Direct(client=f"c{self._random.randint(1, CLIENTS)}", text="psst"),
                m.Ping(),
            ]
        return self._random.choice(commands)

    def _room(self) -> str:
        return self._random.choice(["lobby", "lobby", "kitchen", "attic"])

    def _its_room(self, person: Person) -> str:
        return self._random.choice([*person.rooms, *person.rooms, *person.rooms, self._room()])

    def _name(self) -> str | None:
        return self._random.choice([None, None, "alice", "ALICE", "alice-2", "bob"])

    def _limit(self) -> int | None:
        return self._random.choice([None, 0, 1, 2, 5])


@pytest.mark.parametrize("seed", range(8))
def test_long_walks_agree_with_the_model(seed: int) -> None:
    """Hundreds of steps, in which rooms are said to, missed, caught up with page by page and forgotten."""
    Walk(seed).go(500)
