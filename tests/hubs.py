"""A hub without a server: its clients write to fake sockets, and turns are taken by hand."""

import asyncio
from collections.abc import Callable, Sized
from typing import Any, Final, Union

import msgspec

from aiochat import messages as m
from aiochat.auth.identity import Identity
from aiochat.client import Client
from aiochat.codecs import DEFAULT_CODEC, Codec
from aiochat.config import load
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, Reply, StoreError
from aiochat.frames import text_frames
from aiochat.hub import Hub
from aiochat.outbox import Backlog, Outbox
from aiochat.roomlog import RoomLog
from aiochat.roomlog.engines import make_log
from tests import fakes, wire

UNLIMITED: Final[dict[str, Any]] = {"messages_per_second": 0}
QUIET: Final[dict[str, dict[str, Any]]] = {
    "store": {"url": "memory:"},
    "presence": {"interval_ms": 0, "grace_seconds": 0},  # nobody is told who came, and who is lost is gone
}
FINAL: Final = (Close.NORMAL, *range(4400, 5000))
_decode_event: Final = msgspec.json.Decoder(Union[(*m.EVENTS, m.HelpText)]).decode


class EventCodec:
    """Events as they are, so that a test can look at them; commands are given as they are, too."""

    subprotocol: Final = "test"

    def __init__(self, *, is_text: bool) -> None:
        self.is_text = is_text

    def decode(self, payload: bytes, is_binary: bool) -> list[m.Command | Reply]:
        raise NotImplementedError

    def encode_entry(self, entry: m.Entry) -> bytes:
        return msgspec.json.encode(entry)

    def encode_event(self, event: m.Event) -> list[bytes]:
        return [msgspec.json.encode(event)]

    def frame(self, payloads: list[bytes]) -> bytes:
        return text_frames(payloads)


ONE_ROOM: Final = EventCodec(is_text=True)
MANY_ROOMS: Final = EventCodec(is_text=False)


class Peer:
    """One client, and what it was sent."""

    def __init__(self, chat: "Chat", id: str, codec: Codec, room: str | None, name: str | None) -> None:
        self._chat = chat
        self.socket = fakes.Socket(high=1 << 40)
        self.outbox = self.socket.outbox = Outbox(self.socket, chat.backlog, self)
        self.client = Client(id, codec, self.outbox, Identity(name=name))
        chat.hub.attach(self.client, room)

    def sealed(self, code: int, reason: str) -> None:
        """As a connection does at its end."""
        self._chat.hub.detach(self.client, is_expected=code not in FINAL)

    def farewell(self, code: int, reason: str) -> bytes:
        """Nothing: what stands in it is the connection's business."""
        return b""

    def say(self, *lines: str) -> None:
        """Lines of a text client, all in one read."""
        for line in lines:
            for command in self.client.codec.decode(line.encode(), is_binary=False):
                self.ask(command, len(line))

    def ask(self, command: m.Command | Reply, size: int = 10) -> None:
        """A command of `size` bytes."""
        self._chat.hub.inbox.submit(self.client, command, size)

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
        """Every event so far but for the greeting, of a client with an `EventCodec`."""
        return [event for event in map(_decode_event, self.heard) if not isinstance(event, m.Welcome | m.Session)]

    @property
    def sessions(self) -> list[str]:
        """Every token to resume with so far."""
        return [event.resume for event in map(_decode_event, self.heard) if isinstance(event, m.Session)]

    @property
    def code(self) -> int | None:
        """Of the Close, if there was one."""
        codes = [frame.code for frame in self.socket.frames if frame.opcode == wire.CLOSE]
        return codes[-1] if codes else None


class Chat:
    """A hub with these settings over the default ones: `Chat(limits={"max_rooms_per_client": 2})`."""

    def __init__(self, log: Callable[[Any], RoomLog] = make_log, **settings: dict[str, Any]) -> None:
        self.config = load(flags={**QUIET, **settings})
        self.log = log(self.config)
        self.backlog = Backlog(self.config.queue, asyncio.get_running_loop().time)
        self.hub = Hub(self.config, self.log, LocalDirectory())
        self._peers = 0

    def connect(self, room: str | None = "lobby", name: str | None = None, codec: Codec = DEFAULT_CODEC) -> Peer:
        """A client that will have joined `room` after the next turn; their ids are c1, c2, c3, ..."""
        self._peers += 1
        return Peer(self, f"c{self._peers}", codec, room, name)

    async def join(self, room: str | None = "lobby", name: str | None = None, codec: Codec = DEFAULT_CODEC) -> Peer:
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
        hub, log, presence = self.hub, self.hub.log, self.hub.presence
        assert isinstance(hub.directory, LocalDirectory)
        left: list[Sized] = [
            *(
                hub.rooms,
                hub.clients,
                hub.behind,
                hub.inbox._senders,
                hub._items,
                hub.inbox._held,
                hub._answering,
                hub.publishing._under_way,
            ),
            *(hub.following._coming, hub.following._followed),
            *(hub.directory._rooms, hub.tails, hub.greeter._renewals, hub.fanout._holes, hub.fanout._deliveries),
            *(hub.access._ends, hub.access._refreshing),
            *(presence._absent, presence._changes, presence._counted, log._reads, log._reads_waiting, log._rooms),
        ]
        counts = (
            *(self.backlog.bytes, len(self.backlog), hub.inbox.bytes, hub.tails._bytes),
            *(log.bytes, log.messages, log.reads_in_flight),
        )
        return not any(len(each) for each in left) and not any(counts)


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

    async def come(self, room: str | None = "lobby", name: str | None = None, **options: Any) -> Peer:
        """A client that has joined `room`."""
        peer = await self.join(room, name, **options)
        await self.answer()
        return peer
