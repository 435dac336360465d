"""Every upgraded socket of this server, and what they share: the hub, the timer, the backlog, the reader's inlet."""

import asyncio
import socket
from collections.abc import Collection
from contextlib import suppress
from copy import copy
from typing import Final

import structlog

from aiochat.codecs import CODECS
from aiochat.config import Config
from aiochat.config import Socket as SocketSettings
from aiochat.connection import Connection
from aiochat.errors import Close
from aiochat.hub import Hub
from aiochat.keepalive import Keepalive
from aiochat.memory import give_back
from aiochat.monitoring.counts import Counts
from aiochat.monitoring.lag import Lag
from aiochat.outbox import Backlog
from aiochat.takeover import Inlet

_CLOSED_AT_ONCE: Final = 100  # in a drain; then others have their turn

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Traffic:
    """What connections have carried: whole messages, and bytes with their frames."""

    def __init__(self) -> None:
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0

    def add(self, connections: Collection[Connection]) -> None:
        """And what these have; of 20,000 it takes a few milliseconds."""
        outboxes = [connection.outbox for connection in connections]
        self.messages_in += sum([connection.client.messages_in for connection in connections])
        self.messages_out += sum([outbox.messages_out for outbox in outboxes])
        self.bytes_in += sum([connection.bytes_in for connection in connections])
        self.bytes_out += sum([outbox.bytes_out for outbox in outboxes])


class Connections:
    """One for a chat. Counts what is open, and ends all of it at once."""

    def __init__(self, config: Config, hub: Hub) -> None:
        self.config = config
        self.hub = hub
        self.limits_bytes = hub.guard.shares.limits_bytes
        self.loop = asyncio.get_running_loop()
        self.backlog = Backlog(config.queue, self.loop.time)
        self.lag = Lag(config.logging.lag_seconds)
        self.keepalive = Keepalive(config.keepalive, self._every_second, self.lag)
        self.inlet = Inlet()
        self._open: set[Connection] = set()
        self._past = Traffic()  # of those that are gone
        self.open = Counts(CODECS)
        self.opened = Counts(CODECS)
        self.closed = Counts(map(int, Close))
        self._has_dropped = False
        self._all_gone: asyncio.Future[None] | None = None
        self.aborted = 0  # connections that did not end by themselves

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
        self.open.add(connection.client.codec.subprotocol)
        self.opened.add(connection.client.codec.subprotocol)
        self.keepalive.add(connection)

    def discard(self, connection: Connection) -> None:
        """A socket is gone."""
        self._open.discard(connection)
        self.open.add(connection.client.codec.subprotocol, -1)
        self.closed.add(str(int(connection.close_code)))
        self._past.add((connection,))
        self.hub.guard.shares.release(connection.client.user, connection.client.address)
        if self.config.logging.connections:
            self._log_closed(connection)
        if self._all_gone is not None and not self._open and not self._all_gone.done():
            self._all_gone.set_result(None)

    def traffic(self) -> "Traffic":
        """All there was until now; it looks at every connection, so that none has to tell what it carries."""
        traffic = copy(self._past)
        traffic.add(self._open)
        return traffic

    async def close_all(self, code: int, reason: str, within_seconds: float) -> tuple[int, int]:
        """Tell every client to go, and drop who is still there after `within_seconds`.

        Returns how many there were, and how many of them were dropped, then or after the grace of their Close.
        """
        deadline = self.loop.time() + within_seconds
        self._all_gone = self.loop.create_future()
        connections, aborted = list(self._open), self.aborted
        for start in range(0, len(connections), _CLOSED_AT_ONCE):
            for connection in connections[start : start + _CLOSED_AT_ONCE]:
                connection.outbox.close(code, reason)
            await asyncio.sleep(0)
        if self._open:
            await asyncio.wait([self._all_gone], timeout=max(0.0, deadline - self.loop.time()))
        for connection in list(self._open):
            connection.abort()
        return len(connections), self.aborted - aborted

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
            seconds=round(self.loop.time() - connection.client.opened, 3),
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
