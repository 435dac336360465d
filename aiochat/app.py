"""Builds the chat into an aiohttp application, once: start, drain, stop. `aiochat serve` is little more than that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aiohttp import web

from aiochat.config import Config, load
from aiochat.connections import Connections
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, ConfigError
from aiochat.handlers import Handlers
from aiochat.hub import Hub
from aiochat.names import room_name
from aiochat.roomlog import RoomLog
from aiochat.roomlog.engines import make_log
from aiochat.takeover import check_contract

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class Chat:
    """A chat in an aiohttp application. It runs from the application's start to its clean-up."""

    def __init__(self, config: Config, log: RoomLog, handlers: Handlers) -> None:
        self.config = config
        self.ended: asyncio.Future[str] | None = None  # while it runs: why it can go on no longer
        self._log = log
        self._handlers = handlers
        self._hub: Hub | None = None

    async def publish(self, room: str, *, text: str | None = None, data: Any = None) -> int:
        """Publish a message of the application's own; return its offset once it is in the room log.

        `data` is what JSON can say. Raises `TypeError` or `ValueError` for what is no message, and `Reply`: `bad_room`,
        `too_long`, or `unavailable` while the log does not take it.
        """
        return await self._running.publishing.publish(_room_name(room), text, data)

    async def erase(self, room: str, offset: int) -> int:
        """Take back the message at `offset`; return the offset of the erasure once it is in the room log.

        Raises `Reply`: `bad_room`, `no_such_message`, or `unavailable` while the log does not take it.
        """
        return await self._running.publishing.erase(_room_name(room), offset)

    @property
    def _running(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("the chat is not running: it does from the application's start to its clean-up")
        return self._hub

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """The chat's life, as a clean-up context of `app`."""
        self.ended = asyncio.get_running_loop().create_future()
        await self._log.open(self._end)
        self._hub = Hub(self.config, self._log, LocalDirectory())
        self._handlers.connections = Connections(self.config, self._hub)
        tasks = [asyncio.create_task(self._hub.run()), asyncio.create_task(self._handlers.connections.keepalive.run())]
        yield
        await self.drain(app)
        hub, self._hub = self._hub, None
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if hub is not None:
            hub.publishing.abandon()
        await self._log.close()

    def _end(self, reason: str) -> None:
        """The room log can never answer again."""
        _logger.critical("chat_ended", reason=reason)
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(reason)

    async def drain(self, app: web.Application) -> None:
        """Take no more clients, write out what came, and tell those there to come back later (1012).

        Takes `server.drain_seconds` at most.
        """
        if self._hub is None or self._handlers.is_draining:
            return
        self._handlers.is_draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.server.drain_seconds
        await asyncio.wait([self._hub.publishing.flush()], timeout=self.config.server.drain_seconds / 2)
        await self._handlers.connections.close_all(Close.RESTART, "the server restarts", deadline - loop.time())


def _room_name(room: str) -> str:
    if not isinstance(room, str):
        raise TypeError(f"room: got {type(room).__name__}, takes a string")
    return room_name(room)


def setup(
    app: web.Application, config: Config | None = None, *, prefix: str = "", max_clients: int | None = None
) -> Chat:
    """Put a chat into `app`: its page, WebSocket and health below `prefix`.

    `max_clients` goes over `limits.max_clients`, for who knows how many descriptors there are. Touches nothing but
    `app`: no signal, no logging set-up, no event-loop policy, no listener. Raises `StartError` on an aiohttp that the
    chat does not fit, `ConfigError` for settings it cannot use.
    """
    check_contract()
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigError(f"prefix: got {prefix!r}, takes a path such as /chat, or nothing")
    config = config or load()
    handlers = Handlers(config, max_clients or config.limits.max_clients)
    chat = Chat(config, make_log(config), handlers)
    app.add_routes(handlers.routes(prefix))
    app.on_shutdown.append(chat.drain)
    app.cleanup_ctx.append(chat.run)
    return chat
