"""Who is in which room, and who sends: every process comes to the same answer by itself."""

import random
from typing import Final

from aiochat.loadtest.meter import lines
from aiochat.loadtest.scenario import Scenario

SAMPLE_ONE_IN: Final = 10  # receivers whose latencies are recorded
CHEAP_PER_SECOND: Final = 20_000  # deliveries: up to so many, those of all receivers are
_GOLDEN: Final = 0.618  # spreads what is picked


class Places:
    """Clients come into the rooms in turn, so that those of a room come at different times.

    The last ones are slow. Newcomers have the sender numbers after those of the clients. Members of a room are on the
    nodes in turn.
    """

    def __init__(self, scenario: Scenario, nodes: int = 1) -> None:
        self.sizes = scenario.room_sizes()
        self._only_room = "" if scenario.codec == lines.TEXT_CODEC else "room-0"
        self._clients = scenario.clients
        self.rooms: list[int] = []  # of each client
        self._nodes = nodes
        self._node_of: list[int] = []
        filling, members = list(range(len(self.sizes))), 0
        while filling:
            self.rooms += filling
            self._node_of += [(room + members) % nodes for room in filling]
            members += 1
            filling = [room for room in filling if self.sizes[room] > members]
        by_room = sorted(range(scenario.readers), key=self.rooms.__getitem__)
        able = [client for client in by_room if client < lines.MAX_SENDERS]  # a line has no more digits for them
        count = min(scenario.sender_count, len(able))
        self.senders = [_picked(able, number, count) for number in range(count)]
        random.Random(0).shuffle(self.senders)  # their turns: large rooms and small ones are spoken in at any time
        self.sampled = set(by_room[_first(scenario) :: _one_in(scenario)])

    def room_of(self, sender: int) -> int:
        return self.rooms[sender] if sender < self._clients else (sender - self._clients) % len(self.sizes)

    def node_of(self, client: int) -> int:
        """Newcomers take turns, too."""
        return self._node_of[client] if client < self._clients else client % self._nodes

    def name(self, room: int) -> str:
        """Empty where clients come into the only one without naming it."""
        return f"room-{room}" if len(self.sizes) > 1 else self._only_room


def _picked(by_room: list[int], number: int, count: int) -> int:
    first, stop = number * len(by_room) // count, (number + 1) * len(by_room) // count
    return by_room[first + int(number * _GOLDEN % 1 * (stop - first))]


def _one_in(scenario: Scenario) -> int:
    largest = max(scenario.room_sizes(), default=1)
    is_cheap = not scenario.window and scenario.rate * largest <= CHEAP_PER_SECOND
    return 1 if is_cheap or scenario.readers < 2 * SAMPLE_ONE_IN else SAMPLE_ONE_IN


def _first(scenario: Scenario) -> int:
    return _one_in(scenario) // 2
