"""A server that says what the test tells it to, word by word: for what the real one does rarely, or never."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.codecs.json import JsonCodec
from aiochat.messages import (
    Ack,
    Command,
    Entry,
    Error,
    Event,
    Join,
    Joined,
    Limits,
    Message,
    Ping,
    Pong,
    Position,
    Publish,
    Resume,
    Resumed,
    Sender,
    Session,
    Welcome,
)
from aiochat.sdk import Backoff, ChatClient, ChatEvent, Disconnected

LIMITS: Final = Limits(
    message_bytes=65536,
    rooms=64,
    messages_per_second=0.0,
    burst_messages=0,
    history_messages=300,
    key_ms=600_000,
    session_ms=600_000,
)
_codec: Final = JsonCodec()
_Command = TypeVar("_Command", bound=Command)
_Event = TypeVar("_Event")


class Peer:
    """One client, as the server sees it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request = request
        self.socket = socket
        self.over = asyncio.Event()

    async def tell(self, *events: Event) -> None:
        """Say it in one message."""
        await self.socket.send_str("\n".join(_codec.encode_event(event)[0].decode() for event in events))

    async def hear(self, kind: type[_Command]) -> _Command:
        """The next command, which is to be of this kind."""
        message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        (command,) = _codec.decode(message.data.encode(), False)
        assert isinstance(command, kind), command
        return command

    async def hears_nothing(self) -> None:
        """The client says nothing for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                raise AssertionError(await self.socket.receive())

    async def welcome(self, client: str = "c1", token: str = "t1", *, limits: Limits = LIMITS) -> None:
        await self.tell(welcome(client, limits), Session(token, 600_000))

    async def admit(self, *, offset: int = 0, epoch: str = "e") -> Join:
        """Let it into the one room that it asks for."""
        join = await self.hear(Join)
        await self.tell(joined(join, offset=offset, epoch=epoch))
        return join

    async def take_back(self, *answers: Event) -> Resume:
        """Resume its session, and go on with `answers`."""
        resume = await self.hear(Resume)
        await self.tell(Resumed(id=resume.id, client="c1"), *answers)
        return resume

    async def acknowledge(self, offset: int) -> Publish:
        publish = await self.hear(Publish)
        await self.tell(Ack(id=publish.id, room=publish.room, offset=offset, ts=1, key=publish.key))
        return publish

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code=code, message=reason.encode())
        self.over.set()

    def reset(self) -> None:
        """Hang up without a word."""
        assert self.request.transport is not None
        self.request.transport.abort()
        self.over.set()


class Script:
    """Takes connections one after the other."""

    def __init__(self) -> None:
        self.url = ""
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self.refusals: list[web.Response] = []  # what the next requests get instead of a connection

    async def connection(self) -> Peer:
        """The next client that connects."""
        return await self._peers.get()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return self.refusals.pop(0)
        socket = web.WebSocketResponse(protocols=[_codec.subprotocol], autoping=False)
        await socket.prepare(request)
        peer = Peer(request, socket)
        self._all.append(peer)
        self._peers.put_nowait(peer)
        await peer.over.wait()
        return socket

    def end(self) -> None:
        for peer in self._all:
            peer.over.set()


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    """A script, listening."""
    script = Script()
    app = web.Application()
    app.router.add_get("/ws", script.handle)
    async with TestServer(app) as server:
        script.url = str(server.make_url("/ws"))
        try:
            yield script
        finally:
            script.end()


class Naps:
    """A back-off that does not wait; it notes for how long it would have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.backoff = Backoff(uniform=lambda shortest, longest: longest, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def welcome(client: str = "c1", limits: Limits = LIMITS) -> Welcome:
    """The server's first word."""
    return Welcome(protocol=1, features=(), client=client, server="0", ping_interval_ms=25_000, limits=limits)


def joined(join: Join | None, *entries: Entry, offset: int | None = None, epoch: str = "e", **more: Any) -> Joined:
    """The answer to `join`, or to `resume` for the lobby."""
    fields: Mapping[str, Any] = {"room": "lobby", "id": None} if join is None else {"room": join.room, "id": join.id}
    newest = offset if offset is not None else entries[-1].offset if entries else 0
    return Joined(**fields, epoch=epoch, offset=newest, members=1, messages=entries, **more)


def message(offset: int, room: str = "lobby", **more: Any) -> Message:
    """What bob said at this offset."""
    return Message(room, offset, 1, Sender("c9", "bob"), f"message {offset}", **more)


def messages(first: int, last: int) -> tuple[Message, ...]:
    """Those at all of these offsets."""
    return tuple(message(offset) for offset in range(first, last + 1))


async def events_until(chat: AsyncIterator[ChatEvent], kind: Callable[[ChatEvent], bool]) -> list[ChatEvent]:
    """What comes, up to and with the first event for which `kind` is true."""
    heard: list[ChatEvent] = []
    async for event in chat:
        heard.append(event)
        if kind(event):
            return heard
    raise AssertionError(f"it ended with {heard[-3:]}")


async def next_of(chat: AsyncIterator[ChatEvent], kind: type[_Event]) -> _Event:
    """The next event of this kind; what comes before it is skipped."""
    event = (await events_until(chat, lambda event: isinstance(event, kind)))[-1]
    assert isinstance(event, kind)
    return event


def position(offset: int, epoch: str = "e") -> Position:
    """In the log that there is unless a test has another one."""
    return Position(epoch, offset)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """A server without words of its own."""
    async with scripted() as script:
        yield script


@asynccontextmanager
async def chatting(
    script: Script, *, limits: Limits = LIMITS, **options: Any
) -> AsyncIterator[tuple[ChatClient, Peer, Naps]]:
    """A client in the lobby, where offset 5 is the newest, with the server's end of it."""
    naps = Naps()
    chat = aiochat.connect(script.url, **{"name": "alice", "rooms": ["lobby"], "backoff": naps.backoff, **options})
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.welcome(limits=limits)
    if options.get("rooms", True):
        await peer.admit(offset=5)
    await opening
    try:
        yield chat, peer, naps
    finally:
        script.end()
        await chat.close()


async def break_off(chat: ChatClient, peer: Peer, script: Script, limits: Limits = LIMITS) -> Peer:
    """Cut the connection; the server's end of the next one, where the client was welcomed."""
    peer.reset()
    await next_of(chat, Disconnected)
    peer = await script.connection()
    await peer.welcome("provisional", "token of the provisional session", limits=limits)
    return peer


async def until_heard(chat: ChatClient, peer: Peer) -> None:
    """Wait until the client has heard what the server told it."""
    pinging = asyncio.create_task(chat.ping())
    await peer.tell(Pong(id=(await peer.hear(Ping)).id))
    await pinging


async def taken(chat: ChatClient, peer: Peer, offset: int) -> None:
    """Have a message taken: those that follow on this connection are under way together."""
    publishing = asyncio.create_task(chat.publish("lobby", "zero"))
    await peer.acknowledge(offset)
    await publishing


def refused(asked: Command, code: str, reason: str = "no", **more: Any) -> Error:
    """The error that answers a command."""
    return Error(id=asked.id, code=code, reason=reason, **more)


def told(events: list[ChatEvent]) -> list[int]:
    """The offsets of the messages among the events."""
    return [event.offset for event in events if isinstance(event, Message)]
