"""Every upgraded socket of this server, and what they share: the hub, the timer, the backlog, the reader's inlet."""

import asyncio
import socket
from contextlib import suppress

import structlog

from aiochat.config import Config
from aiochat.config import Socket as SocketSettings
from aiochat.connection import Connection
from aiochat.hub import Hub
from aiochat.keepalive import Keepalive
from aiochat.limits import Addresses
from aiochat.memory import give_back
from aiochat.outbox import Backlog
from aiochat.takeover import Inlet

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Connections:
    """One for a chat. Counts what is open, and ends all of it at once."""

    def __init__(self, config: Config, hub: Hub) -> None:
        self.config = config
        self.hub = hub
        self.bytes_per_second = config.limits.bytes_per_second
        self.loop = asyncio.get_running_loop()
        self.backlog = Backlog(config.queue, self.loop.time)
        self.keepalive = Keepalive(config.keepalive, self._every_second)
        self.addresses = Addresses(config.limits.max_clients_per_address, config.limits.max_addresses)
        self.inlet = Inlet()
        self._open: set[Connection] = set()
        self._has_dropped = False
        self._all_gone: asyncio.Future[None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether everybody has been told to go."""
        return self._all_gone is not None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection, transport: asyncio.Transport) -> None:
        """A socket was taken over."""
        _set_socket_options(transport, self.config.socket)
        self._open.add(connection)
        self.keepalive.add(connection)

    def discard(self, connection: Connection) -> None:
        """A socket is gone."""
        self._open.discard(connection)
        self.addresses.release(connection.address)
        if self.config.logging.connections:
            self._log_closed(connection)
        if self._all_gone is not None and not self._open and not self._all_gone.done():
            self._all_gone.set_result(None)

    async def close_all(self, code: int, reason: str, within_seconds: float) -> None:
        """Tell every client to go, and drop who is still there after `within_seconds`."""
        self._all_gone = self.loop.create_future()
        for connection in list(self._open):
            connection.outbox.close(code, reason)
        if self._open:
            await asyncio.wait([self._all_gone], timeout=within_seconds)
        for connection in list(self._open):
            connection.abort()

    def log_dropped(self, connection: Connection) -> None:
        """A client was too slow: what it had not taken, and how long it took nothing."""
        self._has_dropped = True
        _log.warning(
            "client_dropped",
            client=connection.client.id,
            reason=connection.close_reason,
            queued_messages=connection.outbox.queued_messages,
            queued_bytes=connection.outbox.queued_bytes,
            stalled_seconds=round(self.backlog.stalled_seconds(connection.outbox), 3),
        )

    def _log_closed(self, connection: Connection) -> None:
        _log.info(
            "connection_closed",
            client=connection.client.id,
            code=int(connection.close_code),
            reason=connection.close_reason,
            seconds=round(self.loop.time() - connection.opened, 3),
            messages_in=connection.client.messages_in,
            messages_out=connection.outbox.messages_out,
            bytes_in=connection.bytes_in,
            bytes_out=connection.outbox.bytes_out,
        )

    def _every_second(self) -> None:
        if self._has_dropped:  # a second ago at most: the hub has let go of them, too
            self._has_dropped = False
            give_back()
        self.backlog.check_stalls()
        self.hub.check()


def _set_socket_options(transport: asyncio.Transport, settings: SocketSettings) -> None:
    """Bound the kernel's and the transport's memory for one client, and how long the kernel keeps a dead link."""
    transport.set_write_buffer_limits(high=settings.write_buffer_bytes)
    connected = transport.get_extra_info("socket")
    if connected is None:
        return
    with suppress(OSError):  # macOS: the peer has reset the connection meanwhile
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)
        if settings.user_timeout_seconds and hasattr(socket, "TCP_USER_TIMEOUT") and connected.family != socket.AF_UNIX:
            milliseconds = int(settings.user_timeout_seconds * 1000)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
