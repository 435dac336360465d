"""Connections to Redis, by redis-py and hiredis; to the master that Sentinels name, where it is they who are asked.

The only module that imports them. What goes over a connection and when it is made anew is decided elsewhere.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, cast

import hiredis
from redis.asyncio import connection as of_redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from aiochat.roomlog.urls import Address

__all__ = ["PASSING", "Connect", "Connection", "NoScriptError", "ResponseError", "connector", "pack"]

PASSING: Final = (MasterDownError, ReadOnlyError, TryAgainError)  # what Redis answers on its way to be there again
_CONNECT_SECONDS: Final = 2.0

_pack: Final = cast(Any, hiredis.pack_command)


def pack(command: tuple[str | bytes | int, ...]) -> bytes:
    """A command as it is sent. Raises `TypeError` or `ValueError` for what is none."""
    packed: bytes = _pack(command)
    return packed


class Connection:
    """One, to be connected. Everything but `close` raises what redis-py does, and then it is of no use any more."""

    def __init__(self, made: Any) -> None:
        self._made = made

    async def connect(self) -> None:
        await self._made.connect()

    async def send(self, packed: Iterable[bytes]) -> None:
        await self._made.send_packed_command(b"".join(packed), check_health=False)

    async def reply(self) -> Any:
        """The next one, which may be a `ResponseError`."""
        try:
            return await self._made.read_response()
        except ResponseError as error:
            return error

    async def close(self) -> None:
        with suppress(OSError, RedisError):
            await self._made.disconnect(nowait=True)


class _OfMaster(Connection):
    """To the one that Sentinels name when it is connected."""

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        self._sentinel = cast(Any, Sentinel)(address.hosts, socket_timeout=_CONNECT_SECONDS, protocol=2)
        # Whoever is connected looks the master up in the pool, and does not keep it alive.
        self._pool = cast(Any, SentinelConnectionPool)(address.master, self._sentinel, ssl=address.is_tls, **options)
        super().__init__(self._pool.make_connection())

    async def connect(self) -> None:
        try:
            await super().connect()
        finally:
            for client in self._sentinel.sentinels:
                with suppress(OSError, RedisError):
                    await client.aclose()


Connect = Callable[[], Connection]


def connector(address: Address) -> Connect:
    """What makes one more connection. Nothing is tried twice, and nothing takes its time, but by our doing."""
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
    }
    if address.path is not None:
        return lambda: Connection(of_redis.UnixDomainSocketConnection(path=cast(str, address.path), **options))
    options |= {"socket_connect_timeout": _CONNECT_SECONDS, "socket_keepalive": True}
    if address.master is not None:
        return lambda: _OfMaster(address, options)
    host, port = address.hosts[0]
    kind = of_redis.SSLConnection if address.is_tls else of_redis.Connection
    return lambda: Connection(kind(host=host, port=port, **options))
