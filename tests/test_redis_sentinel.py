"""A fail-over by Sentinel: the nodes find the new master, and what it did not get is a new epoch."""

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aiochat import messages as m
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer

pytestmark = pytest.mark.faults


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def _sentinel(port: int, master_port: int) -> Iterator[None]:
    """One that watches a master and decides alone."""
    with tempfile.TemporaryDirectory(prefix="aiochat-sentinel-") as directory:
        config = Path(directory) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master_port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        assert redis_server.PROGRAM is not None
        process = subprocess.Popen([redis_server.PROGRAM, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()


async def test_a_replica_takes_over() -> None:
    """What it has is kept; members are told of what it has not, and hear what is said after it."""
    first, second, sentinel = _free_port(), _free_port(), _free_port()
    with ExitStack() as stack:
        master = stack.enter_context(redis_server.running("--port", str(first), "--bind", "127.0.0.1"))
        replica = stack.enter_context(redis_server.running("--port", str(second), "--bind", "127.0.0.1"))
        replica.ask.execute_command("REPLICAOF", "127.0.0.1", first)
        await _so(lambda: replica.ask.info("replication")["master_link_status"] == "up")
        stack.enter_context(_sentinel(sentinel, first))
        url = f"redis+sentinel://127.0.0.1:{sentinel}/main"
        async with nodes.running(url, store={"wait_seconds": 30}) as (node, other):
            alice, bob = await node.enter(codec=MANY_ROOMS), await other.enter(codec=MANY_ROOMS)
            await node.hub.publishing.publish("lobby", "one", None)
            await _so(lambda: _offset(replica) == _offset(master))
            await _so(lambda: _knows_replica(sentinel))
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


def _knows_replica(port: int) -> bool:
    with redis_server.client(port) as sentinel:
        return bool(sentinel.execute_command("SENTINEL", "REPLICAS", "main"))


def _texts(peer: Peer) -> list[str | None]:
    return [event.text for event in peer.told if isinstance(event, m.Message)]
