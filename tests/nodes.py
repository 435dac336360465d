"""Nodes that share one Redis: hubs that take their turns by themselves, in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiochat import messages as m
from aiochat.config import load
from aiochat.roomlog.engines import make_log
from aiochat.roomlog.redis import RedisLog
from tests.hubs import MANY_ROOMS, QUIET, UNLIMITED, Chat, Peer


class Node(Chat):
    """One of them; `until` waits for something to be so after a turn of any of them."""

    log: RedisLog

    def __init__(self, log: RedisLog, turned: asyncio.Condition, **settings: dict[str, Any]) -> None:
        super().__init__(lambda _: log, **settings)
        self._turned = turned
        self._take_turn = self.hub.turn
        self.hub.turn = self._turn  # type: ignore[method-assign]
        self.running = asyncio.create_task(self.hub.run())
        self._checking = asyncio.create_task(self._check())

    async def until(self, is_so: Callable[[], object]) -> None:
        async with self._turned:
            await self._turned.wait_for(lambda: bool(is_so()))

    async def enter(self, room: str = "lobby", **options: Any) -> Peer:
        """A client that has joined `room`."""
        peer = self.connect(room, **options)
        await self.until(lambda: peer.client.rooms)
        return peer

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It does nothing, as a process that is stopped."""
        turn, self._take_turn = self._take_turn, _nothing
        try:
            yield
        finally:
            self._take_turn = turn
            self.hub.later(lambda: None)

    async def close(self) -> None:
        for task in (self.running, self._checking):
            task.cancel()
        await asyncio.wait([self.running, self._checking])
        await self.log.close()

    async def _turn(self) -> None:
        await self._take_turn()
        async with self._turned:
            self._turned.notify_all()

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(0.1)  # as the server's timer does, more often
            self.hub.check()


async def _nothing() -> None:
    await asyncio.sleep(0.01)


@asynccontextmanager
async def running(url: str, count: int = 2, **settings: dict[str, Any]) -> AsyncIterator[list[Node]]:
    """So many nodes on the Redis at `url`."""
    chosen = {**QUIET, "limits": UNLIMITED, **settings, "store": {"url": url, **settings.get("store", {})}}
    turned = asyncio.Condition()
    nodes: list[Node] = []
    try:
        for _ in range(count):
            log = make_log(load(flags=chosen))
            assert isinstance(log, RedisLog)
            await log.open(lambda _: None)
            nodes.append(Node(log, turned, **chosen))
        yield nodes
    finally:
        for node in nodes:
            await node.close()


# What clients of nodes do and hear.


async def pair(two: list[Node], room: str = "lobby") -> tuple[Peer, Peer]:
    """A program on each of two nodes."""
    return await two[0].enter(room, codec=MANY_ROOMS), await two[1].enter(room, codec=MANY_ROOMS)


def publish(peer: Peer, *texts: str, room: str = "lobby", key: str | None = None) -> None:
    """Each text's command has it as its id, too."""
    for text in texts:
        peer.ask(m.Publish(id=text, room=room, text=text, key=key))


def heard(peer: Peer) -> list[tuple[int, str | None]]:
    """Offsets and texts of all messages."""
    return [(event.offset, event.text) for event in peer.told if isinstance(event, m.Message)]


def told(peer: Peer, kind: type[m.Event]) -> list[Any]:
    """Its events of a kind."""
    return [event for event in peer.told if isinstance(event, kind)]


async def all_heard(node: Node, count: int, *peers: Peer) -> None:
    """Every peer has heard so many messages."""
    await node.until(lambda: all(len(heard(peer)) >= count for peer in peers))


async def answer(node: Node, peer: Peer, command: m.Command, kind: type[m.Event]) -> Any:
    """The next event of a kind, which a command is answered with; or an error."""
    before = len(told(peer, kind)) + len(told(peer, m.Error))
    peer.ask(command)
    await node.until(lambda: len(told(peer, kind)) + len(told(peer, m.Error)) > before)
    return next(event for event in reversed(peer.told) if isinstance(event, (kind, m.Error)))


async def alice_and_bob(two: list[Node], room: str = "lobby") -> tuple[Peer, Peer]:
    """Alice on the first node, then bob on the second."""
    return (
        await two[0].enter(room, name="alice", codec=MANY_ROOMS),
        await two[1].enter(room, name="bob", codec=MANY_ROOMS),
    )


def persons(senders: Any) -> set[str | None]:
    """Their names."""
    return {sender.name for sender in senders}


def moves(peer: Peer) -> list[tuple[str, str | None]]:
    """Who came and went, in order."""
    found: list[tuple[str, str | None]] = []
    for event in told(peer, m.Presence):
        found += [("came", sender.name) for sender in event.came]
        found += [("went", sender.name) for sender in event.went]
        found += [(f"was {renaming.was}", renaming.name) for renaming in event.renamed]
    return found
