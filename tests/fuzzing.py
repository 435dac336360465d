"""A chat with real connections on fake sockets, and what must hold of it whatever they are sent."""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped]
import msgspec

from aiochat.auth.identity import ANYBODY
from aiochat.codecs import CODECS
from aiochat.config import Config
from aiochat.connection import Connection
from aiochat.connections import Connections
from aiochat.directory import LocalDirectory
from aiochat.hub import Hub
from aiochat.messages import Publish
from aiochat.roomlog.engines import make_log
from tests import wire
from tests.hubs import Chat
from tests.mutations import JSON, MSGPACK, ROOM, TEXT_CODEC, Session
from tests.raw import BINARY, CLOSE, PONG, TEXT

CODES: Final = {None, 1000, 1002, 1003, 1007, 1009, 4400, 4429}  # what a client can be to blame for

_TURNS: Final = 20  # enough for whatever one session may ask
_VOLATILE: Final = {"resume", "client", "epoch", "ts", "server"}
_ID: Final = re.compile(r"\b[0-9a-f]{10}\b")


class Socket(asyncio.Transport):
    """The client's end: keeps what is written, holds back what is sent while reading is paused."""

    connection: Connection

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self._is_reading = True
        self._is_closing = False
        self._unread = bytearray()

    def send(self, data: bytes) -> None:
        """The server reads it, now or when it reads again."""
        self._unread += data
        if self._is_reading and not self._is_closing and self._unread:
            data, self._unread = bytes(self._unread), bytearray()
            self.connection.data_received(data)

    def hang_up(self) -> None:
        """The connection is lost, whoever ended it."""
        self._is_closing = True
        self.connection.connection_lost(None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closing, "written to a socket that is closed"
        self.written += data

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        asyncio.get_running_loop().call_soon(self.send, b"")

    def is_reading(self) -> bool:
        return self._is_reading

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Outcome(NamedTuple):
    """What a client got, without what differs from run to run: lines or events, pongs, and the code of the Close."""

    told: list[Any]
    pongs: list[bytes]
    code: int | None


class FuzzedChat(Chat):
    """A hub with real connections; in its room is somebody of each codec."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.log = make_log(config)
        self.hub = Hub(config, self.log, LocalDirectory())
        self.connections = Connections(config, self.hub)
        self.backlog = self.connections.backlog
        self._peers = 0
        self.bystanders = {name: self.connect(ROOM, codec=codec) for name, codec in CODECS.items()}

    def open(self, session: Session) -> Socket:
        """A client on a fake socket, as a take-over makes it."""
        socket = Socket()
        codec = CODECS[session.subprotocol]
        socket.connection = Connection(self.connections, socket, "127.0.0.1", codec, ANYBODY)
        self.connections.add(socket.connection, socket)
        self.hub.attach(socket.connection.client, session.room)
        return socket

    async def feed(self, session: Session, chunks: Iterable[bytes], *, turns: bool = False) -> Outcome:
        """Send the chunks, with turns of the hub between them or only after all; then hang up."""
        socket = self.open(session)
        await self.turn()
        for chunk in chunks:
            socket.send(chunk)
            if turns:
                await self.turn()
        client = socket.connection.client
        await self._until(lambda: client.commands is None and not client.waiting and client.feed_on is None)
        socket.hang_up()
        await self._until(lambda: client.id not in self.hub.clients)
        outcome = _outcome(session.subprotocol, wire.frames_of(bytes(socket.written)))
        if not socket.connection._has_closed:
            assert outcome.code in CODES
        assert (len(self.connections), self.backlog.bytes, self.hub.inbox.bytes) == (0, 0, 0)
        assert len(self.hub.clients) == len(CODECS)
        return outcome

    async def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(_TURNS):
            await self.turn()
            if holds():
                return
        raise AssertionError("still at work")

    async def heard_by_all(self) -> list[str | None]:
        """The last words of somebody in the room; the text of all that was heard there, by all the same."""
        self.bystanders[JSON].ask(Publish(room=ROOM, text="the end"))
        await self.turn(2)
        json, msgpack = (
            [event for event in _told(name, self.bystanders[name].socket.frames) if event["type"] == "message"]
            for name in (JSON, MSGPACK)
        )
        assert json == msgpack
        assert [message["offset"] for message in json] == list(range(1, len(json) + 1))
        lines = self.bystanders[TEXT_CODEC].heard
        assert not any(unicodedata.category(character) == "Cc" for line in lines for character in line)
        assert len(lines) == len(json)
        assert lines[-1] == json[-1]["text"] == "the end"
        return [message.get("text") for message in json]

    async def end(self) -> None:
        """Everybody goes: nothing is left of anybody."""
        for bystander in self.bystanders.values():
            bystander.hang_up()
        await self.turn(2)
        assert self.is_empty


def _told(subprotocol: str, frames: Iterable[wire.Frame]) -> list[Any]:
    """Lines, or events; each frame must be of the kind that the subprotocol has, and whole."""
    payloads = [frame.payload for frame in frames if frame.opcode in {TEXT, BINARY}]
    assert all(frame.opcode != (TEXT if subprotocol == MSGPACK else BINARY) for frame in frames)
    if subprotocol == TEXT_CODEC:
        return [payload.decode() for payload in payloads]
    if subprotocol == JSON:
        return [msgspec.json.decode(line) for payload in payloads for line in payload.split(b"\n")]
    unpacker = msgpack.Unpacker()
    for payload in payloads:
        unpacker.feed(payload)
    return list(unpacker)


def _outcome(subprotocol: str, frames: list[wire.Frame]) -> Outcome:
    codes = [frame.code for frame in frames if frame.opcode == CLOSE]
    assert not codes or frames[-1].opcode == CLOSE, "something came after the Close"
    told = [_stable(each) for each in _told(subprotocol, frames)]
    return Outcome(told, [frame.payload for frame in frames if frame.opcode == PONG], codes[0] if codes else None)


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(inner) for key, inner in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_stable(inner) for inner in value]
    return _ID.sub("ID", value) if isinstance(value, str) else value
