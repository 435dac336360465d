"""`aiochat serve`: one process, one event loop, the chat in an aiohttp application of its own."""

import asyncio
import gc
import signal
import socket
import ssl
import sys
from pathlib import Path

import structlog
from aiohttp import web

from aiochat import logs
from aiochat.app import setup
from aiochat.config import Config
from aiochat.errors import StartError
from aiochat.limits import raise_descriptor_limit
from aiochat.roomlog.engines import data_path

_BACKLOG = 1024

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. Raises `StartError` where the server cannot start."""
    logs.set_up(config.logging)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # where it cannot be installed, asyncio's own loop serves, at twice the cost
        return None
    return uvloop.Loop


async def _serve(config: Config) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = web.Application()
    max_clients = min(raise_descriptor_limit(), config.limits.max_clients)
    chat = setup(app, config, max_clients=max_clients)
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=config.limits.handshake_seconds,  # also cuts off a request sent byte by byte
        lingering_time=0,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    try:
        assert runner.server is not None
        server = await loop.create_server(
            runner.server,
            config.server.host or None,
            config.server.port,
            backlog=_BACKLOG,
            ssl=_ssl_context(config),
            ssl_handshake_timeout=config.limits.handshake_seconds if config.server.tls_certificate else None,
        )
    except OSError as error:
        await runner.cleanup()
        raise StartError(f"cannot listen on {config.server.host}:{config.server.port}: {error.strerror}") from None
    _announce(config, server.sockets)
    if max_clients < config.limits.max_clients:
        _log.warning("max_clients_fitted", max_clients=max_clients, configured=config.limits.max_clients)
    gc.freeze()  # what is there now stays, and need not be looked through again
    assert chat.ended is not None
    chat.ended.add_done_callback(lambda ended: stop.set())
    await stop.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)  # a second one ends the process at once
    _log.info("stopping", drain_seconds=config.server.drain_seconds)
    server.close()
    await runner.cleanup()
    _log.info("stopped")
    if chat.ended.done():
        raise StartError(chat.ended.result())


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


def _announce(config: Config, sockets: tuple[socket.socket, ...]) -> None:
    """Say where to go, on standard output: it is for people, not for the log."""
    port = sockets[0].getsockname()[1]
    tls = "s" if config.server.tls_certificate else ""
    host = config.server.host if config.server.host not in ("", "0.0.0.0", "::", "localhost") else "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    print(f"aiochat is at  http{tls}://{host}:{port}/  in a browser")
    print(f"or in a shell  wscat -c ws{tls}://{host}:{port}{config.server.path}")
    print(f"its data is    {data_path(config)}")
    sys.stdout.flush()
