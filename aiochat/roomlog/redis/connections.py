"""Connections to Redis, in the words of redis-py; to the master that Sentinels name, where it is they who are asked."""

from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from aiochat.roomlog.redis.urls import Address

__all__ = [
    "PASSING",
    "REFUSED",
    "AbstractConnection",
    "Connect",
    "NoScriptError",
    "RedisError",
    "ResponseError",
    "connector",
]

PASSING: Final = (MasterDownError, ReadOnlyError, TryAgainError)  # what Redis answers on its way to be there again
REFUSED: Final = (AuthenticationError, NoPermissionError)  # what will not be otherwise when tried again
_CONNECT_SECONDS: Final = 2.0

Connect = Callable[[], AbstractConnection]


def connector(address: Address) -> Connect:
    """What makes one more connection, to be connected; nothing of it is tried twice but by us."""
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
    }
    if address.path is not None:
        path = address.path
        return lambda: UnixDomainSocketConnection(path=path, **options)
    options |= {"socket_connect_timeout": _CONNECT_SECONDS, "socket_keepalive": True}
    if address.master is not None:
        sentinel = Sentinel(address.hosts, socket_timeout=_CONNECT_SECONDS, protocol=2)
        pool = SentinelConnectionPool(address.master, sentinel, ssl=address.is_tls, **options)
        return lambda: pool.make_connection()
    host, port = address.hosts[0]
    kind = SSLConnection if address.is_tls else Connection
    return lambda: kind(host=host, port=port, **options)
