"""The floor: take-over, aiohttp's own reader and fan-out, and nothing else: no limits, queues, names, commands or log.

It is not a server to use (a client that never reads grows it without end); it shows what the product's own work costs.
"""

import argparse
import asyncio
import time
from collections import defaultdict
from typing import Any

import msgspec
import uvloop
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketError, WebSocketReader

MAX_MESSAGE_BYTES = 65536
MESSAGES_PER_FRAME = 256
TEXT, CLOSE, PONG = 0x81, 0x88, 0x8A
SHORT_TEXT = [bytes((TEXT, size)) for size in range(126)]


def text_frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return SHORT_TEXT[size] + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def json_frames(messages: list[bytes]) -> bytes:
    """Frames of a size that clients can take in one read."""
    pieces = (messages[start : start + MESSAGES_PER_FRAME] for start in range(0, len(messages), MESSAGES_PER_FRAME))
    return b"".join([text_frame(b"\n".join(piece)) for piece in pieces])


class Publish(msgspec.Struct, tag_field="type", tag="publish"):
    room: str
    text: str


class Joined(msgspec.Struct, tag_field="type", tag="joined"):
    epoch: str
    offset: int


class Sender(msgspec.Struct):
    client: str


class Message(msgspec.Struct, tag_field="type", tag="message"):
    room: str
    offset: int
    ts: int
    sender: Sender
    text: str


decode = msgspec.json.Decoder(Publish).decode
encode = msgspec.json.Encoder().encode


class Room:
    """Who is in it, and the frames of this turn."""

    __slots__ = ("batch", "is_json", "offset", "transports")

    def __init__(self) -> None:
        self.is_json = False
        self.offset = 0
        self.transports: set[asyncio.WriteTransport] = set()
        self.batch: list[bytes] = []


class Hub(WebSocketDataQueue):
    """Where aiohttp's reader wants its queue: one for all readers, told before each feed whose bytes come."""

    def __init__(self) -> None:  # not super's, which would make a deque nobody uses
        self.loop = asyncio.get_running_loop()
        self.rooms: defaultdict[str, Room] = defaultdict(Room)
        self.dirty: list[Room] = []
        self.target: Client

    def feed_data(self, message: Any, size: int) -> None:
        kind, payload, _ = message
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            self.target.publish(payload)
        elif kind is WSMsgType.PING:
            self.target.transport.write(bytes((PONG, size)) + payload)
        elif kind is WSMsgType.CLOSE:
            self.target.close(WSCloseCode.OK)

    def publish(self, room: Room, line: bytes) -> None:
        if not self.dirty:
            self.loop.call_soon(self.turn)
        if not room.batch:
            self.dirty.append(room)
        room.batch.append(line)

    def turn(self) -> None:
        """Everything that arrived since the last turn, as one write per client."""
        for room in self.dirty:
            batch = json_frames(room.batch) if room.is_json else b"".join(room.batch)
            room.batch.clear()
            for transport in room.transports:
                transport.write(batch)
        self.dirty.clear()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        self.target.close(exc.code if isinstance(exc, WebSocketError) else WSCloseCode.INTERNAL_ERROR)


class Client(asyncio.Protocol):
    __slots__ = ("hub", "reader", "room", "transport")

    def __init__(self, hub: Hub, room: Room, transport: asyncio.Transport) -> None:
        self.hub, self.room, self.transport = hub, room, transport
        # Text goes out as the bytes that came; max_msg_size refuses what is equal to it.
        self.reader = WebSocketReader(hub, MAX_MESSAGE_BYTES + 1, compress=False, decode_text=False)
        room.transports.add(transport)

    def publish(self, payload: bytes) -> None:
        self.hub.publish(self.room, text_frame(payload))

    def data_received(self, data: bytes) -> None:
        self.hub.target = self
        self.reader.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.transports.discard(self.transport)

    def close(self, code: int) -> None:
        self.room.transports.discard(self.transport)
        self.transport.write(bytes((CLOSE, 2)) + code.to_bytes(2, "big"))
        self.transport.close()


class JSONClient(Client):
    """Decodes what it is sent, and sends out what it encodes."""

    __slots__ = ()

    def __init__(self, hub: Hub, room: Room, transport: asyncio.Transport) -> None:
        super().__init__(hub, room, transport)
        transport.write(text_frame(encode(Joined("floor", room.offset))))

    def publish(self, payload: bytes) -> None:
        room, said = self.room, decode(payload)
        room.is_json = True
        room.offset += 1
        message = Message(said.room, room.offset, time.time_ns() // 1_000_000, Sender("0123456789"), said.text)
        self.hub.publish(room, encode(message))


class Upgrade(web.WebSocketResponse):
    """The 101 alone: it keeps bytes that come with the handshake, and to return it closes nothing."""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        self.early = bytearray()
        self._ws_protocol = protocol
        request.protocol.set_parser(self)  # type: ignore[arg-type]

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.early += data
        return False, b""

    def feed_eof(self) -> None:
        pass

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def take_over(request: web.BaseRequest, response: Upgrade, hub: Hub) -> None:
    http, transport = request.protocol, request.transport
    if transport is None:
        return
    kind = JSONClient if response.ws_protocol else Client
    client = kind(hub, hub.rooms[request.path], transport)
    transport.set_protocol(client)
    http.transport = None  # or connection_lost would close the socket
    http.connection_lost(None)
    if response.early:
        client.data_received(bytes(response.early))


async def serve(port: int) -> None:
    hub = Hub()

    async def upgrade(request: web.BaseRequest) -> web.StreamResponse:
        response = Upgrade(protocols=("aiochat.v1.json",), compress=False)
        await response.prepare(request)
        take_over(request, response, hub)
        return response

    server = web.Server(upgrade, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, backlog=1024)
    await listener.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvloop.run(serve(options.parse_args().port))
