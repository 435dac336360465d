"""Connections to Redis, by redis-py and hiredis; to the master that Sentinels name, where it is they who are asked.

The only module that imports them. What goes over a connection and when it is made anew is decided elsewhere.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import hiredis
from redis.asyncio import connection as of_redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from aiochat.errors import StartError
from aiochat.roomlog.urls import Address

__all__ = [
    "PASSING",
    "Connect",
    "Connection",
    "NoScriptError",
    "ResponseError",
    "connector",
    "is_lasting",
    "pack",
    "wants_tls",
]

PASSING: Final = (MasterDownError, ReadOnlyError, TryAgainError)  # what Redis answers on its way to be there again
_STATES: Final = (
    "BUSY",
    "CLUSTERDOWN",
    "MISCONF",
    "NOREPLICAS",
)  # refusals that end without anybody's asking otherwise
_CONNECT_SECONDS: Final = 2.0
_DOWN: Final = frozenset((b"s_down", b"o_down"))  # flags of a master

_pack: Final = cast(Any, hiredis.pack_command)


def pack(command: tuple[str | bytes | int, ...]) -> bytes:
    """A command as it is sent. Raises `TypeError` or `ValueError` for what is none."""
    packed: bytes = _pack(command)
    return packed


def is_lasting(error: ResponseError) -> bool:
    """Whether Redis refused what it was asked itself, and not anything at the time."""
    return not isinstance(error, OutOfMemoryError) and not str(error).startswith(_STATES)


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
        if self._made is not None:
            with suppress(OSError, RedisError):
                await self._made.disconnect(nowait=True)


class _OfMaster(Connection):
    """To the one that Sentinels name when it is connected: asked all at once, the first that knows it is believed."""

    def __init__(self, address: Address, sentinel: Callable[[str, int], Connection], redis: Callable[..., Any]) -> None:
        super().__init__(None)
        self._address = address
        self._sentinel = sentinel
        self._redis = redis

    async def connect(self) -> None:
        self._made = self._redis(*await self._find())
        await super().connect()

    async def _find(self) -> tuple[str, int]:
        asked = [asyncio.create_task(self._ask(*host)) for host in self._address.hosts]
        said: list[str] = []
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (OSError, RedisError) as error:
                    said.append(str(error))
        finally:
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
        raise ConnectionError("; ".join(said))

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        sentinel, master = self._sentinel(host, port), cast(str, self._address.master)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await sentinel.connect()
                await sentinel.send([pack(("SENTINEL", "MASTER", master))])
                said = await sentinel.reply()
        except (OSError, RedisError) as error:
            raise ConnectionError(f"Sentinel at {host}:{port}: {str(error) or 'no answer in time'}") from None
        finally:
            await sentinel.close()
        if isinstance(said, ResponseError):
            raise ConnectionError(f"Sentinel at {host}:{port}: {said}")
        state = dict(zip(said[::2], said[1::2], strict=True))
        if not _DOWN.isdisjoint(state[b"flags"].split(b",")):
            raise ConnectionError(f"Sentinel at {host}:{port}: {master} is down")
        return state[b"ip"].decode(), int(state[b"port"])


Connect = Callable[[], Connection]


def connector(address: Address) -> Connect:
    """What makes one more connection. Nothing is tried twice, and nothing takes its time, but by our doing.

    Raises `StartError` for files of TLS that cannot be used.
    """
    options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": None}
    redis = {**options, "db": address.database, "username": address.username, "password": address.password}
    if address.path is not None:
        return lambda: Connection(of_redis.UnixDomainSocketConnection(path=cast(str, address.path), **redis))
    context = _context(address.tls_files) if address.is_tls else None
    if address.master is None:
        return lambda: Connection(_made(*address.hosts[0], context, redis))
    sentinel = {**options, "username": address.sentinel_username, "password": address.sentinel_password}
    return lambda: _OfMaster(
        address,
        lambda host, port: Connection(_made(host, port, context, sentinel)),
        lambda host, port: _made(host, port, context, redis),
    )


def _made(host: str, port: int, context: ssl.SSLContext | None, options: dict[str, Any]) -> of_redis.Connection:
    options = {"host": host, "port": port, **options}
    options |= {"socket_connect_timeout": _CONNECT_SECONDS, "socket_keepalive": True}
    if context is None:
        return of_redis.Connection(**options)
    made = of_redis.SSLConnection(**options)
    made.ssl_context.context = context  # else it makes one of its own each time, which takes 50 ms
    return made


def _context(files: Mapping[str, str]) -> ssl.SSLContext:
    """Of the authorities in `ssl_ca_certs` alone, where that is given, else of the system's."""
    try:
        for file in files.values():
            Path(file).read_bytes()  # else nobody says which of them is missing
        file = files.get("ssl_ca_certs", "")
        context = ssl.create_default_context(cafile=file or None)
        file = files.get("ssl_certfile", "")
        if file:
            context.load_cert_chain(file, files.get("ssl_keyfile"), password="")  # nobody is asked for one
    except OSError as error:
        raise StartError(f"store.url: {file} cannot be used: {error.strerror or error}") from None
    return context


async def wants_tls(address: Address) -> bool:
    """Whether it is TLS that is spoken where it was not named. No more than that is said over the connection."""
    if address.is_tls or address.path is not None or address.master is not None:
        return False
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(*address.hosts[0], ssl=context)
    except OSError:
        return False
    writer.transport.abort()
    return True
