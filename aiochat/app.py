"""Builds the chat into an aiohttp application, once: start, drain, stop. `aiochat serve` is little more than that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from aiochat.config import Config, load
from aiochat.connection import check_contract
from aiochat.connections import Connections
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, ConfigError
from aiochat.handlers import Handlers
from aiochat.hub import Hub
from aiochat.names import room_name
from aiochat.roomlog import open_log


class Chat:
    """A chat in an aiohttp application. It runs from the application's start to its clean-up."""

    def __init__(self, config: Config, handlers: Handlers) -> None:
        self.config = config
        self._handlers = handlers
        self._hub: Hub | None = None

    async def publish(self, room: str, *, text: str | None = None, data: Any = None) -> int:
        """Publish a message of the application's own; return its offset once it is in the room log.

        `data` is what JSON can say. Raises `Reply`: `bad_room`, or `unavailable` while the log does not take it.
        """
        if text is None and data is None:
            raise ValueError("a message has text, data or both")
        if self._hub is None:
            raise RuntimeError("the chat is not running: publish between the application's start and its clean-up")
        return await self._hub.publish(room_name(room), text, data)

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """The chat's life, as a clean-up context of `app`."""
        log = open_log(self.config)
        self._hub = Hub(self.config, log, LocalDirectory())
        self._handlers.connections = Connections(self.config, self._hub)
        tasks = [asyncio.create_task(self._hub.run()), asyncio.create_task(self._handlers.connections.keepalive.run())]
        yield
        await self.drain(app)
        hub, self._hub = self._hub, None
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if hub is not None:
            hub.abandon()
        await log.close()

    async def drain(self, app: web.Application) -> None:
        """Take no more clients, write out what came, and tell those there to come back later (1012).

        Takes `server.drain_seconds` at most.
        """
        if self._hub is None or self._handlers.is_draining:
            return
        self._handlers.is_draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.server.drain_seconds
        await asyncio.wait([self._hub.flush()], timeout=self.config.server.drain_seconds / 2)
        await self._handlers.connections.close_all(Close.RESTART, "the server restarts", deadline - loop.time())


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
    chat = Chat(config, handlers)
    app.add_routes(handlers.routes(prefix))
    app.on_shutdown.append(chat.drain)
    app.cleanup_ctx.append(chat.run)
    return chat
