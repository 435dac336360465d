"""What a message costs Redis, ours beside a log of the usual kind: one script for each message, as Centrifugo has it.

    .venv/bin/python -m benchmarks.redis_costs           # after `make test`; --docs writes docs/scaling.md, too

Both give offsets under an epoch, append to a stream, publish, and let rooms expire; both send a turn's scripts at once.
CPU is that of the whole Redis, its log on disk included; the two take turns, and the middle one of the rounds counts.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NamedTuple, Protocol

from aiochat.config import load
from aiochat.loadtest.server import CONFIG
from aiochat.messages import Sender
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import Draft
from aiochat.roomlog.engines import make_log
from aiochat.roomlog.redis import RedisLog
from aiochat.roomlog.redis.connections import Connection, connector, pack
from aiochat.roomlog.redis.wire import draft_arguments
from aiochat.roomlog.urls import address_of
from benchmarks.measured import PAGE, table, written
from benchmarks.servers import Cores, pinned
from tests.redis_server import RedisServer, running

ROUNDS: Final = 5
SECONDS: Final = 0.8  # of a round
LISTENERS: Final = 8
KEPT_TURNS: Final = 100  # of 500 messages in 50 rooms, for the memory that they take
TEXT: Final = "x" * 100
SENDER: Final = Sender("0123456789abcdef", name="somebody")

_ONE: Final = """
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[4]
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[2], 'newest', 1)
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], offset, 'content', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[5], offset .. ' ' .. epoch .. ' ' .. ARGV[1])
"""
# With a key: what became of it is kept, as a hash of its own.
_ONCE: Final = (
    """
local before = redis.call('HMGET', KEYS[3], 'epoch', 'offset')
if before[1] then
  return before
end
"""
    + _ONE
    + """
redis.call('HSET', KEYS[3], 'epoch', epoch, 'offset', offset)
redis.call('EXPIRE', KEYS[3], ARGV[6])
"""
)


class Shape(NamedTuple):
    """Of a turn."""

    messages: int
    rooms: int

    def __str__(self) -> str:
        said = f"{self.messages} message{'s' if self.messages > 1 else ''} in "
        return said + ("one room" if self.rooms == 1 else f"{self.rooms} rooms")


SHAPES: Final = (Shape(1, 1), Shape(8, 8), Shape(500, 50), Shape(500, 1))
HEARD: Final = SHAPES[:3]
KEPT: Final = SHAPES[2]


class Costs(NamedTuple):
    """Of a message, but for the last."""

    cpu_us: float
    commands: float  # those within scripts included
    trips: float  # of a turn


class Design(Protocol):
    """A room log that takes a turn at a time."""

    async def turn(self, shape: Shape, *, keyed: bool = False) -> None: ...
    def channel(self, room: int) -> bytes: ...


class Batches:
    """Ours: a script for each room of a turn."""

    def __init__(self, log: RedisLog) -> None:
        self._log = log
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator["Batches"]:
        log = make_log(load(CONFIG, {"store": {"url": url}}))
        assert isinstance(log, RedisLog)
        await log.open(lambda reason: None)
        try:
            yield cls(log)
        finally:
            await log.close()

    async def turn(self, shape: Shape, *, keyed: bool = False) -> None:
        done = asyncio.get_running_loop().create_future()
        each = shape.messages // shape.rooms
        batch = {f"room-{room}": [self._draft(keyed=keyed) for _ in range(each)] for room in range(shape.rooms)}
        self._log.append(batch, done.set_result)
        answered = await done
        assert sum(len(appended.entries) for appended in answered.values()) == shape.messages

    def _draft(self, *, keyed: bool) -> Draft:
        self._count += 1
        return draft(f"{self._count:016x}" if keyed else None)

    def channel(self, room: int) -> bytes:
        return self._log._calls.channel(f"room-{room}")  # noqa: SLF001 -- where its listeners are


class Singles:
    """A script for each message."""

    def __init__(self, connection: Connection, digests: tuple[str, str]) -> None:
        self._connection = connection
        self._digests = digests
        self._digest = of.Digest(bytes(32))
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator["Singles"]:
        connection = connector(address_of(url))()
        await connection.connect()
        await connection.send([pack(("SCRIPT", "LOAD", script)) for script in (_ONE, _ONCE)])
        one, once = await connection.reply(), await connection.reply()
        try:
            yield cls(connection, (one.decode(), once.decode()))
        finally:
            await connection.close()

    async def turn(self, shape: Shape, *, keyed: bool = False) -> None:
        calls = [self._call(number % shape.rooms, keyed=keyed) for number in range(shape.messages)]
        await self._connection.send(calls)
        for _ in calls:
            assert not isinstance(await self._connection.reply(), Exception)

    def _call(self, room: int, *, keyed: bool) -> bytes:
        self._count += 1
        _, content = draft_arguments([draft(None)], self._digest)
        name = f"log:{{room-{room}}}"
        keys = (f"{name}:stream", f"{name}:meta", *([f"{name}:result:{self._count:016x}"] if keyed else []))
        kept: tuple[str | bytes | int, ...]
        kept = (20_000, 30 * 86_400, "an-epoch-of-20-bytes", self.channel(room), *([600] if keyed else []))
        return pack(("EVALSHA", self._digests[keyed], len(keys), *keys, content, *kept))

    def channel(self, room: int) -> bytes:
        return b"log:{room-%d}" % room


DESIGNS: Final[dict[str, Callable[[str], Any]]] = {"aiochat": Batches.opened, "a script each": Singles.opened}


def draft(key: str | None) -> Draft:
    return Draft(SENDER, TEXT, None, time.time_ns() // 1_000_000, len(TEXT), None, key)


class Counter:
    """What Redis has done since `begin`."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self.begin()

    def begin(self) -> None:
        self._cpu, self._commands = self._now()

    def since(self) -> tuple[float, int]:
        """Seconds of CPU, and commands."""
        cpu, commands = self._now()
        return cpu - self._cpu, commands - self._commands - 2  # without our own questions

    def _now(self) -> tuple[float, int]:
        cpu, stats = self._redis.ask.info("cpu"), self._redis.ask.info("commandstats")
        return cpu["used_cpu_user"] + cpu["used_cpu_sys"], sum(each["calls"] for each in stats.values())


@asynccontextmanager
async def listening(redis: RedisServer, channels: Sequence[bytes], count: int, command: str) -> AsyncIterator[None]:
    """So many connections that are subscribed to all the channels, and read."""
    tasks, writers = [], []
    for _ in range(count):
        reader, writer = await asyncio.open_unix_connection(str(redis.path))
        writers.append(writer)
        writer.write(pack((command, *channels)))
        await reader.readuntil(b":%d\r\n" % len(channels))  # of the last one that is confirmed
        tasks.append(asyncio.create_task(_read(reader)))
    try:
        yield
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*tasks)


async def _read(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(1 << 18):
            """What it says is not looked at."""


@contextmanager
def _counted() -> Iterator[list[None]]:
    """Whatever this process sends to Redis; a turn waits for all answers to what it has sent."""
    sends: list[None] = []
    send = Connection.send

    async def counted(self: Connection, packed: Any) -> None:
        sends.append(None)
        await send(self, packed)

    setattr(Connection, "send", counted)  # noqa: B010 -- mypy knows that it is a method
    try:
        yield sends
    finally:
        setattr(Connection, "send", send)  # noqa: B010


async def costs(redis: RedisServer, name: str, shape: Shape, listeners: int = 0) -> Costs:
    """One round of turns, one after the other."""
    async with DESIGNS[name](redis.new_url()) as design:
        command = "SSUBSCRIBE" if isinstance(design, Batches) else "SUBSCRIBE"
        channels = [design.channel(room) for room in range(shape.rooms)]
        async with listening(redis, channels, listeners, command):
            await design.turn(shape)
            with _counted() as sends:
                counter, began, turns = Counter(redis), time.perf_counter(), 0
                while time.perf_counter() - began < SECONDS:
                    await design.turn(shape)
                    turns += 1
                seconds, commands = counter.since()
    messages = turns * shape.messages
    return Costs(seconds / messages * 1e6, commands / messages, len(sends) / turns)


async def kept_bytes(redis: RedisServer, name: str, *, keyed: bool) -> float:
    """The memory of a message, its share in all that a room has beside them included."""
    redis.ask.flushall()
    async with DESIGNS[name](redis.new_url()) as design:
        await design.turn(Shape(1, 1))
        before = redis.ask.info("memory")["used_memory"]
        for _ in range(KEPT_TURNS):
            await design.turn(KEPT, keyed=keyed)
        return float(redis.ask.info("memory")["used_memory"] - before) / KEPT_TURNS / KEPT.messages


async def rounds(redis: RedisServer, shape: Shape, listeners: int = 0) -> dict[str, Costs]:
    """Of both in turn; the middle one of each figure."""
    found: dict[str, list[Costs]] = {name: [] for name in DESIGNS}
    for _ in range(ROUNDS):
        for name, several in found.items():
            several.append(await costs(redis, name, shape, listeners))
    return {
        name: Costs(*(statistics.median(column) for column in zip(*several, strict=True)))
        for name, several in found.items()
    }


async def measured(redis: RedisServer) -> list[str]:
    rows = [
        ("the memory of a message, bytes", *[f"{await kept_bytes(redis, name, keyed=False):.0f}" for name in DESIGNS])
    ]
    rows += [("... with a key", *[f"{await kept_bytes(redis, name, keyed=True):.0f}" for name in DESIGNS])]
    alone = {shape: await rounds(redis, shape) for shape in SHAPES}
    for shape, both in alone.items():
        rows += [(f"a turn of {shape}", *[""] * len(both))]
        rows += [("  CPU of Redis, us a message", *[f"{each.cpu_us:.1f}" for each in both.values()])]
        rows += [("  commands a message", *[f"{each.commands:.2f}" for each in both.values()])]
        rows += [("  round trips of the turn", *[f"{each.trips:.2f}" for each in both.values()])]
    rows += [("each connection that hears a message, CPU of Redis, us", *[""] * len(DESIGNS))]
    for shape in HEARD:
        heard = await rounds(redis, shape, LISTENERS)
        each = [(heard[name].cpu_us - alone[shape][name].cpu_us) / LISTENERS for name in DESIGNS]
        rows += [(f"  a turn of {shape}", *[f"{us:.1f}" for us in each])]
    return table(("", *DESIGNS), rows)


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.redis_costs", description="What a message costs Redis.")
    parser.add_argument("--docs", action="store_true", help=f"write it into {PAGE.name}, too")
    page = PAGE if parser.parse_args().docs else None
    cores = Cores.of_this_machine()
    kept = ("--appendonly", "yes", "--appendfsync", "everysec")
    with pinned(cores.server), running(*kept) as redis, pinned(cores.meter):
        lines = asyncio.run(measured(redis))
    written("benchmarks.redis_costs", lines, page)


if __name__ == "__main__":
    main()
