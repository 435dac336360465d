"""A stop, step by step: no more sent here, nobody let in, everybody told and ended; and what systemd hears of it."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiochat.config import load
from aiochat.connections import Connections
from aiochat.errors import Close
from aiochat.monitoring.systemd import Systemd
from tests.hubs import QUIET, Chat
from tests.programs import program
from tests.raw import TINY, UNLIMITED, joined, needs_proc, until
from tests.servers import Server, running, talking
from tests.sockets import asked, connected

ADMIN_TOKEN = "0123456789abcdef0123456789abcdef"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
FOR_EVER: dict[str, Any] = {"server.unready_seconds": 3600}


async def readiness(server: Server) -> tuple[int, Any]:
    """What /readyz says."""
    answer = await asked(server, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return answer.status, answer.json


# Not ready, and still there.


async def test_who_comes_while_load_balancers_learn_of_it_is_let_in() -> None:
    """After SIGTERM /readyz says 503 at once, and chat goes on. A second signal ends it; the exit code says which."""
    async with running(settings=FOR_EVER) as server:
        assert (await readiness(server))[0] == 200
        server.process.send_signal(signal.SIGTERM)
        await server.logged("stopping", cause="SIGTERM", unready_seconds=3600, clients=0)
        status, body = await readiness(server)
        assert (status, body["status"], body["draining"]) == (503, "draining", True)
        async with talking(server.ws_url) as talker:
            await talker.say("still here")
            assert await talker.hear() == "still here"
            server.process.send_signal(signal.SIGINT)
            assert await server.process.wait() == 128 + signal.SIGINT


async def test_an_interrupt_waits_for_no_load_balancer() -> None:
    """Ctrl-C is a person's."""
    async with running(settings=FOR_EVER) as server, talking(server.ws_url) as talker:
        server.process.send_signal(signal.SIGINT)
        assert await talker.closed() == 1012
        assert await server.process.wait() == 0
        await server.logged("stopping", cause="SIGINT", unready_seconds=0)


# Everybody is told.


async def test_clients_are_told_to_come_back_spread_over_a_while() -> None:
    """Each at a time of its own, within `server.reconnect_spread_seconds`; first it waits for `unready_seconds`."""
    settings = {"server.unready_seconds": 0.1, "server.reconnect_spread_seconds": 600}
    async with (
        running(settings=settings) as server,
        program(server, "lobby") as one,
        program(server, "lobby") as two,
        program(server, "lobby") as three,
    ):
        server.process.send_signal(signal.SIGTERM)
        ends = [await client.closed() for client in (one, two, three)]
        assert await server.process.wait() == 0
        after = {goodbye["after_ms"] for _, goodbye in ends}
        assert [(code, goodbye["type"]) for code, goodbye in ends] == [(1012, "goodbye")] * 3
        assert len(after) == 3
        assert max(after) <= 600_000
        await server.logged("stopped", clients=3, dropped=0)


@needs_proc
async def test_who_never_reads_is_dropped_in_time() -> None:
    """The others have been told by then; the last line counts them."""
    settings = {**UNLIMITED, "server.drain_seconds": 1, "queue.stall_seconds": 600}
    async with running(settings=settings) as server, talking(server.ws_url) as talker:
        async with joined(server, ["/ws"], receive_buffer=TINY):
            lines = ["x" * 60_000] * 10  # more than the sockets between them take
            for line in lines:
                await talker.say(line)
                await talker.hear()
            server.process.send_signal(signal.SIGTERM)
            assert await talker.closed() == 1012
            assert await server.process.wait() == 0
        await server.logged("stopped", clients=2, dropped=1)


@needs_proc
async def test_a_request_in_flight_is_answered(tmp_path: Path) -> None:
    """One that waits for the log when the signal comes, and the log goes on then."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "security.admin_token": ADMIN_TOKEN}
    body = b'{"text": "at the end"}'
    head = (
        f"POST /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with running(settings=settings) as server, connected(server) as (reader, writer):
        (log,) = psutil.Process(server.pid).children()
        log.suspend()
        writer.write(head.encode() + body)
        await asked(server, HEALTH)  # which comes after it
        server.process.send_signal(signal.SIGTERM)
        await server.logged("stopping")
        log.resume()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert await server.process.wait() == 0


class _Fake:
    """A connection that is gone when it is told to go."""

    def __init__(self, shared: Connections) -> None:
        self.outbox = self
        self._shared = shared

    def close(self, code: int, reason: str) -> None:
        self._shared._open.discard(self)


async def test_many_are_told_with_breaks() -> None:
    """So that 20,000 of them do not hold up the loop: no more than a hundred between two turns of somebody else."""
    shared = Connections(load(flags=QUIET), Chat().hub)
    shared._open = {_Fake(shared) for _ in range(1050)}  # type: ignore[misc]
    closing = asyncio.create_task(shared.close_all(Close.RESTART, "the server restarts", 60))
    left = [1050]
    while not closing.done():
        await asyncio.sleep(0)
        left.append(len(shared))
    assert await closing == (1050, 0)
    assert max(before - after for before, after in pairwise(left)) == 100


# What systemd hears.


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What was sent to systemd's socket since the last call."""
    address = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(address)
        receiving.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "300000")

        def read() -> list[str]:
            said = []
            while True:
                try:
                    said.append(receiving.recv(4096).decode())
                except BlockingIOError:
                    return said

        yield read


async def test_systemd_hears_of_start_life_and_stop(heard: Callable[[], list[str]]) -> None:
    """Ready when it listens, alive while the hub turns, stopping with the signal."""
    async with running() as server, talking(server.ws_url) as talker:
        said: list[str] = []
        while "WATCHDOG=1\nSTATUS=1 clients" not in said:
            await asyncio.sleep(0.01)
            said += heard()
        assert said[0] == "READY=1"
        server.process.send_signal(signal.SIGTERM)
        await talker.closed()
        await server.process.wait()
        assert "STOPPING=1\nSTATUS=stopping, 1 clients" in heard()


async def test_a_hub_that_hangs_is_not_fed(heard: Callable[[], list[str]]) -> None:
    """Its turn is what feeds: the loop alone is not enough."""
    turns: list[Callable[[], object]] = []
    feeding = asyncio.create_task(Systemd().feed(turns.append, lambda: "hanging"))
    await until(lambda: len(turns) >= 2)
    assert heard() == []
    turns[0]()
    assert heard() == ["WATCHDOG=1\nSTATUS=hanging"]
    feeding.cancel()


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither where it is not nor where it has gone."""
    for address in ("", f"{tmp_path}/gone", "@gone"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        Systemd().tell("READY=1")


@needs_proc
def test_an_abstract_socket_is_heard_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which systemd names with an @, and only Linux has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(f"\0aiochat-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@aiochat-{os.getpid()}")
        Systemd().tell("READY=1")
        assert receiving.recv(100) == b"READY=1"
