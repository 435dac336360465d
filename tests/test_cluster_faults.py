"""Three servers and 600 people, and whatever can happen to servers and Redis: what was acknowledged is there, once.

After each fault the log, what everybody holds of it and what each server says of who is there are compared as a whole
(tests/ledger.py, tests/clusters.py). All but the fail-over happen to one set of servers and people.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Final, NamedTuple

import pytest
import pytest_asyncio
from yarl import URL

from tests import redis_server
from tests.clusters import Cluster, populated
from tests.proxies import Proxy, proxied
from tests.raw import need_descriptors, until
from tests.redis_server import RedisServer
from tests.servers import free_port

_SOME_SECONDS: Final = 1.0  # of speech after a fault

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="session")]


class Scene(NamedTuple):
    """The servers reach Redis through the proxy."""

    redis: RedisServer
    proxy: Proxy
    cluster: Cluster


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    """Everybody is there, and some of them speak all the time."""
    need_descriptors(2000)
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always")
    with redis_server.running(*options) as redis:
        async with proxied(port) as proxy, populated(f"redis://127.0.0.1:{URL(proxy.url).port}") as cluster:
            await cluster.settle()
            yield Scene(redis, proxy, cluster)


@asynccontextmanager
async def _a_fault(cluster: Cluster, *, keeps_log: bool = True) -> AsyncIterator[None]:
    """Something is done to Redis: connections stay, `/readyz` never says 503, and afterwards all is as it must be."""
    breaks = cluster.crowd.breaks
    cluster.looks()
    yield
    await asyncio.sleep(_SOME_SECONDS)
    await cluster.settle(keeps_log=keeps_log)
    assert cluster.crowd.breaks == breaks
    assert {status for status, _ in cluster.looks()} == {200}


async def test_a_killed_server(scene: Scene) -> None:
    """Its people come back to the others and lose nothing; who does not is gone within 30 s; another one takes over."""
    cluster = scene.cluster
    node = cluster.nodes[2]
    cluster.bury(node.server, 20)
    node.door.port = cluster.nodes[0].server.port
    await node.kill()
    await cluster.settle()
    await node.start()
    await cluster.fill(node, 20)
    await asyncio.sleep(_SOME_SECONDS)
    await cluster.settle()


async def test_redis_killed_and_started_with_its_data(scene: Scene) -> None:
    """Nothing that was acknowledged is lost, or there twice."""
    async with _a_fault(scene.cluster):
        scene.redis.stop()
        await scene.cluster.looked("degraded")
        await asyncio.to_thread(scene.redis.start)


async def test_redis_killed_and_started_without_its_data(scene: Scene) -> None:
    """Everybody is told of a new epoch, and registered anew."""
    async with _a_fault(scene.cluster, keeps_log=False):
        scene.redis.stop()
        await scene.cluster.looked("degraded")
        shutil.rmtree(scene.redis.directory / "appendonlydir")
        scene.cluster.ledger.loses(is_all=True)
        await asyncio.to_thread(scene.redis.start)


async def test_redis_stopped_for_ten_seconds(scene: Scene) -> None:
    """Publishers are refused once they have waited; then all goes on."""
    refused = scene.cluster.crowd.refused
    async with _a_fault(scene.cluster):
        scene.redis.pause()
        try:
            await asyncio.sleep(10)
        finally:
            scene.redis.resume()
    assert scene.cluster.crowd.refused > refused


async def test_redis_flushed(scene: Scene) -> None:
    """As if it were new: nobody takes a new message for an old one, nor waits for one to hear that all is gone."""
    async with _a_fault(scene.cluster, keeps_log=False):
        scene.redis.ask.flushall()
        scene.cluster.ledger.loses(is_all=True)


async def test_redis_answers_late(scene: Scene) -> None:
    """All of it comes, later."""
    async with _a_fault(scene.cluster):
        scene.proxy.late_seconds = 0.4
        await asyncio.sleep(5)
        scene.proxy.late_seconds = 0.0


async def test_subscriptions_killed_again_and_again(scene: Scene) -> None:
    """What they missed is read from the log."""
    async with _a_fault(scene.cluster):
        for _ in range(10):
            assert scene.redis.ask.client_kill_filter(_type="pubsub") > 0
            await asyncio.sleep(0.3)


async def test_subscriptions_that_cannot_take_what_is_said(scene: Scene) -> None:
    """Redis ends them for each batch above its bound: the log has it all the same."""
    async with _a_fault(scene.cluster):
        scene.redis.ask.config_set("client-output-buffer-limit", "pubsub 32kb 16kb 1")
        connected = scene.proxy.connections
        scene.cluster.crowd.padding = "x" * 48_000
        await asyncio.sleep(3)
        scene.cluster.crowd.padding = ""
        assert scene.proxy.connections > connected
        scene.redis.ask.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


async def test_a_stopped_server(scene: Scene) -> None:
    """Its people miss nothing when it goes on."""
    async with _a_fault(scene.cluster), scene.cluster.nodes[1].stopped():
        await asyncio.sleep(5)


async def test_a_server_stopped_for_longer_than_its_lease(scene: Scene) -> None:
    """The others take its people for gone, and it takes them back: all are there again, under their names."""
    crowd = scene.cluster.crowd
    patience, crowd.patience = crowd.patience, 40
    await asyncio.sleep(_SOME_SECONDS)  # until nobody waits who is less patient
    async with _a_fault(scene.cluster), scene.cluster.nodes[1].stopped():
        await asyncio.sleep(20)
    crowd.patience = patience


async def test_a_server_killed_while_redis_is_stopped(scene: Scene) -> None:
    """Its people come to servers that cannot ask anybody, and are there once Redis goes on."""
    cluster = scene.cluster
    node = cluster.nodes[2]
    node.door.port = cluster.nodes[0].server.port
    scene.redis.pause()
    try:
        await cluster.looked("degraded")
        await node.kill()
        await asyncio.sleep(8)
    finally:
        scene.redis.resume()
    await cluster.settle()
    await node.start()
    await cluster.fill(node, 20)


async def test_a_fail_over_by_sentinel() -> None:
    """The replica had stood still: what it has not is told as gone, and nothing that is said to it is lost."""
    need_descriptors(2000)
    first, second, watching = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        master = stack.enter_context(redis_server.running("--port", str(first), "--bind", "127.0.0.1"))
        replica = stack.enter_context(redis_server.running("--port", str(second), "--bind", "127.0.0.1"))
        replica.ask.execute_command("REPLICAOF", "127.0.0.1", first)
        stack.enter_context(redis_server.sentinel(watching, first))
        await until(lambda: replica.ask.info("replication")["master_link_status"] == "up")
        await until(lambda: redis_server.knows_replica(watching))
        async with populated(f"redis+sentinel://127.0.0.1:{watching}/main") as cluster:
            await cluster.settle()
            replica.pause()
            try:
                master.ask.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")  # what is said now, it never gets
                await asyncio.sleep(_SOME_SECONDS)
                master.stop()
                cluster.ledger.loses()
            finally:
                replica.resume()
            await until(lambda: replica.ask.info("replication")["role"] == "master")
            await asyncio.sleep(_SOME_SECONDS)
            gaps = await cluster.settle(keeps_log=False)
            assert len(gaps) >= len(cluster.crowd.people)
        master.start()
