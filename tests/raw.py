"""A WebSocket client on a bare socket: it can stop reading for good, reset, and send what no library would."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, Self

import pytest

from aiochat.limits.budgets import raise_descriptor_limit
from tests.servers import Server

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

KIB: Final = 1 << 10
MIB: Final = 1 << 20
TINY: Final = 2 * KIB  # a receive buffer that a few lines of chat fill

# Rates are per client, and one client here sends as much as thousands would.
UNLIMITED: Final[dict[str, Any]] = {"limits.messages_per_second": 0, "limits.bytes_per_second": 0}

_LOCALHOST: Final = "127.0.0.1"
_MASK: Final = bytes(4)  # of zeros: a mask all the same, and it costs nothing
_HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)

needs_proc: Final = pytest.mark.skipif(sys.platform != "linux", reason="looks at the server through Linux's /proc")


class Frame(NamedTuple):
    """One frame from the server, which never fragments."""

    opcode: int
    payload: bytes


def masked(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """One frame as a client sends it."""
    first, size = opcode | (0x80 if fin else 0), len(payload)
    if size < 126:
        header = struct.pack("!BB", first, 0x80 | size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, size)
    return header + _MASK + payload


def handshake(path: str = "/ws", subprotocol: str | None = None) -> bytes:
    """A request to upgrade."""
    more = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return _HANDSHAKE.format(path=path, more=more).encode()


class Raw:
    """One connection. Nothing is read from its socket unless a method here is waiting for it."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._loop = asyncio.get_running_loop()
        self._unread = bytearray()
        self._unsent = b""

    @classmethod
    async def dial(cls, server: Server, *, receive_buffer: int | None = None, source: str = _LOCALHOST) -> Self:
        """A TCP connection and no more, from the address `source`."""
        dialling = socket.socket()
        try:
            dialling.setblocking(False)
            if receive_buffer is not None:
                dialling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source != _LOCALHOST:
                dialling.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(dialling, (_LOCALHOST, server.port))
        except BaseException:
            dialling.close()
            raise
        return cls(dialling)

    @classmethod
    async def join(
        cls,
        server: Server,
        path: str = "/ws",
        subprotocol: str | None = None,
        *,
        receive_buffer: int | None = None,
        source: str = _LOCALHOST,
    ) -> Self:
        """An upgraded connection; without a subprotocol, a text client."""
        client = await cls.dial(server, receive_buffer=receive_buffer, source=source)
        try:
            status = await client.upgrade(path, subprotocol)
            assert status == 101, f"got {status} instead of an upgrade"
        except BaseException:
            client.close()
            raise
        return client

    async def upgrade(self, path: str = "/ws", subprotocol: str | None = None) -> int:
        """Ask for an upgrade; the status of the answer."""
        await self.send(handshake(path, subprotocol))
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            await self._receive()
        status = int(self._unread.split(b" ", 2)[1])
        del self._unread[: end + 4]
        return status

    async def send(self, data: bytes) -> None:
        """Waits while the server does not read."""
        await self._loop.sock_sendall(self.socket, data)

    async def send_until_gone(self, data: bytes) -> None:
        """Send `data` over and over until the server has closed the connection."""
        with suppress(ConnectionError):
            while True:
                await self.send(data)
                await asyncio.sleep(0)  # a server that keeps up would never make us wait

    def push(self, data: bytes, times: int = 1 << 30) -> bool:
        """Send `data` so often to a stopped server, or until its socket is full; False once that has closed it."""
        try:
            for _ in range(times):
                self._unsent = self._unsent or data
                while self._unsent:
                    self._unsent = self._unsent[self.socket.send(self._unsent) :]
            return True
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    async def say(self, *lines: str) -> None:
        """A message for each line, all in one write."""
        await self.send(b"".join([masked(line.encode()) for line in lines]))

    async def frame(self) -> Frame:
        """The next frame. Raises `ConnectionError` at the end of the connection."""
        while (frame := self._parse()) is None:
            await self._receive()
        return frame

    async def hear(self) -> str:
        """The next line; pings are passed over."""
        while (received := await self.frame()).opcode in {PING, PONG}:
            pass
        assert received.opcode == TEXT, received
        return received.payload.decode()

    async def hear_all(self, lines: Sequence[str]) -> None:
        """Exactly these lines come next, in this order."""
        for line in lines:
            assert await self.hear() == line

    async def closed(self) -> int:
        """Skip what still comes; the code of the Close."""
        while (received := await self.frame()).opcode != CLOSE:
            pass
        return int.from_bytes(received.payload[:2], "big")

    async def ended(self) -> None:
        """Read and forget until the server has ended the connection."""
        with suppress(ConnectionError):
            while True:
                self._unread.clear()
                await self._receive()

    def close(self) -> None:
        """Hang up without a Close."""
        self.socket.close()

    def reset(self) -> None:
        """End with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def _receive(self) -> None:
        data = await self._loop.sock_recv(self.socket, 64 * KIB)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        self._unread += data

    def _parse(self) -> Frame | None:
        unread, start = self._unread, 2
        if len(unread) < 2:
            return None
        size = unread[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(unread) < start:
                return None
            size = int.from_bytes(unread[2:start], "big")
        end = start + size
        if len(unread) < end:
            return None
        frame = Frame(unread[0] & 0xF, bytes(unread[start:end]))
        del unread[:end]
        return frame


@asynccontextmanager
async def joined(server: Server, paths: Sequence[str], **options: Any) -> AsyncIterator[list[Raw]]:
    """A client for each path, in this order; all hang up at the end of the block."""
    clients: list[Raw] = []
    try:
        for path in paths:
            clients.append(await Raw.join(server, path, **options))  # noqa: PERF401 -- those that came are closed
        yield clients
    finally:
        for client in clients:
            client.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what the server does without a word; the test's time-out is the end of it."""
    while not holds():  # noqa: ASYNC110 -- no event tells of it
        await asyncio.sleep(0.02)


def need_descriptors(count: int) -> None:
    """Skip where this process may not open so many sockets."""
    if raise_descriptor_limit() < count:
        pytest.skip(f"needs {count} descriptors in one process: raise the hard limit (ulimit -Hn)")
