"""A program's end of a connection: JSON or MessagePack in, events out as dicts, with nothing of the server's codecs."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgpack  # type: ignore[import-untyped]
from aiohttp import WSMsgType

from tests.leaks import note_command
from tests.servers import Server

JSON: Final = "aiochat.v1.json"
MSGPACK: Final = "aiochat.v1.msgpack"
CODECS: Final = (JSON, MSGPACK)

Event = dict[str, Any]


class Closed(Exception):
    """The server has closed the connection, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Program:
    """One connection. `heard` is all that was read so far, `messages` the same by WebSocket message."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._port = socket._response.url.port or 0
        self.heard: list[Event] = []
        self.messages: list[list[Event]] = []
        self.client = ""  # its id, from `welcome` or `resumed`
        self.token = ""  # from the last `session`
        self._unread: list[Event] = []
        self._ids = count(1)
        self._is_json = socket.protocol == JSON

    async def send(self, *commands: Any) -> None:
        """All in one WebSocket message."""
        for command in commands:
            note_command(self._port, command)
        if self._is_json:
            await self.socket.send_str("\n".join(map(json.dumps, commands)))
        else:
            await self.socket.send_bytes(b"".join(map(msgpack.packb, commands)))

    async def ask(self, command: str, **fields: Any) -> Event:
        """Send a command with an id of its own; the event that repeats it."""
        id = f"ask-{next(self._ids)}"
        await self.send({"type": command, "id": id, **fields})
        return await self.next(id=id)

    async def refusal(self, command: str, **fields: Any) -> tuple[str, str | None]:
        """The code and the field of the error that a command gets."""
        error = await self.ask(command, **fields)
        assert error["type"] == "error", error
        assert error["reason"]
        assert error.get("command", command) == command
        return error["code"], error.get("field")

    async def next(self, kind: str | None = None, **fields: Any) -> Event:
        """The next event, of this type and with these fields if they are given; others wait for their own call.

        Raises `Closed`.
        """
        wanted = (fields if kind is None else {"type": kind, **fields}).items()
        place = 0
        while True:
            while place < len(self._unread):
                if all(self._unread[place].get(field) == value for field, value in wanted):
                    return self._unread.pop(place)
                place += 1
            await self._read()

    async def texts(self, count: int) -> list[str | None]:
        """What the next so many messages say."""
        return [(await self.next("message")).get("text") for _ in range(count)]

    async def closed(self) -> tuple[int, Event]:
        """Skip what still comes; the code of the Close and the event before it, `goodbye` if it was the server's."""
        try:
            while True:
                await self._read()
        except Closed as closed:
            return closed.code, self.heard[-1] if self.heard else {}

    def drop(self) -> None:
        """Lose the connection, without a Close."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    async def _read(self) -> None:
        received = await self.socket.receive()
        if received.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            raise Closed(self.socket.close_code or 0)
        assert received.type is (WSMsgType.TEXT if self._is_json else WSMsgType.BINARY), received.type
        events = list(self._decode(received.data))
        self.messages.append(events)
        for event in events:
            self._note(event)

    def _decode(self, data: Any) -> Iterable[Event]:
        if self._is_json:
            return map(json.loads, data.split("\n"))
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        return unpacker  # type: ignore[no-any-return]

    def _note(self, event: Event) -> None:
        self.heard.append(event)
        self._unread.append(event)
        if event["type"] in {"welcome", "resumed"}:
            self.client = event["client"]
        elif event["type"] == "session":
            self.token = event["resume"]


@asynccontextmanager
async def program(
    server: Server, room: str | None = None, name: str | None = None, codec: str = JSON, **options: Any
) -> AsyncIterator[Program]:
    """A program that has been greeted, and has joined `room` if that is given; `options` are aiohttp's."""
    query = {key: value for key, value in (("room", room), ("name", name)) if value is not None}
    url = f"{server.ws_url}?{urlencode(query)}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=(codec,), max_msg_size=0, **options) as socket,
    ):
        client = Program(socket)
        await client.next("welcome")
        await client.next("session")
        if room is not None:
            await client.next("joined")
        yield client


def offsets(messages: Sequence[Event]) -> list[int]:
    """Those of a page."""
    return [message["offset"] for message in messages]
