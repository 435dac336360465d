"""A fail-over by Sentinel: the nodes find the new master, and what it did not get is a new epoch."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from aiochat import messages as m
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.servers import free_port

pytestmark = pytest.mark.faults


async def test_a_replica_takes_over() -> None:
    """What it has is kept; members are told of what it has not, and hear what is said after it."""
    first, second, sentinel = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        master = stack.enter_context(redis_server.running("--port", str(first), "--bind", "127.0.0.1"))
        replica = stack.enter_context(redis_server.running("--port", str(second), "--bind", "127.0.0.1"))
        replica.ask.execute_command("REPLICAOF", "127.0.0.1", first)
        await _so(lambda: replica.ask.info("replication")["master_link_status"] == "up")
        stack.enter_context(redis_server.sentinel(sentinel, first))
        url = f"redis+sentinel://127.0.0.1:{sentinel}/main"
        async with nodes.running(url, store={"wait_seconds": 30}) as (node, other):
            alice, bob = await node.enter(codec=MANY_ROOMS), await other.enter(codec=MANY_ROOMS)
            await node.hub.publishing.publish("lobby", "one", None)
            await _so(lambda: _offset(replica) == _offset(master))
            await _so(lambda: redis_server.knows_replica(sentinel))
            replica.pause()
            master.ask.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")  # what is said now, it never gets
            await node.hub.publishing.publish("lobby", "lost", None)
            await node.until(lambda: all(_texts(peer) == ["one", "lost"] for peer in (alice, bob)))
            master.stop()
            replica.resume()
            published = await other.hub.publishing.publish("lobby", "two", None)
            await node.until(lambda: all(_texts(peer)[-1] == "two" for peer in (alice, bob)))
            gaps = [event for event in alice.told if isinstance(event, m.Gap)]
            assert published.offset == 2
            assert [gap.offset for gap in gaps] == [1]
            assert [event for event in bob.told if isinstance(event, m.Gap)] == gaps
            master.start()


async def _so(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - in other processes, which tell nobody
        await asyncio.sleep(0.02)


def _offset(server: redis_server.RedisServer) -> int:
    return int(server.ask.info("replication")["master_repl_offset"])


def _texts(peer: Peer) -> list[str | None]:
    return [event.text for event in peer.told if isinstance(event, m.Message)]
