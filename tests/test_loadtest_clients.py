"""The load test's clients against servers that do one thing wrong: exactly that is seen, and without it nothing.

One worker runs here, and the test is its parent.
"""

import asyncio
import multiprocessing
import socket
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any, Final

import msgspec
import pytest
import trustme
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from aiochat.loadtest.links import Connected, Judged, Leave, Loaded, Progress, Sent, Start, Stop, Tick
from aiochat.loadtest.meter import connecting, lines, worker
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.worker import Parent, Worker
from aiochat.loadtest.record import Outcome
from aiochat.loadtest.scenario import Scenario
from aiochat.loadtest.target import Target

LEAST = Scenario(clients=4, rate=100.0, size=40, seconds=0.4, warmup=0.0)
FOURTH: Final = 4
Socket = web.WebSocketResponse


def event(kind: str, **fields: object) -> str:
    """As it goes over the wire."""
    return msgspec.json.encode({"type": kind, **fields}).decode()


class Room:
    """A room of a server that speaks aiochat.v1.json, with a log; `fault` is done once."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.log: list[dict[str, object]] = []
        self.keys: dict[str, int] = {}
        self.members: list[Socket] = []
        self.grown = asyncio.Event()
        self.held: list[str] = []
        self.resumes = 0
        self.texts: list[str] = []
        self.remotes: list[str | None] = []

    def is_time_for(self, fault: str) -> bool:
        """Once: with the fourth message, or whenever it is asked for after that."""
        if self.fault == fault and len(self.log) >= FOURTH:
            self.fault = ""
            return True
        return False

    async def enter(self, socket: Socket, **more: object) -> None:
        self.members.append(socket)
        offset = len(self.log)
        await socket.send_str(event("joined", room="room-0", epoch="e", offset=offset, members=1, **more))

    async def publish(self, socket: Socket, said: dict[str, Any]) -> None:
        key = said.get("key")
        if key in self.keys and not self.is_time_for("forgets keys"):
            await self.say(socket, event("ack", id=said["id"], room="room-0", offset=self.keys[key], repeated=True))
            return
        self.log.append({"type": "message", "room": "room-0", "offset": len(self.log) + 1, "text": said["text"]})
        self.keys[key or ""] = len(self.log)
        self.grown.set()
        if not self.is_time_for("does not acknowledge"):
            await self.say(socket, event("ack", id=said["id"], room="room-0", offset=len(self.log)))
        await self.fan_out(msgspec.json.encode(self.log[-1]).decode())

    async def fan_out(self, text: str) -> None:
        if self.is_time_for("loses for all"):
            return
        last = self.members[-1]
        for member in [*self.members]:
            if member is last and self.is_time_for("loses"):
                continue
            if member is last and self.is_time_for("reorders"):
                self.held.append(text)
                continue
            await self.say(member, text)
            if member is last:
                for held in self.held:
                    await self.say(member, held)
                self.held.clear()
                if self.is_time_for("doubles"):
                    await self.say(member, text)
                if self.is_time_for("closes"):
                    self.members.remove(member)
                    await member.close(code=4000)

    async def say(self, member: Socket, text: str) -> None:
        try:
            await member.send_str(text)
        except ConnectionError:
            if member in self.members:
                self.members.remove(member)

    async def resume(self, socket: Socket, said: dict[str, Any]) -> None:
        """Waits until there is something that was missed."""
        self.resumes += 1
        since = said["rooms"]["room-0"]["offset"]
        deadline = time.monotonic() + 1
        while len(self.log) < since + 3 and time.monotonic() < deadline:
            self.grown.clear()
            try:
                await asyncio.wait_for(self.grown.wait(), 0.2)
            except TimeoutError:
                continue
        missed = self.log[since:]
        await socket.send_str(event("resumed", client="c"))
        if self.is_time_for("tells of a gap"):
            await socket.send_str(event("gap", room="room-0", epoch="e", **{"from": since + 1, "to": since + 1}))
            missed = missed[1:]
        if len(missed) > 1:
            missed = self.page(missed)
        await self.enter(socket, messages=missed, recovered=True, more=False)
        await socket.send_str(event("session", resume="token", valid_ms=1000))

    def page(self, missed: list[dict[str, object]]) -> list[dict[str, object]]:
        if self.is_time_for("page loses"):
            return [missed[0], *missed[2:]]
        if self.is_time_for("page doubles"):
            return [missed[0], *missed]
        if self.is_time_for("page reorders"):
            return [missed[1], missed[0], *missed[2:]]
        return missed

    async def serve(self, request: web.Request) -> Socket:
        socket = Socket(protocols=("aiochat.v1.json",))
        await socket.prepare(request)
        self.remotes.append(request.remote)
        await socket.send_str(event("welcome", protocol=1) + "\n" + event("session", resume="token", valid_ms=1000))
        if "room" in request.match_info:
            await self.enter(socket, messages=[])
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self.obey(socket, msgspec.json.decode(message.data))
        if socket in self.members:
            self.members.remove(socket)
        return socket

    async def obey(self, socket: Socket, said: dict[str, Any]) -> None:
        match said["type"]:
            case "publish":
                await self.publish(socket, said)
            case "resume":
                await self.resume(socket, said)
            case "leave":
                self.members.remove(socket)
                await socket.send_str(event("left", room="room-0"))
            case "join":
                await self.enter(socket, messages=[], name=said.get("name"))


class Echo(Room):
    """A server that sends everybody what one has sent, whatever that is."""

    async def serve(self, request: web.Request) -> Socket:
        socket = Socket()
        await socket.prepare(request)
        self.members.append(socket)
        async for message in socket:
            self.log.append({})
            await self.fan_out(message.data)
        if socket in self.members:
            self.members.remove(socket)
        return socket


class SocketIo(Room):
    """Socket.IO as one sees it on a WebSocket."""

    async def serve(self, request: web.Request) -> Socket:
        socket = Socket()
        await socket.prepare(request)
        assert dict(request.query) == {"EIO": "4", "transport": "websocket", "room": "room-0"}
        await socket.send_str('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
        async for message in socket:
            if message.data == "40":
                await socket.send_str('40{"sid":"b"}')
                self.members.append(socket)
                await socket.send_str("2")
            elif message.data == "3":
                self.texts.append(message.data)
            else:
                self.log.append({})
                await self.fan_out(message.data)
        if socket in self.members:
            self.members.remove(socket)
        return socket


@asynccontextmanager
async def serving(room: Room, tls: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    """A server that has this one room."""
    app = web.Application()
    app.add_routes([web.get("/ws", room.serve), web.get("/ws/{room}", room.serve), web.get("/socket.io/", room.serve)])
    test_server = TestServer(app, host="127.0.0.1")
    await test_server.start_server(ssl=tls)
    try:
        port = test_server.port or 0
        yield Target(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/ws", ("127.0.0.1", port), socket.AF_INET)
    finally:
        await test_server.close()


class Run:
    """What a worker has told its parent."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.sent: dict[int, int] = {}
        self.judged: Judged

    @property
    def outcome(self) -> Outcome:
        return self.judged.outcome


async def run(scenario: Scenario, target: Target, *, when: Callable[[Any, Any], None] | None = None) -> Run:
    """As the parent does it; `when` hears of each message, and can say something."""
    ours, theirs = multiprocessing.Pipe()
    loop, result = asyncio.get_running_loop(), Run()
    task = asyncio.create_task(Worker(Parent(theirs), scenario, target, 0, 1).run())
    heard: asyncio.Queue[Any] = asyncio.Queue()
    loop.add_reader(ours.fileno(), lambda: heard.put_nowait(ours.recv()))
    try:
        while True:
            message = await heard.get()
            if when is not None:
                when(message, ours)
            match message:
                case Connected(failures=failures):
                    assert failures == []
                    start = time.monotonic() + 0.02
                    ours.send(Start(start, start + scenario.warmup, start + scenario.warmup + scenario.seconds))
                case Tick():
                    result.ticks.append(message)
                case Loaded(sent=sent):
                    result.sent = sent
                    ours.send(Sent(sent))
                case Judged():
                    result.judged = message
                    ours.send(Leave())
                    break
                case _:
                    assert isinstance(message, Progress)
    finally:
        loop.remove_reader(ours.fileno())
        ours.close()
        await asyncio.gather(task, return_exceptions=True)
        theirs.close()
    return result


def wrong(outcome: Outcome) -> tuple[int, int, int, int]:
    """Lost, doubled, out of order, not acknowledged."""
    return outcome.lost, outcome.doubled, outcome.out_of_order, outcome.unacknowledged


@pytest.fixture(autouse=True)
def quiet_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is given up soon: these servers answer at once."""
    monkeypatch.setattr(worker, "QUIET_SECONDS", 0.3)


LIVE = {
    "": (0, 0, 0, 0),
    "loses": (1, 0, 0, 0),
    "loses for all": (4, 0, 0, 0),
    "doubles": (0, 1, 0, 0),
    "reorders": (0, 0, 1, 0),
    "does not acknowledge": (0, 0, 0, 1),
}


@pytest.mark.parametrize("fault", LIVE)
async def test_what_a_server_of_ours_does_wrong_is_seen(fault: str) -> None:
    """With acks and offsets, of four receivers that all send; the receiver is named."""
    room = Room(fault)
    async with serving(room) as target:
        result = await run(LEAST, target)
    assert wrong(result.outcome) == LIVE[fault]
    assert sum(result.sent.values()) == 40
    assert result.outcome.acknowledged == 40 - LIVE[fault][3]
    assert {violation.room for violation in result.outcome.violations} <= {"room-0"}
    assert 0 < sum(tick.sent for tick in result.ticks) <= 40  # the last ones may be late, and are judged all the same
    assert bool(result.outcome.violations) is bool(fault)


ACROSS = {
    "": (0, 0, 0, 0),
    "page loses": (1, 0, 0, 0),
    "page doubles": (0, 1, 0, 0),
    "tells of a gap": (0, 0, 0, 0),
}


@pytest.mark.parametrize("fault", ACROSS)
async def test_what_goes_wrong_across_a_resume_is_seen(fault: str) -> None:
    """Connections break and come back with what was missed in between; a gap that is told is counted as such."""
    room = Room(fault)
    scenario = msgspec.structs.replace(LEAST, cuts_per_second=4.0, rate=200.0, seconds=0.7)
    async with serving(room) as target:
        result = await run(scenario, target)
    outcome = result.outcome
    assert wrong(outcome) == ACROSS[fault]
    assert outcome.cuts == room.resumes == outcome.resumed + outcome.gaps > 0
    assert outcome.gaps == (fault == "tells of a gap")
    assert sum(result.judged.resume.buckets.values()) == outcome.cuts
    assert sum(result.sent.values()) == 140


async def test_a_page_in_the_wrong_order_is_seen() -> None:
    """Offsets go up, whoever sent the messages."""
    scenario = msgspec.structs.replace(LEAST, cuts_per_second=4.0, rate=200.0, seconds=0.7)
    async with serving(Room("page reorders")) as target:
        outcome = (await run(scenario, target)).outcome
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.out_of_order == 1


async def test_a_message_published_again_that_becomes_two_is_seen_by_all() -> None:
    """In a storm acks get lost with the connections; the same key has to be the same message."""

    class Forgetful(Room):
        async def publish(self, socket: Socket, said: dict[str, Any]) -> None:
            """Takes the fourth without an ack, and breaks the connection."""
            if len(self.log) == FOURTH and self.fault:
                self.fault = ""
                self.log.append({"type": "message", "room": "room-0", "offset": FOURTH + 1, "text": said["text"]})
                await self.fan_out(msgspec.json.encode(self.log[-1]).decode())
            else:
                await super().publish(socket, said)

    room = Forgetful("once")
    scenario = msgspec.structs.replace(LEAST, storms=1, seconds=0.6)
    async with serving(room) as target:
        outcome = (await run(scenario, target)).outcome
    assert outcome.cuts == outcome.resumed == 4
    assert wrong(outcome) == (0, 4, 0, 0)


async def test_who_moves_misses_nothing() -> None:
    """Leaves and joins again, and what was due meanwhile is sent after that."""
    scenario = msgspec.structs.replace(LEAST, moves_per_second=30.0, typing_per_second=20.0)
    room = Room()
    async with serving(room) as target:
        result = await run(scenario, target)
    assert wrong(result.outcome) == (0, 0, 0, 0)
    assert sum(result.sent.values()) == 40
    assert len(room.log) == 40


@pytest.mark.parametrize(("kind", "codec"), [(Echo, "json"), (Echo, "text"), (SocketIo, "socketio")])
@pytest.mark.parametrize("fault", ["", "loses", "doubles"])
async def test_servers_without_offsets_are_checked_as_well(kind: type[Room], codec: Any, fault: str) -> None:
    """Those that echo what is published, and Socket.IO's."""
    room = kind(fault)
    async with serving(room) as target:
        result = await run(msgspec.structs.replace(LEAST, codec=codec), target)
    assert (wrong(result.outcome), result.outcome.acknowledged) == (LIVE[fault], None)
    assert len(room.texts) == (4 if codec == "socketio" else 0)


MESSAGE: Final = lines.frame_head(lines.TEXT, 40) + b"~000000000000000000000000000001".ljust(40, b"a")


@pytest.mark.parametrize("early", [0, 1, 30, len(MESSAGE), len(MESSAGE) + 20])
async def test_what_comes_with_the_handshake_is_not_lost(early: int) -> None:
    """A message that began in the same read as the answer to the upgrade ends in the next one."""
    said = MESSAGE + MESSAGE.replace(b"~000000000000", b"~000000000001") + lines.frame_head(lines.PING, 0)
    served: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key"))
        accept = b64encode(sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n".encode() + said[:early])
        served.put_nowait((reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        target = Target(f"ws://127.0.0.1:{port}/ws", ("127.0.0.1", port), socket.AF_INET)
        crew = Crew(Scenario(clients=1, codec="text"), target, 0, 1)
        client = crew.readers[0]
        await crew.connector.connect(client)
        reader, writer = await served.get()
        assert client.transport is not None
        assert (client.transport.get_protocol() is client) is (early in (0, len(MESSAGE)))
        writer.write(said[early:])
        async with asyncio.timeout(5):
            assert (await reader.readexactly(1))[0] == lines.PONG
        assert client.transport.get_protocol() is client
        assert client.delivered == 2
        client.leave()
        writer.close()


@pytest.mark.parametrize(("kind", "codec"), [(Room, "json"), (Echo, "text")])
async def test_newcomers_say_one_message_and_go(kind: type[Room], codec: Any) -> None:
    """Their messages are expected by those who stay, and each that came counts."""
    scenario = msgspec.structs.replace(LEAST, codec=codec, newcomers_per_second=20.0)
    async with serving(kind()) as target:
        result = await run(scenario, target)
    assert result.outcome.newcomers == 8
    assert wrong(result.outcome) == (0, 0, 0, 0)
    assert sum(result.judged.newcomer.buckets.values()) == 8
    assert sum(result.sent.values()) == 48


async def test_a_closed_loop_keeps_its_window_through_moves_and_cuts() -> None:
    """It neither dries up nor swells."""
    scenario = msgspec.structs.replace(
        LEAST, rate=0.0, window=3, moves_per_second=15.0, cuts_per_second=10.0, seconds=0.6
    )
    room = Room()
    async with serving(room) as target:
        result = await run(scenario, target)
    assert wrong(result.outcome) == (0, 0, 0, 0)
    assert min(result.sent.values()) > 20
    assert len(room.log) == sum(result.sent.values())


async def test_over_tls_it_is_the_same() -> None:
    """With a certificate that nobody has heard of; cuts and resumes too."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    scenario = msgspec.structs.replace(LEAST, cuts_per_second=5.0, seconds=0.7)
    async with serving(Room(), context) as target:
        outcome = (await run(scenario, target)).outcome
    assert wrong(outcome) == (0, 0, 0, 0)
    assert outcome.cuts == outcome.resumed > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
async def test_more_clients_than_an_address_has_ports_use_more_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here after two clients, really after 20,000."""
    monkeypatch.setattr(connecting, "CLIENTS_PER_ADDRESS", 2)
    room = Room()
    async with serving(room) as target:
        await run(msgspec.structs.replace(LEAST, rate=0.0, clients=5, seconds=0.05), target)
    assert sorted(map(str, room.remotes)) == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3"]


@pytest.mark.parametrize("codec", ["json", "text"])
async def test_slow_clients_stop_reading_and_are_not_judged(codec: Any) -> None:
    """The server has no bounds here: nobody is dropped, and who reads gets everything."""
    scenario = msgspec.structs.replace(LEAST, clients=5, slow=1, codec=codec, size=5000)
    async with serving(Room() if codec == "json" else Echo()) as target:
        outcome = (await run(scenario, target)).outcome
    assert (wrong(outcome), outcome.slow_dropped, outcome.dropped) == ((0, 0, 0, 0), 0, {})


async def test_who_is_closed_is_counted_by_its_code() -> None:
    """And nothing that came after it is lost."""
    async with serving(Room("closes")) as target:
        outcome = (await run(LEAST, target)).outcome
    assert (outcome.dropped, wrong(outcome)) == ({4000: 1}, (0, 0, 0, 0))


async def test_a_server_that_dies_ends_nothing() -> None:
    """The worker goes on telling that nobody is connected, until it is stopped, and judges what came before."""
    room = Room()

    def when(message: Any, link: Any) -> None:
        if isinstance(message, Tick) and message.number == 1:
            for member in [*room.members]:
                transport = member._req.transport if member._req is not None else None
                if transport is not None:
                    transport.abort()
        if isinstance(message, Tick) and message.number == 2:
            assert message.connected == 0
            link.send(Stop())

    async with serving(room) as target:
        result = await run(msgspec.structs.replace(LEAST, seconds=30.0), target, when=when)
    assert result.outcome.dropped == {1006: 4}
    assert (result.outcome.lost, result.outcome.doubled) == (0, 0)
    assert len(result.ticks) <= 3


async def test_a_parent_that_goes_ends_the_worker() -> None:
    """Whatever it is doing."""
    ours, theirs = multiprocessing.Pipe()
    async with serving(Room()) as target:
        task = asyncio.create_task(Worker(Parent(theirs), LEAST, target, 0, 1).run())
        await asyncio.sleep(0)
        ours.close()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    theirs.close()


async def test_who_cannot_connect_is_told() -> None:
    """The first reason, and soon."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        target = Target(f"ws://127.0.0.1:{port}/ws", ("127.0.0.1", port), socket.AF_INET)
        with pytest.raises(AssertionError, match="Connect call failed"):
            await run(LEAST, target)
