"""A hub without a server: its clients write to fake sockets, and turns are taken by hand."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from aiochat import messages as m
from aiochat.client import Client
from aiochat.codecs import DEFAULT_CODEC, Codec
from aiochat.config import load
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, Reply, StoreError
from aiochat.frames import text_frames
from aiochat.hub import Hub
from aiochat.outbox import Backlog, Outbox
from aiochat.roomlog import RoomLog, open_log
from tests import fakes, wire

UNLIMITED: Final[dict[str, Any]] = {"messages_per_second": 0}
_EVENTS: Final = (
    m.Message | m.Joined | m.Renamed | m.Sent | m.DirectMessage | m.HistoryPage | m.Members | m.RoomList | m.Error
)


class EventCodec:
    """Events as they are, so that a test can look at them; commands are given as they are, too."""

    subprotocol: Final = "test"

    def __init__(self, *, single_room: bool) -> None:
        self.single_room = single_room

    def decode(self, payload: bytes) -> m.Command | None:
        raise NotImplementedError

    def encode_message(self, message: m.Message) -> bytes:
        return msgspec.json.encode(message)

    def encode_event(self, event: m.Event) -> list[bytes]:
        return [msgspec.json.encode(event)]

    def frame(self, payloads: list[bytes]) -> bytes:
        return text_frames(payloads)


ONE_ROOM: Final = EventCodec(single_room=True)
MANY_ROOMS: Final = EventCodec(single_room=False)


class Peer:
    """One client, and what it was sent."""

    def __init__(self, chat: "Chat", id: str, codec: Codec, room: str, name: str | None) -> None:
        self._chat = chat
        self.socket = fakes.Socket(high=1 << 40)
        self.outbox = self.socket.outbox = Outbox(self.socket, chat.backlog, self)
        self.client = Client(id, codec, self.outbox, name)
        chat.hub.attach(self.client, room)

    def sealed(self, code: int, reason: str) -> None:
        """As a connection does at its end."""
        self._chat.hub.detach(self.client)

    def say(self, *lines: str) -> None:
        """Lines of a text client, all in one read."""
        for line in lines:
            command: m.Command | Reply | None
            try:
                command = self.client.codec.decode(line.encode())
            except Reply as reply:
                command = reply
            if command is not None:
                self.ask(command, len(line))

    def ask(self, command: m.Command | Reply, size: int = 10) -> None:
        """A command of `size` bytes."""
        self._chat.hub.submit(self.client, command, size)

    def hang_up(self) -> None:
        """The connection is gone, without a Close."""
        self.outbox.seal(Close.ABNORMAL, "lost")
        self.outbox.lost()

    @property
    def heard(self) -> list[str]:
        """Every line so far."""
        return [frame.payload.decode() for frame in self.socket.frames if frame.opcode == wire.TEXT]

    @property
    def told(self) -> list[m.Event]:
        """Every event so far, of a client with an `EventCodec`."""
        return [msgspec.json.decode(line, type=_EVENTS) for line in self.heard]

    @property
    def code(self) -> int | None:
        """Of the Close, if there was one."""
        codes = [frame.code for frame in self.socket.frames if frame.opcode == wire.CLOSE]
        return codes[-1] if codes else None


class Chat:
    """A hub with these settings over the default ones: `Chat(limits={"max_rooms_per_client": 2})`."""

    def __init__(self, log: Callable[[Any], RoomLog] = open_log, **settings: dict[str, Any]) -> None:
        self.config = load(flags=settings)
        self.log = log(self.config)
        self.backlog = Backlog(self.config.queue, asyncio.get_running_loop().time)
        self.hub = Hub(self.config, self.log, LocalDirectory())
        self._peers = 0

    def connect(self, room: str = "lobby", name: str | None = None, codec: Codec = DEFAULT_CODEC) -> Peer:
        """A client that will have joined `room` after the next turn; their ids are c1, c2, c3, ..."""
        self._peers += 1
        return Peer(self, f"c{self._peers}", codec, room, name)

    async def join(self, room: str = "lobby", name: str | None = None, codec: Codec = DEFAULT_CODEC) -> Peer:
        """A client that has joined `room`."""
        peer = self.connect(room, name, codec)
        await self.hub.turn()
        return peer

    async def turn(self, times: int = 1) -> None:
        """Turns, and what the loop does after each."""
        for _ in range(times):
            await self.hub.turn()
            await asyncio.sleep(0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of anybody."""
        hub, log = self.hub, self.hub.log
        left = [hub.rooms, hub.clients, hub.directory._holders, hub._inbox, hub._items, hub._held, log._reads]
        return not any(left) and (self.backlog.bytes, len(self.backlog), hub._inbox_bytes, log._bytes) == (0, 0, 0, 0)


class SlowChat(Chat):
    """A hub on a log that answers when told to."""

    log: fakes.SlowLog

    def __init__(self, **settings: dict[str, Any]) -> None:
        super().__init__(fakes.SlowLog, **settings)

    async def answer(self, error: StoreError | None = None) -> None:
        """The log answers everything it was asked so far."""
        for _ in range(len(self.log.calls)):
            self.log.answer(error)
        await self.turn()

    async def come(self, room: str = "lobby", name: str | None = None, **options: Any) -> Peer:
        """A client that has joined `room`."""
        peer = await self.join(room, name, **options)
        await self.answer()
        return peer
