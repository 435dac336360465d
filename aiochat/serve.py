"""`aiochat serve`: one process, one event loop, the chat in an aiohttp application of its own."""

import asyncio
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
from aiohttp import web

from aiochat.announcement import announce
from aiochat.app import Chat, setup
from aiochat.config import Config
from aiochat.errors import Ended, StartError
from aiochat.http.handshakes import Handshakes
from aiochat.http.proxies import Proxies
from aiochat.http.request_ids import identify
from aiochat.limits.budgets import raise_descriptor_limit
from aiochat.monitoring import logs
from aiochat.monitoring.supervision import still_open
from aiochat.monitoring.systemd import Systemd

_BACKLOG = 1024
_LEAST_HTTP = 64  # connections to a port that are no WebSocket, out of limits.RESERVED_DESCRIPTORS
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Starter(Protocol):
    """Who has started this process, and is told how it fares."""

    @property
    def listening(self) -> Sequence[Sequence[socket.socket]]:
        """The sockets of each port, if they are open already."""

    def begin(self, on_gone: Callable[[str], None]) -> None:
        """The loop runs; `on_gone` is for who must not be outlived."""

    def ready(self, port: int) -> None:
        """It listens there."""

    async def feed(self, in_turn: Callable[[Callable[[], object]], None], clients: Callable[[], int]) -> None:
        """Hears that the hub turns, until cancelled."""

    def stopping(self, clients: int) -> None: ...


def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. Raises `StartError` where the server cannot start, `Ended` if it cannot go on."""
    logs.set_up(config.logging)
    run(config, _Alone(config))


def run(config: Config, starter: Starter) -> None:
    """The same, for whoever has started it."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, starter))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # where it cannot be installed, asyncio's own loop serves, at twice the cost
        return None
    return uvloop.Loop


async def _serve(config: Config, starter: Starter) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()  # why it stops
    starter.begin(partial(_stop, stop))
    for number in _SIGNALS:
        loop.add_signal_handler(number, _stop, stop, number.name)
    app = web.Application()
    app.on_response_prepare.append(identify)
    if config.server.trusted_proxies:
        app.middlewares.append(Proxies(config.server.trusted_proxies).middleware)
    descriptors = raise_descriptor_limit()
    max_clients = min(descriptors, config.limits.max_clients)
    internal = web.Application() if config.server.internal_port else None
    chat = setup(app, config, max_clients=max_clients, internal=internal)
    chat.metrics.add_process()

    def most_http() -> int:
        """What clients leave free."""
        return min(config.limits.max_http_connections, max(_LEAST_HTTP, descriptors - chat.clients))

    opened = [*starter.listening, (), ()]
    listeners = [_Listener(app, config, opened[0] or config.server.port, most_http)]
    if internal is not None:
        internal.on_response_prepare.append(identify)
        listeners.append(_Listener(internal, config, opened[1] or config.server.internal_port, most_http))
    await _open(listeners)
    sockets = [socket for listener in listeners for socket in listener.sockets]
    chat.supervision.watch(asyncio.create_task(still_open(sockets), name="the listener"))
    if max_clients < config.limits.max_clients:
        _log.info("max_clients_fitted", max_clients=max_clients, configured=config.limits.max_clients)
    gc.freeze()  # what is there now stays, and need not be looked through again
    assert chat.ended is not None
    chat.ended.add_done_callback(lambda ended: _stop(stop, "ended"))
    starter.ready(sockets[0].getsockname()[1])
    feeding = asyncio.create_task(starter.feed(chat.in_turn, lambda: chat.clients))
    cause = await stop
    await _leave(config, chat, starter, cause)
    began = loop.time()
    chat.supervision.stand_down()
    for listener in listeners:  # health and metrics can be asked for to the end
        await listener.close()
    feeding.cancel()
    clients, dropped = chat.drained
    _log.info("stopped", clients=clients, dropped=dropped, seconds=round(loop.time() - began, 3))
    if chat.ended.done():
        raise Ended(chat.ended.result())


class _Alone:
    """A terminal, a container or systemd: it is told so itself."""

    listening = ()

    def __init__(self, config: Config) -> None:
        self._config = config
        self._systemd = Systemd()

    def begin(self, on_gone: Callable[[str], None]) -> None:
        """It may be outlived."""

    def ready(self, port: int) -> None:
        announce(self._config, port)
        self._systemd.tell("READY=1")

    async def feed(self, in_turn: Callable[[Callable[[], object]], None], clients: Callable[[], int]) -> None:
        await self._systemd.feed(in_turn, lambda: f"{clients()} clients")

    def stopping(self, clients: int) -> None:
        self._systemd.tell("STOPPING=1", f"STATUS=stopping, {clients} clients")


class _Listener:
    """One application on one port, or on the sockets that are open for it, with the certificate that all have."""

    def __init__(
        self, app: web.Application, config: Config, where: int | Sequence[socket.socket], most_http: Callable[[], int]
    ) -> None:
        self._config = config
        self._where = where
        self._servers: list[asyncio.Server] = []
        options = {
            "access_log": None,
            "keepalive_timeout": config.limits.handshake_seconds,  # also cuts off a request sent byte by byte
            "lingering_time": 0,
        }
        self._handshakes = Handshakes(most_http, options)
        app.middlewares.append(self._handshakes.middleware)
        # For requests in flight. aiohttp waits twice as long, the drain takes half, and there may be two listeners.
        self._runner = web.AppRunner(app, shutdown_timeout=config.server.drain_seconds / 8)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return tuple(socket for server in self._servers for socket in server.sockets)

    async def open(self) -> None:
        """Raises `StartError`."""
        config = self._config
        await self._runner.setup()
        assert self._runner.server is not None
        self._handshakes.server = self._runner.server
        try:
            for place in self._places():
                server = await asyncio.get_running_loop().create_server(
                    self._handshakes,
                    **place,
                    backlog=_BACKLOG,
                    ssl=_ssl_context(config),
                    ssl_handshake_timeout=config.limits.handshake_seconds if config.server.tls_certificate else None,
                )
                self._servers.append(server)
        except OSError as error:
            port = self._where if isinstance(self._where, int) else self._where[0].getsockname()[1]
            raise StartError(f"cannot listen on {config.server.host}:{port}: {error.strerror}") from None

    def _places(self) -> list[dict[str, Any]]:
        if isinstance(self._where, int):
            return [{"host": self._config.server.host or None, "port": self._where}]
        return [{"sock": opened} for opened in self._where]

    async def close(self) -> None:
        """Take no more connections, then end the application."""
        for server in self._servers:
            with suppress(OSError):  # its descriptor was closed by somebody else
                server.close()
        await self._runner.cleanup()


async def _open(listeners: Sequence[_Listener]) -> None:
    try:
        for listener in listeners:
            await listener.open()
    except StartError:
        for listener in listeners:
            await listener.close()
        raise


def _stop(stop: asyncio.Future[str], cause: str) -> None:
    if not stop.done():
        stop.set_result(cause)


async def _leave(config: Config, chat: Chat, starter: Starter, cause: str) -> None:
    """The beginning of a stop: clients still come, until load balancers have seen that no more should.

    Nobody waits for that at a terminal (SIGINT), or where the chat has ended by itself.
    """
    for number in _SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, _end_at_once)
    settings = config.server
    unready_seconds = settings.unready_seconds if cause == signal.SIGTERM.name else 0.0
    _log.info(
        "stopping",
        cause=cause,
        clients=chat.clients,
        unready_seconds=unready_seconds,
        drain_seconds=settings.drain_seconds,
    )
    starter.stopping(chat.clients)
    chat.leave()
    if unready_seconds:
        assert chat.ended is not None
        await asyncio.wait([chat.ended], timeout=unready_seconds)


def _end_at_once(number: int, frame: object) -> None:
    """A second signal. By default a process that is alone in a container would not hear it."""
    os._exit(128 + number)


def _ssl_context(config: Config) -> ssl.SSLContext | None:
    if not config.server.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate, key = config.server.tls_certificate, config.server.tls_key
    try:
        for file in (certificate, key):
            Path(file).read_bytes()
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise StartError(f"{certificate}, {key} (server.tls_certificate, tls_key) cannot be used: {error}") from None
    except OSError as error:
        raise StartError(f"{file} (server.tls_certificate, tls_key) cannot be read: {error.strerror}") from None
    return context
