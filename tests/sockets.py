"""A WebSocket client over streams: it says what no library would, plain or over TLS, and hears every frame."""

import asyncio
import json
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from tests.raw import CLOSE, KIB, Raw, masked
from tests.servers import Server

BINARY: Final = 0x2
KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.2

Headers = Mapping[str, str | None]


class Answer(NamedTuple):
    """What the server says to a request, to the end of the connection; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A client's Close."""
    return masked(struct.pack("!H", code) + reason, CLOSE)


def handshake(path: str = "/ws", headers: Headers | None = None, *, method: str = "GET") -> bytes:
    """A request to upgrade; `headers` go over the usual ones, and None leaves one out."""
    fields = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **(headers or {}),
    }
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


class Wire(Raw):
    """One upgraded socket; `headers` are those of the 101, in lower case."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        super().__init__(writer.get_extra_info("socket"))
        self.headers = headers
        self._reader = reader
        self._writer = writer

    async def send(self, *frames: bytes) -> None:
        """All of it in one write."""
        self._writer.write(b"".join(frames))
        await self._writer.drain()

    async def next_of(self, opcode: int) -> bytes:
        """The payload of the next frame of this kind; what comes before it is skipped."""
        while (received := await self.frame()).opcode != opcode:
            pass
        return received.payload

    def reset(self) -> None:
        """Hang up at once, whatever was not sent yet."""
        self._writer.transport.abort()

    async def closed(self) -> int:
        """Skip what still comes; the code of the Close, after which there is nothing more."""
        code = await super().closed()
        self._writer.close()
        with suppress(ConnectionError):
            await self._receive()
        assert not self._unread, "something came after the Close"
        return code

    async def _receive(self) -> None:
        data = await self._reader.read(64 * KIB)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        self._unread += data


@asynccontextmanager
async def wired(
    server: Server,
    path: str = "/ws",
    headers: Headers | None = None,
    *,
    early: bytes = b"",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Wire]:
    """An upgraded socket; `early` was sent in one write with the request."""
    async with connected(server, tls) as (reader, writer):
        writer.write(handshake(path, headers) + early)
        status, answered = await _head(reader)
        assert status == 101, status
        yield Wire(reader, writer, answered)


@asynccontextmanager
async def connected(
    server: Server, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which nothing was said yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def asked(server: Server, request: bytes) -> Answer:
    """Send a request that is no upgrade, or refused; the answer, and all that comes until the connection ends."""
    async with connected(server) as (reader, writer):
        writer.write(request)
        status, headers = await _head(reader)
        assert status != 101
        return Answer(status, headers, await reader.read())


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    fields = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields}
