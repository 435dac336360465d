"""One WebSocket connection: payloads out, events in, and the reason for its end."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

from aiochat.codecs.json import JsonCodec
from aiochat.codecs.msgpack import MsgpackCodec
from aiochat.errors import Close
from aiochat.messages import Command, Event, Goodbye, Welcome
from aiochat.sdk.backoff import Lost

URL_SHAPE: Final = "ws://HOST:PORT/ws"
OPEN_SECONDS: Final = 15.0  # for a connection to stand, and for the server's first word
_CLOSE_SECONDS: Final = 2.0
_PINGS_MISSED: Final = 2
_REFUSING: Final = {400, 401, 403, 429}  # what a chat says, as it does 500 and more; the others come from elsewhere
_MAX_BYTES: Final = 64 << 20  # of one WebSocket message of the server


class ClientCodec(Protocol):
    """A codec's side for clients."""

    @property
    def subprotocol(self) -> str: ...
    def encode_command(self, command: Command) -> bytes: ...
    def decode_events(self, payload: bytes) -> list[Event]: ...


CODECS: Final[dict[str, ClientCodec]] = {"json": JsonCodec(), "msgpack": MsgpackCodec()}
_TYPES: Final = {"json": WSMsgType.TEXT, "msgpack": WSMsgType.BINARY}


class Link:
    """A server that says nothing for two of its ping intervals, not even a ping, counts as gone."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[Any]", codec: str) -> None:
        self._silence_seconds = OPEN_SECONDS
        self._socket = socket
        self._codec = CODECS[codec]
        self._type = _TYPES[codec]
        self._goodbye: Goodbye | None = None

    @classmethod
    async def open(cls, session: aiohttp.ClientSession, url: URL, codec: str, token: str | None) -> "Link":
        """Raises `Lost` where there is no chat, or it refuses."""
        subprotocol = CODECS[codec].subprotocol
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                socket = await session.ws_connect(
                    url,
                    protocols=[subprotocol],
                    headers={"Authorization": f"Bearer {token}"} if token else None,
                    max_msg_size=_MAX_BYTES,
                    autoping=False,  # what pings hear, too, is that the server lives
                    decode_text=False,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise _refusal(error) from error
        except TimeoutError as error:
            raise Lost(None, f"no answer within {OPEN_SECONDS:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Lost(None, str(error) or type(error).__name__) from error
        link = cls(socket, codec)
        if socket.protocol != subprotocol:
            await link.close(Close.PROTOCOL_ERROR)
            raise Lost(Close.PROTOCOL_ERROR, f"the server does not speak {subprotocol}")
        return link

    async def send(self, payload: bytes) -> None:
        """Send one command. Where the connection is gone nothing happens: `receive` tells."""
        with suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_frame(payload, self._type)

    async def receive(self) -> tuple[Sequence[Event], int]:
        """What the next WebSocket message holds, and its size in bytes. Raises `Lost` at the end."""
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    message = await self._socket.receive()
                    if message.type is WSMsgType.PING:
                        await self._socket.pong(message.data)
            except TimeoutError:
                self._cut()
                raise Lost(Close.ABNORMAL, f"the server was silent for {self._silence_seconds:g} seconds") from None
            except (ConnectionError, aiohttp.ClientError):
                raise self._lost(Close.ABNORMAL, "the connection was lost") from None
            if message.type is self._type:
                return self._decoded(message.data), len(message.data)
            if message.type not in {WSMsgType.PING, WSMsgType.PONG}:
                self._ended(message)

    def _decoded(self, payload: bytes) -> list[Event]:
        try:
            events = self._codec.decode_events(payload)
        except ValueError as error:
            raise Lost(Close.PROTOCOL_ERROR, "the server said what this client does not understand") from error
        for event in events:
            if isinstance(event, Goodbye):
                self._goodbye = event
            elif isinstance(event, Welcome) and event.ping_interval_ms:
                self._silence_seconds = _PINGS_MISSED * event.ping_interval_ms / 1000
        return events

    def _ended(self, message: Any) -> NoReturn:
        if message.type is WSMsgType.CLOSE:
            raise self._lost(message.data or Close.ABNORMAL, message.extra or "")
        if message.type is WSMsgType.ERROR:
            raise self._lost(getattr(message.data, "code", Close.ABNORMAL), str(message.data))
        if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            raise self._lost(Close.WRONG_TYPE, "the server sent the wrong type of message")
        raise self._lost(Close.ABNORMAL, "the connection was lost")

    def _lost(self, code: int, reason: str) -> Lost:
        goodbye = self._goodbye
        if goodbye is None:
            return Lost(code, reason or "the server closed the connection")
        after = None if goodbye.after_ms is None else goodbye.after_ms / 1000
        return Lost(goodbye.code, goodbye.reason, after_seconds=after, reconnect=goodbye.reconnect)

    async def close(self, code: int = Close.NORMAL) -> None:
        """Say goodbye, wait briefly for the server's, and let go of the connection in any case."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._socket.close(code=code)
        except TimeoutError:
            self._cut()

    def _cut(self) -> None:
        """End a connection whose other end takes nothing: what waits to be written would keep it for ever."""
        kernel_socket = self._socket.get_extra_info("socket")
        if kernel_socket is not None:
            with suppress(OSError):
                kernel_socket.shutdown(socket.SHUT_RDWR)


def _refusal(error: aiohttp.WSServerHandshakeError) -> Lost:
    after = error.headers.get("Retry-After", "") if error.headers is not None else ""
    seconds = float(after) if after.isascii() and after.isdigit() else None
    reason = f"the server refused the connection: HTTP {error.status}"
    if error.status not in _REFUSING and error.status < 500:
        reason = f"there is no WebSocket; a chat's URL is like {URL_SHAPE}"
    return Lost(error.status, reason, after_seconds=seconds)
