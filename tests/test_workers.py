"""`aiochat serve --workers N`: one chat on one port, on a real Redis; a worker that dies is started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from aiochat.config import Config, load
from aiochat.errors import ConfigError, StartError
from aiochat.workers import parent
from aiochat.workers import sockets as listening
from aiochat.workers.parent import Parent
from aiochat.workers.sockets import Sockets
from aiochat.workers.worker import HANGS_AFTER, Worker
from tests import redis_server
from tests.programs import Program, program
from tests.servers import Server, environment, free_port, running

needs_spreading = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over workers")
TRIES = 40  # connections, of which each may come to either of two workers
REDIS = "redis://127.0.0.1:6379/0"  # named, and not connected to


@asynccontextmanager
async def workers(count: int = 2, **settings: Any) -> AsyncIterator[Server]:
    """So many, on a database of their own."""
    given = {"server.workers": count, "store.url": redis_server.shared().new_url(), **settings}
    async with running(settings=given) as server:
        yield server


@asynccontextmanager
async def one_on_each(server: Server) -> AsyncIterator[dict[int, Program]]:
    """A program in the lobby on each of two workers, by the worker's number."""
    async with AsyncExitStack() as stack:
        found: dict[int, Program] = {}
        for _ in range(TRIES):
            client = await stack.enter_async_context(program(server, "lobby"))
            (line,) = await server.logged("connection_opened", client=client.client)
            found.setdefault(line["worker"], client)
            if len(found) == 2:
                break
        yield found


def two_free_ports() -> int:
    """The first of two, one after the other."""
    while True:
        first = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", first + 1))
            return first


async def pids(server: Server) -> dict[int, int]:
    """Of the workers, by their numbers: the latest that were ready."""
    await server.logged("worker_ready", 2)
    return {line["worker"]: line["pid"] for line in server.log if line["event"] == "worker_ready"}


async def gone(processes: list[psutil.Process]) -> None:
    """Wait for the ends of processes that are nobody's children here."""
    await asyncio.to_thread(psutil.wait_procs, processes)


@needs_spreading
async def test_clients_of_two_workers_are_in_one_room() -> None:
    """What one says the other hears, at the offset that both are told, through Redis."""
    async with workers() as server, one_on_each(server) as clients:
        ack = await clients[1].ask("publish", room="lobby", text="hello")
        assert (await clients[2].next("message", text="hello"))["offset"] == ack["offset"]
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{server.base_url}/metrics")
            assert (answer.status, "server.internal_port" in await answer.text()) == (403, True)


@needs_spreading
async def test_a_worker_that_is_killed_is_started_again() -> None:
    """Nobody who comes meanwhile is refused, and the clients of the other one notice nothing."""
    async with workers() as server, one_on_each(server) as clients:
        os.kill((await pids(server))[1], signal.SIGKILL)
        assert (await clients[1].closed())[0] == 1006
        (died,) = await server.logged("worker_died")
        assert (died["worker"], died["reason"]) == (1, "killed by SIGKILL")
        async with one_on_each(server) as newcomers:
            ack = await newcomers[1].ask("publish", room="lobby", text="back")
            assert (await clients[2].next("message", text="back"))["offset"] == ack["offset"]


@needs_spreading
async def test_a_stop_is_passed_on_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd hears when all are ready, each has its metrics, everybody is told to come back, and nothing is left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{tmp_path}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        first = two_free_ports()
        async with workers(**{"server.internal_port": first}) as server, one_on_each(server) as clients:
            assert systemd.recv(100) == b"READY=1"
            async with aiohttp.ClientSession() as session:
                for port in (first, first + 1):
                    answer = await session.get(f"http://127.0.0.1:{port}/metrics")
                    assert "aiochat_ready 1" in await answer.text()
            server.process.send_signal(signal.SIGTERM)
            assert [(await clients[worker].closed())[0] for worker in (1, 2)] == [1012, 1012]
            assert await server.process.wait() == 0
            assert not any(map(psutil.pid_exists, (await pids(server)).values()))
            assert b"STOPPING=1" in systemd.recv(100)


def test_what_is_wrong_is_said_once() -> None:
    """Not by each worker: the line is the same as with one."""
    settings = {"server.workers": 4, "server.port": 0, "store.url": "unix:///nowhere", "store.wait_seconds": 0.1}
    settings["logging.level"] = "error"
    command = (sys.executable, "-m", "aiochat", "serve")
    result = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    (line,) = result.stderr.splitlines()
    assert (result.returncode, line.startswith("aiochat: "), "/nowhere" in line) == (2, True, True)


# The parts


def config_of(**server: Any) -> Config:
    """Of three workers."""
    return load(flags={"server": {"host": "127.0.0.1", "port": 0, "workers": 3, **server}, "store": {"url": REDIS}})


@contextmanager
def opened(config: Config) -> Iterator[Sockets]:
    """Those of all its workers."""
    sockets = Sockets(config)
    try:
        yield sockets
    finally:
        sockets.close()


@pytest.mark.parametrize("url", ["memory:", "sqlite:///var/aiochat.db"])
def test_a_log_that_one_process_has_to_itself_takes_one_worker(url: str) -> None:
    """The line says what takes more."""
    with pytest.raises(ConfigError, match=r"^server.workers: got 2, takes 1 with store.url '.*redis://"):
        load(flags={"server": {"workers": 2}, "store": {"url": url}})


def test_each_worker_has_an_internal_port_that_there_is() -> None:
    """The port for everybody is none of them, and there is none above 65535."""
    with pytest.raises(ConfigError, match=r"^server.internal_port: .*takes another port"):
        config_of(port=8082, internal_port=8080)
    with pytest.raises(ConfigError, match=r"^server.internal_port: got 65534, takes 65533 or less"):
        config_of(internal_port=65534)


@pytest.mark.parametrize("spreads", [True, False], ids=["Linux", "macOS"])
def test_a_free_port_is_the_same_for_all(monkeypatch: pytest.MonkeyPatch, spreads: bool) -> None:
    """And on each address of the host; where the kernel does not spread connections, all have the same socket."""
    monkeypatch.setattr(listening, "_SPREADS", spreads)
    with opened(config_of(host="localhost")) as sockets:
        public = [sockets.of(number)[0] for number in range(3)]
        assert {one.getsockname()[1] for worker in public for one in worker} == {sockets.port}
        assert len({one.fileno() for worker in public for one in worker}) == len(public[0]) * (3 if spreads else 1)


def test_a_port_that_another_server_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even by workers of the same user, whom SO_REUSEPORT would let in; no worker has been started then."""
    with opened(config_of()) as sockets:
        for worker in range(3):
            sockets.of(worker)[0][0].listen()
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{sockets.port}: Address already in use$"):
            Sockets(config_of(port=sockets.port))


async def test_a_worker_that_hangs_is_killed() -> None:
    """Its hub has not turned for twenty ticks; systemd is not fed while it is there all the same."""
    config = load(
        flags={
            "server": {"host": "127.0.0.1", "port": 0},
            "store": {"url": redis_server.shared().new_url()},
            "logging": {"level": "warning"},
        }
    )
    with opened(config) as sockets:
        worker = Worker(1, config, sockets.of(0))
        living = asyncio.create_task(worker.live())
        await worker.ready.wait()
        worker.send(signal.SIGSTOP)
        for _ in range(HANGS_AFTER):
            assert not worker.hangs
            worker.tick()
        assert worker.hangs
        assert (await living).reason == "killed by SIGKILL"


async def test_a_worker_that_hangs_at_the_start_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the first, before the chat has begun: the start is over, and nobody waits for it for ever."""

    async def stop_and_start(worker: Worker) -> Any:
        process, ours = await start(worker)
        process.send_signal(signal.SIGSTOP)
        return process, ours

    start = Worker._start
    monkeypatch.setattr(Worker, "_start", stop_and_start)
    monkeypatch.setattr(parent, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(parent, "_SIGNALS", ())  # those of the tests stay theirs
    config = config_of(workers=2)
    with opened(config) as sockets, pytest.raises(StartError, match=r"^worker 1: killed by SIGKILL$"):
        await Parent(config, sockets).run()


# Faults


@pytest.mark.faults
@needs_spreading
async def test_a_worker_that_dies_again_and_again_ends_the_chat() -> None:
    """The other one is drained, and the last line says which one, how often and of what."""
    async with workers() as server, one_on_each(server) as clients:
        for life in range(1, 6):
            line = (await server.logged("worker_ready", life, worker=1))[-1]
            os.kill(line["pid"], signal.SIGKILL)
        assert (await clients[2].closed())[0] == 1012
        assert await server.process.wait() == 1
        await server._reading
        assert server.log[-1]["line"] == "aiochat: worker 1 died 5 times soon after its start: killed by SIGKILL"


@pytest.mark.faults
@needs_spreading
async def test_workers_do_not_outlive_their_parent() -> None:
    """It is killed: they drain, and go."""
    async with workers() as server, one_on_each(server) as clients:
        running_workers = psutil.Process(server.pid).children()
        server.process.kill()
        assert [(await clients[worker].closed())[0] for worker in (1, 2)] == [1012, 1012]
        await gone(running_workers)
        await server.logged("stopping", 2, cause="its parent is gone")


@pytest.mark.faults
async def test_a_second_signal_ends_all_at_once() -> None:
    """The exit code says which."""
    async with workers(**{"server.unready_seconds": 3600}) as server:
        running_workers = psutil.Process(server.pid).children()
        server.process.send_signal(signal.SIGTERM)
        await server.logged("stopping", 2)
        server.process.send_signal(signal.SIGINT)
        assert await server.process.wait() == 128 + signal.SIGINT
        await gone(running_workers)


@pytest.mark.faults
async def test_a_worker_that_dies_during_the_stop_stays_dead() -> None:
    """The exit code and the last line tell of it."""
    async with workers(**{"server.unready_seconds": 3600}) as server:
        running_workers = await pids(server)
        server.process.send_signal(signal.SIGTERM)
        await server.logged("stopping", 2)
        for pid in running_workers.values():
            os.kill(pid, signal.SIGKILL)
        assert await server.process.wait() == 1
        await server._reading
        assert server.log[-1]["line"] == "aiochat: workers that did not stop as they should: 1, 2"


@pytest.mark.faults
@pytest.mark.skipif(redis_server.PROGRAM is None, reason="needs redis-server")
async def test_a_cluster_of_a_checkout_leaves_nothing_behind(tmp_path: Path) -> None:
    """What `make run-cluster` runs: after an interrupt, as from a terminal, all are gone, and what was said is kept."""
    checkout = Path(__file__).parent.parent
    settings = {"server.port": 0, "server.host": "127.0.0.1", "logging.format": "json"}
    for kept in (0, 1):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, checkout / "config" / "cluster.py", "--workers", "2"),
            cwd=tmp_path,
            env=environment(settings),
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[3]
        server = Server(process, url.rstrip("/"))
        parts = psutil.Process(process.pid).children(recursive=True)
        assert len(parts) == 4  # Redis, the parent and two workers
        async with program(server) as client:
            joined = await client.ask("join", room="lobby")
            assert len(joined["messages"]) == kept
            await client.ask("publish", room="lobby", text="kept")
            os.killpg(process.pid, signal.SIGINT)
            assert (await client.closed())[0] == 1012
        assert await server.stop(0) == 0
        assert not any(part.is_running() for part in parts)
        assert not [line for line in server.log if line["event"].startswith(("redis_", "not JSON"))]
