"""The take-over of an upgraded socket from aiohttp. The only module that touches what aiohttp keeps private.

aiohttp answers the upgrade, then a `Connection` becomes the transport's protocol and aiohttp lets go of everything it
held, which leaves no task and no timer per connection. `check_contract` says whether this aiohttp still has the parts
that needs; tests/test_takeover.py tries them out.
"""

import inspect
from typing import TYPE_CHECKING, Final, cast

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader
from aiohttp.web_protocol import RequestHandler

from aiochat.auth.identity import ANYBODY
from aiochat.codecs import Codec
from aiochat.connection import Connection
from aiochat.errors import Close, StartError
from aiochat.http.admission import Admitted, Refusal

if TYPE_CHECKING:
    from aiochat.connections import Connections

# Looked up once: in Python 3.11 a member of an Enum is a property.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_PING: Final = WSMsgType.PING
_CLOSE: Final = WSMsgType.CLOSE


def check_contract() -> None:
    """Raise `StartError` where this aiohttp lacks a part that the take-over needs."""
    needed = (
        (web.WebSocketResponse, "_post_start", ["self", "request", "protocol", "writer"]),
        (RequestHandler, "set_parser", ["self", "parser", "data_received_cb"]),
        (RequestHandler, "connection_lost", ["self", "exc"]),
        (RequestHandler, "keep_alive", ["self", "val"]),
    )
    for owner, name, parameters in needed:
        if list(inspect.signature(vars(owner).get(name, len)).parameters) != parameters:
            raise StartError(
                f"aiohttp {aiohttp.__version__} does not fit: {owner.__name__}.{name} has changed;"
                " known to work are aiohttp>=3.14.3,<3.15"
            )


class Upgrade(web.WebSocketResponse):
    """The 101 answer. Returning it from a handler closes nothing: by then the socket is a `Connection`'s.

    Until the take-over it stands in for aiohttp's parser and keeps what the client sent along with its handshake: at
    most what aiohttp reads ahead, 64 KiB and one read of the transport.
    """

    def __init__(self, subprotocols: tuple[str, ...]) -> None:
        super().__init__(protocols=subprotocols, compress=False)
        self._early = b""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: object) -> None:
        request.protocol.set_parser(cast(WebSocketReader, self))
        request.protocol.keep_alive(False)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._early += data
        return False, b""

    def feed_eof(self) -> None:
        """aiohttp lets go of its parser."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: as far as aiohttp knows the response never ends."""

    def take_over(
        self,
        request: web.Request,
        shared: "Connections",
        codec: Codec,
        entry: Admitted | Refusal,
    ) -> Connection | None:
        """Make the socket a client's, that comes in or is told why not; None if the peer is gone."""
        http, transport = request.protocol, request.transport
        if transport is None or transport.is_closing():
            return None
        identity = ANYBODY if isinstance(entry, Refusal) else entry.identity
        connection = Connection(shared, transport, request.remote or "", codec, identity)
        transport.set_protocol(connection)
        http.transport = None  # with it set, connection_lost would close the socket
        http.connection_lost(None)
        shared.add(connection, transport)
        if isinstance(entry, Refusal):
            connection.outbox.close(entry.close or Close.BAD_REQUEST, f"{entry.code}: {entry.reason}")
        else:
            connection.client.name = entry.name
            shared.hub.attach(connection.client, entry.room)
        if shared.is_closing:
            connection.outbox.close(Close.RESTART, "the server restarts")
        if self._early:
            connection.data_received(self._early)
        return connection


class Inlet(WebSocketDataQueue):
    """Where every reader of this server delivers: the reader in use is always that of `connection`."""

    connection: Connection

    def __init__(self) -> None:  # the queue of the superclass, and its 760 bytes, is not needed
        pass

    def feed_data(self, message: aiohttp.WSMessage, size: int) -> None:  # type: ignore[override]
        kind, payload, _ = message
        connection = self.connection
        if kind is _TEXT or kind is _BINARY:
            if not connection.outbox.is_sealed:
                connection.message_received(payload, size, kind is _BINARY)
        elif kind is _PING:
            connection.controls_in += 1
            connection.ping_received(bytes(payload))
        elif kind is _CLOSE:
            connection.close_received(payload)
        else:
            connection.controls_in += 1

    def set_exception(self, exc: BaseException, exc_cause: object = None) -> None:
        self.connection.reading_failed(exc)
