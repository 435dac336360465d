"""The load test against several nodes of one chat: who is on which, what is timed, and one order for all."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.histogram import merged
from aiochat.loadtest.meter.judge import Judge
from aiochat.loadtest.meter.places import Places
from aiochat.loadtest.record import Record
from aiochat.loadtest.scenario import Rooms, Scenario
from aiochat.loadtest.target import Target
from tests import redis_server
from tests.redis_server import RedisServer
from tests.servers import running
from tests.test_loadtest_checks import Said, Wire, framed, payload, receive

TWO = Target("ws://127.0.0.1:1/ws", ("127.0.0.1", 1), 2, (Target("ws://127.0.0.1:2/ws", ("127.0.0.1", 2), 2),))
FIRST, SECOND = Said(0, 0, 1), Said(1, 0, 2)  # of a client on each node


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """One of the test's own."""
    with redis_server.running() as server:
        yield server


class Room:
    """A client on each of two nodes, without servers."""

    def __init__(self) -> None:
        self.crew = Crew(Scenario(clients=2, rate=1.0), TWO, 0, 1)
        self.judge = Judge(self.crew)
        for client in self.crew.readers:
            wire: Any = Wire()
            client.opened(wire, "aiochat.v1.json")
            client.comes_in(1)

    def read(self, number: int, *frames: Sequence[Said]) -> None:
        """What this client gets: frames with these messages."""
        data = b"".join(framed([payload("json", said) for said in frame]) for frame in frames)
        receive(self.crew.readers[number], data)

    @property
    def timed(self) -> int:
        """How many deliveries have a latency."""
        return merged([self.crew.latencies.measured()]).total


@pytest.mark.parametrize(
    "rooms", [(), (Rooms(size=20, share=1),), (Rooms(size=7, share=0.5), Rooms(size=2, share=0.5))]
)
def test_every_room_is_spread_over_the_nodes(rooms: tuple[Rooms, ...]) -> None:
    """As evenly as can be, and so are all clients."""
    places = Places(Scenario(clients=280, rooms=rooms), nodes=3)
    on = Counter((places.rooms[client], places.node_of(client)) for client in range(280))
    for room, size in enumerate(places.sizes):
        assert {on[room, node] for node in range(3)} <= {size // 3, -(-size // 3)}
    total = Counter(places.node_of(client) for client in range(280))
    assert max(total.values()) - min(total.values()) <= 3


@pytest.mark.parametrize("frames", [[[FIRST], [SECOND]], [[FIRST, SECOND]]])
def test_latencies_are_of_what_comes_from_another_node(frames: list[list[Said]]) -> None:
    """Whether the second node's bytes are those of the first, or its batches are others."""
    room = Room()
    room.read(0, [FIRST], [SECOND])
    room.read(1, *frames)
    assert room.timed == 2
    assert [client.delivered for client in room.crew.readers] == [2, 2]


def test_another_order_on_another_node_is_found() -> None:
    """Two senders' messages under each other's offsets."""
    room = Room()
    room.read(0, [FIRST], [SECOND])
    room.read(1, [SECOND._replace(offset=1)], [FIRST._replace(offset=2)])
    room.judge.finish({0: 1, 1: 1})
    outcome = room.judge.outcome()
    assert (outcome.lost, outcome.doubled, outcome.out_of_order) == (0, 0, 2)


async def test_two_nodes_are_one_chat(redis: RedisServer) -> None:
    """Real ones: all is delivered on both, in one order; the CPU is that of both."""
    settings = {"store.url": redis.url}
    flags = ("--clients", "40", "--set", "rate=200", "--set", "warmup=0", "--seconds", "0.5", "--quiet", "--json", "-")
    async with running(settings=settings) as one, running(settings=settings) as two:
        urls = [part for server in (one, two) for part in ("--url", server.ws_url.replace("http", "ws", 1))]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aiochat", "loadtest", "broadcast", *flags, *urls), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        (only,) = msgspec.json.decode(output, type=Record).rounds
        assert (process.returncode, only.outcome.clean) == (0, True)
        assert only.outcome.acknowledged == 100
        assert only.delivered_per_second == pytest.approx(200 * 40, rel=0.5)
        assert only.latency is not None
        assert only.memory_peak_bytes is not None
        assert only.memory_peak_bytes > max(one.rss_bytes(), two.rss_bytes()) * 1.5
