"""How clients connect: the URL of their room, a socket to the address that answered, picows' handshake."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from picows import WSError, ws_connect
from picows.url import WSParsedURL

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.clients import ENTRANCE_BYTES, Client, SlowClient, entrance
from aiochat.loadtest.meter.dialects import SUBPROTOCOL
from aiochat.loadtest.meter.receivers import LARGEST_FRAME_BYTES
from aiochat.loadtest.target import Target, trusting

AT_ONCE: Final = 32
CONNECT_SECONDS: Final = 30
CLIENTS_PER_ADDRESS: Final = 20_000  # of some 28,000 ports that a source address has
SLOW_BUFFER_BYTES: Final = 4096
FAILURES: Final = (OSError, TimeoutError, WSError)
_HEADERS: Final[Mapping[str, Mapping[str, str]]] = {lines.JSON_CODEC: {"Sec-WebSocket-Protocol": SUBPROTOCOL}}
_SOCKETIO_PATH: Final = "/socket.io/"


class Connector:
    """For the clients of one process; `node_of` says which node's a client is."""

    def __init__(self, codec: str, target: Target, node_of: Callable[[int], int]) -> None:
        self._codec = codec
        self._nodes = target.nodes
        self._node_of = node_of
        self._ssl = trusting()

    async def connect(self, client: Client | SlowClient) -> None:
        """Until the client is in its room; raises one of FAILURES."""

        async def connected(_: WSParsedURL) -> socket.socket:
            return await self._socket(client)

        async with asyncio.timeout(CONNECT_SECONDS):
            if isinstance(client, Client):
                client.arrival = asyncio.get_running_loop().create_future()
            await ws_connect(
                entrance(client),
                self._url(client),
                extra_headers=_HEADERS.get(self._codec),
                ssl_context=self._ssl,
                websocket_handshake_timeout=None,
                enable_auto_pong=False,
                max_frame_size=LARGEST_FRAME_BYTES,
                read_buffer_init_size=ENTRANCE_BYTES,
                socket_factory=connected,
            )
            if isinstance(client, Client) and client.arrival is not None:
                try:
                    await client.arrival
                finally:
                    if not client.is_up and client.transport is not None:
                        client.transport.abort()

    def _target(self, client: Client | SlowClient) -> Target:
        return self._nodes[self._node_of(client.number)]

    def _url(self, client: Client | SlowClient) -> str:
        target = self._target(client)
        if self._codec == lines.SOCKETIO_CODEC:
            query = f"EIO=4&transport=websocket&room={quote(client.room)}"
            return urlsplit(target.url)._replace(path=_SOCKETIO_PATH, query=query).geturl()
        if isinstance(client, Client) and client.is_resuming:
            return target.url
        url = urlsplit(target.room_url(client.room))
        named = [f"name={client.name}"] if client.name else []
        return url._replace(query="&".join([*([url.query] if url.query else []), *named])).geturl()

    async def _socket(self, client: Client | SlowClient) -> socket.socket:
        target = self._target(client)
        sock = socket.socket(socket.AddressFamily(target.family), socket.SOCK_STREAM)
        address = client.number // CLIENTS_PER_ADDRESS
        try:
            sock.setblocking(False)
            if isinstance(client, SlowClient):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
            if address and target.address[0] == "127.0.0.1" and sys.platform == "linux":
                sock.bind((f"127.0.0.{1 + address}", 0))
            await asyncio.get_running_loop().sock_connect(sock, target.address)
        except BaseException:
            sock.close()
            raise
        return sock


async def connect_all(
    connector: Connector, clients: Iterable[Client | SlowClient], tell: Callable[[int], None]
) -> list[str]:
    """What went wrong; it stops soon after the first failure. `tell` hears how many are there."""
    failures: list[str] = []
    waiting = iter(clients)
    await asyncio.gather(*(_connect_each(connector, waiting, failures, tell) for _ in range(AT_ONCE)))
    return failures


async def _connect_each(
    connector: Connector, waiting: Iterator[Client | SlowClient], failures: list[str], tell: Callable[[int], None]
) -> None:
    for client in waiting:
        try:
            await connector.connect(client)
        except FAILURES as error:
            failures.append(str(error) or type(error).__name__)
        else:
            tell(1)
        if failures:
            return
