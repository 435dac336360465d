"""Hundreds of JSON clients over several servers, who come back to another one when theirs dies; some of them publish.

Each is an `asyncio.Protocol`, and what many of them are told in the same bytes is parsed once: so 600 fit into a test.
"""

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from typing import Any, Final

import msgspec

from aiochat.errors import Reply
from aiochat.messages import Gap, Joined, Message
from aiochat.sdk import ChatClient, Interrupted
from tests.ledger import Holding, Ledger
from tests.programs import JSON
from tests.raw import CLOSE, PING, PONG, TEXT, handshake, masked
from tests.servers import Server

_AGAIN_SECONDS: Final = 0.2
_UNJOINED: Final = {"not_joined", "unavailable"}  # refusals of a publish that is worth to be tried again

Event = dict[str, Any]


@lru_cache(maxsize=4096)
def _events(payload: bytes) -> tuple[Event, ...]:
    return tuple(msgspec.json.decode(line) for line in payload.split(b"\n"))


class _Wire(asyncio.Protocol):
    """One upgraded socket; `hear` is given each event, `lost` called at its end."""

    def __init__(self, hear: Callable[[Event], None], lost: Callable[[], None]) -> None:
        self._hear = hear
        self._lost = lost
        self._unread = b""
        self._is_upgraded = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(handshake("/ws", JSON))

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        if not self._is_upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            self._is_upgraded = bool(end)
            if not end:
                data = head
            elif not head.startswith(b"HTTP/1.1 101"):
                self.close()
                return
        at = 0
        while self._is_upgraded and (frame := _frame_at(data, at)) is not None:
            opcode, payload, at = frame
            self._take(opcode, payload)
        self._unread = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._lost()

    def send(self, command: Event) -> None:
        if self.transport is not None:
            self.transport.write(masked(json.dumps(command).encode()))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            for event in _events(payload):
                self._hear(event)
        elif opcode == PING and self.transport is not None:
            self.transport.write(masked(payload, PONG))
        elif opcode == CLOSE:
            self.close()


def _frame_at(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Opcode, payload and end of the frame there, if it is whole."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1], at + 2
    if size >= 126:
        form = "!H" if size == 126 else "!Q"
        if len(data) < start + struct.calcsize(form):
            return None
        (size,) = struct.unpack_from(form, data, start)
        start += struct.calcsize(form)
    end = start + size
    return None if len(data) < end else (data[at] & 0xF, data[start:end], end)


class Person:
    """One client, in its rooms over as many connections as it takes. `breaks` counts those that were lost."""

    def __init__(self, ledger: Ledger, name: str, rooms: Sequence[str], where: Callable[[], Server]) -> None:
        self.name = name
        self.rooms = rooms
        self.client = ""  # its id
        self.server: Server | None = None  # where it is
        self.breaks = 0
        self.sessions = 0  # that it has had; its keys are those of the last
        self.has_left = False  # or will, with its connection, and not come back
        self.is_there = asyncio.Event()  # in all of its rooms, and live
        self.holdings = {room: ledger.holding(name, room) for room in rooms}
        self._where = where
        self._live: set[str] = set()
        self._token = ""
        self._first_token = ""  # of the connection, until it has resumed
        self._is_session = False
        self._asked: dict[int, asyncio.Future[Event]] = {}
        self._ids = count(1)
        self._wire: _Wire | None = None
        self._coming: asyncio.Task[None] | None = None

    async def come_to(self, server: Server) -> None:
        """Raises `OSError` if there is no such server."""
        wire = _Wire(self._hear, self._lost)
        await asyncio.get_running_loop().create_connection(lambda: wire, "127.0.0.1", server.port)
        self.server, self._wire = server, wire

    def go(self) -> None:
        """For good, without a word."""
        self.has_left = True
        if self._coming is not None:
            self._coming.cancel()
        if self._wire is not None:
            self._wire.close()

    async def ask(self, command: str, **fields: Any) -> Event:
        """The answer. Raises `ConnectionError` if the connection is lost before it comes."""
        if self._wire is None or self._wire.transport is None:
            raise ConnectionResetError
        id = next(self._ids)
        answered: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._asked[id] = answered
        self._wire.send({"type": command, "id": id, **fields})
        try:
            return await answered
        finally:
            self._asked.pop(id, None)

    def _hear(self, event: Event) -> None:
        kind = event["type"]
        if kind in {"message", "gap"}:
            self.holdings[event["room"]].hear(event)
        elif kind == "joined":
            self._joined(event)
        elif kind == "left":
            self._out_of(event["room"])
        elif kind == "welcome":
            self._is_session = not self._token
            self.client = self.client if self._token else event["client"]
            self._provisional = event["client"]
        elif kind == "session":
            self._session(event["resume"])
        elif kind == "resumed":
            self._is_session = True
        elif (answered := self._asked.get(event.get("id", 0))) is not None and not answered.done():
            answered.set_result(event)
        elif kind == "error":
            self._refused(event)

    def _session(self, token: str) -> None:
        if self._is_session:
            is_first, self._token = not self._token, token
            if is_first:
                self._begin()
        elif not self._first_token:
            self._first_token = token
            positions = {room: holding.position for room, holding in self.holdings.items()}
            self._send({"type": "resume", "id": "resume", "token": self._token, "rooms": positions})

    def _begin(self) -> None:
        self.sessions += 1
        for room in self.rooms:
            self._join(room)

    def _refused(self, error: Event) -> None:
        id = str(error.get("id", ""))
        if id == "resume":
            self._token, self._is_session, self.client = self._first_token, True, self._provisional
            self._begin()
        elif id.startswith("join "):
            asyncio.get_running_loop().call_later(error.get("retry_after_ms", 200) / 1000, self._join, id[5:])

    def _joined(self, event: Event) -> None:
        room = event["room"]
        self.holdings[room].hear(event)
        if event.get("more"):
            self._join(room)
            return
        self._live.add(room)
        if len(self._live) == len(self.rooms):
            self.is_there.set()

    def _out_of(self, room: str) -> None:
        self._live.discard(room)
        self.is_there.clear()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._join, room)

    def _join(self, room: str) -> None:
        since = self.holdings[room].position
        self._send({"type": "join", "id": f"join {room}", "room": room, "name": self.name, "since": since})

    def _send(self, command: Event) -> None:
        if self._wire is not None:
            self._wire.send(command)

    def _lost(self) -> None:
        self.breaks += 1
        self.is_there.clear()
        self._live.clear()
        self._is_session = False
        self._first_token = ""
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(ConnectionResetError())
        if not self.has_left:
            self._coming = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            with suppress(OSError):
                await self.come_to(self._where())
                return


class Crowd:
    """All of them, and the SDK's clients among them. `patience` is how long a publisher may be told nothing."""

    def __init__(self, ledger: Ledger, patience: float) -> None:
        self.ledger = ledger
        self.patience = patience
        self.people: list[Person] = []
        self.chats: dict[str, ChatClient] = {}  # by name
        self.refused = 0  # `unavailable` that publishers were told
        self.padding = ""  # of what is said in the small rooms
        self._may_speak = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._saying: set[asyncio.Task[None]] = set()

    @property
    def breaks(self) -> int:
        """Of all connections so far."""
        return sum(person.breaks for person in self.people)

    def speak_on(self) -> None:
        self._may_speak.set()

    async def hush(self) -> None:
        """Nobody publishes any more, and all that was published is answered."""
        self._may_speak.clear()
        while self._saying:
            await asyncio.wait(self._saying)

    def publish(self, person: Person, seconds: float, *, is_stubborn: bool) -> None:
        """It speaks so often, in its rooms in turn; who is stubborn says again what was refused, until it is not."""

        async def say(room: str, text: str) -> None:
            await self._say(person, room, text, is_stubborn=is_stubborn)

        self._start(self._speak(person.name, person.rooms, seconds, say))

    def enlist(self, name: str, chat: ChatClient, room: str, seconds: float) -> None:
        """The SDK's client is in the room, hears, and publishes so often."""
        self.chats[name] = chat

        async def say(room: str, text: str) -> None:
            self.ledger.says(room, text)
            try:
                self.ledger.acked(text, (await chat.publish(room, text)).offset)
            except Interrupted:
                pass  # nobody knows
            except Reply as refusal:
                self.ledger.note(f"{name} was told {refusal} in the end")

        self._start(_listen(chat, self.ledger.holding(name, room)))
        self._start(self._speak(name, [room], seconds, say))

    async def end(self) -> None:
        tasks = [*self._tasks, *self._saying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for person in self.people:
            person.go()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _speak(
        self, name: str, rooms: Sequence[str], seconds: float, say: Callable[[str, str], Awaitable[None]]
    ) -> None:
        for number in count():
            await self._may_speak.wait()
            room = rooms[number % len(rooms)]
            padding = self.padding if number % len(rooms) else ""
            saying = asyncio.ensure_future(say(room, f"{name}-{number:06} {padding}"))
            self._saying.add(saying)
            saying.add_done_callback(self._saying.discard)
            await asyncio.sleep(seconds)

    async def _say(self, person: Person, room: str, text: str, *, is_stubborn: bool) -> None:
        key, sessions = text.partition(" ")[0], person.sessions
        while person.sessions == sessions and not person.has_left:  # else its key would be another one
            await person.is_there.wait()
            self.ledger.says(room, text)
            try:
                async with asyncio.timeout(self.patience):
                    answer = await person.ask("publish", room=room, text=text, key=key)
            except TimeoutError:
                self.ledger.note(f"{person.name} was told nothing of {key} for {self.patience} s")
                return
            except ConnectionError:
                continue
            if answer["type"] == "ack":
                self.ledger.acked(text, answer["offset"])
                return
            self.refused += 1
            if answer["code"] not in _UNJOINED:
                self.ledger.note(f"{person.name} was told {answer} of {key}")
            if not is_stubborn:
                return
            await asyncio.sleep(answer.get("retry_after_ms", 1000) / 1000)


async def _listen(chat: ChatClient, holding: Holding) -> None:
    async for event in chat:
        if isinstance(event, (Message, Gap, Joined)):
            holding.hear(msgspec.to_builtins(event))


def named(people: Iterable[Person]) -> dict[str, str]:
    """The names by client id."""
    return {person.client: person.name for person in people}
