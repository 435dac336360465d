"""The clients of one worker process: who they are, the streams they share, and how many of them are connected."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.clients import Client, Common, SlowClient
from aiochat.loadtest.meter.connecting import Connector
from aiochat.loadtest.meter.dialects import Complaints
from aiochat.loadtest.meter.latencies import Latencies
from aiochat.loadtest.meter.places import Places
from aiochat.loadtest.meter.receivers import Reading
from aiochat.loadtest.meter.senders import Sender
from aiochat.loadtest.meter.stream import Stream, window_bytes
from aiochat.loadtest.scenario import Scenario
from aiochat.loadtest.target import Target

NAME: Final = "user-{}"
_Kind = TypeVar("_Kind", bound=Client)


class Crew:
    """Every P-th client of the scenario, beginning with `first`.

    `lost` is told whose connection has ended, `departs` who leaves its room.
    """

    def __init__(self, scenario: Scenario, target: Target, first: int, processes: int) -> None:
        self.scenario = scenario
        self.first, self.processes = first, processes
        self.places = Places(scenario, len(target.nodes))
        self.connector = Connector(scenario.codec, target, self.places.node_of)
        self._has_nodes = bool(target.others)
        self.latencies = Latencies()
        self.complaints = Complaints()
        self.lost: Callable[[Client], None] = lambda client: None
        self.departs: Callable[[Client], None] = lambda client: None
        self.streams: dict[int, Stream] = {}
        self.newcomers: set[Client] = set()  # who are there now
        self.gone = 0  # messages that newcomers got who are not there any more ...
        self.said = 0  # ... and sent
        self._common = Common(
            scenario.codec,
            Reading(),
            self.complaints,
            lambda client: self.lost(client),  # noqa: PLW0108 - as they are then
            lambda client: self.departs(client),  # noqa: PLW0108
        )
        self._frames: dict[int, lines.LineFrames] = {}
        self._comes_back = bool(scenario.cuts_per_second or scenario.storms)
        self._is_named = bool(self._comes_back or scenario.typing_per_second or scenario.moves_per_second)
        numbers = range(first, scenario.clients, processes)
        self.readers = [self._reader(number) for number in numbers if number < scenario.readers]
        rooms = self.places.rooms
        self.slow = [
            SlowClient(number, self.places.name(rooms[number])) for number in numbers if number >= scenario.readers
        ]
        mine = {client.number: client for client in self.readers}
        self.turns = [
            (turn, self._sender(mine[number])) for turn, number in enumerate(self.places.senders) if number in mine
        ]
        self.senders = [sender for _, sender in self.turns]

    def _reader(self, number: int) -> Client:
        latencies = self.latencies if number in self.places.sampled else None
        reader = self.client(Client, number, self.places.rooms[number], latencies)
        if self._has_nodes:
            reader.is_timed = lambda sender: self.places.node_of(sender) != self.places.node_of(number)
        return reader

    def client(self, kind: type[_Kind], number: int, room: int, latencies: Latencies | None = None) -> _Kind:
        if room not in self.streams:
            self.streams[room] = Stream(window_bytes(len(self.places.sizes), self.scenario.size))
        name = NAME.format(number) if self._is_named else ""
        stream = self.streams[room]
        return kind(number, self.places.name(room), stream, self._common, name=name, latencies=latencies)

    def _sender(self, client: Client) -> Sender:
        sender = Sender(client.number, self.frames(self.places.rooms[client.number]), client)
        client.speaks(sender)
        return sender

    def frames(self, room: int) -> lines.LineFrames:
        """How messages to this room are written."""
        if room not in self._frames:
            size, codec, name = self.scenario.size, self.scenario.codec, self.places.name(room)
            self._frames[room] = lines.LineFrames(size, codec, name, keyed=self._comes_back)
        return self._frames[room]

    @property
    def everybody(self) -> list[Client | SlowClient]:
        """In the order of their numbers."""
        return [*self.readers, *self.slow]

    def connected(self) -> int:
        return sum(client.transport is not None for client in (*self.everybody, *self.newcomers))

    def dropped(self) -> int:
        return sum(client.close_code is not None for client in self.readers)

    def delivered(self) -> int:
        return self.gone + sum(client.delivered for client in (*self.readers, *self.newcomers))

    def expected(self, sent: Mapping[int, int]) -> dict[int, dict[int, int]]:
        """For each room with clients here, how many messages each sender sent to it."""
        rooms: dict[int, dict[int, int]] = {room: {} for room in self.streams}
        for number, count in sent.items():
            if (room := self.places.room_of(number)) in rooms:
                rooms[room][number] = count
        return rooms

    def leave(self) -> None:
        for client in (*self.everybody, *self.newcomers):
            client.leave()
