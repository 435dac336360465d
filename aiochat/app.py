"""Builds the chat into an aiohttp application, once: start, drain, stop. `aiochat serve` is little more than that."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from aiohttp import web

from aiochat.api import Api
from aiochat.auth.rules import warn_of_rules_for_nobody
from aiochat.config import Config, load
from aiochat.connections import Connections
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, ConfigError, unavailable
from aiochat.hooks.registry import Hooks
from aiochat.http.handlers import Handlers
from aiochat.http.health import Health
from aiochat.http.origins import ANY
from aiochat.http.request_ids import identified
from aiochat.hub import Hub
from aiochat.monitoring.metrics import Metrics, metrics_route
from aiochat.monitoring.supervision import Supervision
from aiochat.names import room_name
from aiochat.roomlog import RoomLog
from aiochat.roomlog.engines import make_log
from aiochat.takeover import check_contract

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class Chat:
    """A chat in an aiohttp application. It runs from the application's start to its clean-up."""

    def __init__(
        self, config: Config, log: RoomLog, handlers: Handlers, health: Health, hooks: Hooks | None = None
    ) -> None:
        self.config = config
        self.ended: asyncio.Future[str] | None = None  # while it runs: why it can go on no longer
        self.drained = (0, 0)  # after it ran: how many clients there were at the end, and how many of them were dropped
        self._log = log
        self._handlers = handlers
        self._hooks = hooks
        self._stop_by = 0.0  # loop time, once it drains
        self._health = health
        self.metrics = Metrics(handlers, health)
        self.supervision = Supervision(self._end)
        self._hub: Hub | None = None
        self._turning: asyncio.Task[None]

    async def publish(
        self, room: str, *, text: str | None = None, data: Any = None, name: str | None = None, key: str | None = None
    ) -> int:
        """Publish a message of the application's own; return its offset once it is in the room log.

        `data` is what JSON can say; `name` is who is shown to say it. The same `key` (8 to 64 characters) within
        `history.key_minutes` is the same message, however often it is published. Raises `TypeError` or `ValueError` for
        what is no message, and `Reply`: `bad_room`, `bad_name`, `too_long`, `key_reused`, or `unavailable` while the
        log does not take it.
        """
        return (await self._running.publishing.publish(_room_name(room), text, data, name=name, key=key)).offset

    async def erase(self, room: str, offset: int) -> int:
        """Take back the message at `offset`; return the offset of the erasure once it is in the room log.

        Raises `Reply`: `bad_room`, `no_such_message`, or `unavailable` while the log does not take it.
        """
        return (await self._running.publishing.erase(_room_name(room), offset)).offset

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._handlers.connections)

    def leave(self) -> None:
        """Say 503 at /readyz from now on, so that load balancers send nobody more; who comes all the same is let in."""
        self._health.is_leaving = True

    def in_turn(self, item: Callable[[], object]) -> None:
        """Call `item` in the hub's next turn: soon, or never if the hub hangs or has ended."""
        if self._hub is not None:
            self._hub.later(item)

    @property
    def _running(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("the chat is not running: it does from the application's start to its clean-up")
        if self._health.has_ended:
            raise unavailable("the chat has ended")
        return self._hub

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """The chat's life, as a clean-up context of `app`."""
        self.ended = asyncio.get_running_loop().create_future()
        await self._log.open(self._end)
        if ANY in self.config.security.allowed_origins:
            _logger.warning("any_origin_allowed", setting="security.allowed_origins")
        warn_of_rules_for_nobody(self.config, self._hooks.functions if self._hooks is not None else ())
        self._hub = Hub(self.config, self._log, LocalDirectory(), self._hooks)
        self._hub.access.tokens = tokens = self._handlers.tokens
        self._health.hub = self._hub
        self._handlers.connections = Connections(self.config, self._hub)
        self._turning = asyncio.create_task(self._hub.run(), name="the hub")
        ticking = asyncio.create_task(self._handlers.connections.keepalive.run(), name="the keepalive")
        for task in (self._turning, ticking):
            self.supervision.watch(task)
        yield
        await self.drain(app)
        if self._hub.application is not None:
            await self._hub.application.finish(self._stop_by - asyncio.get_running_loop().time())
        hub, self._hub = self._hub, None
        await self.supervision.stop()
        if hub is not None:
            hub.publishing.abandon()
            if hub.cluster is not None:
                hub.cluster.end()
        if tokens is not None:
            await tokens.close()
        await self._log.close()

    def _end(self, reason: str) -> None:
        """The chat can go on no longer."""
        if self._health.has_ended:
            return
        self._health.has_ended = True
        _logger.critical("chat_ended", reason=reason)
        if self._hub is not None:
            self._hub.publishing.abandon()
        if self.ended is not None and not self.ended.done():
            self.ended.set_result(reason)

    async def drain(self, app: web.Application) -> None:
        """Take no more clients, write out what came, and tell those there to come back later (1012).

        Takes half of `server.drain_seconds` at most; the other half is for requests that are being answered.
        """
        if self._hub is None or self._handlers.is_draining:
            return
        self._health.is_leaving = self._handlers.is_draining = True
        self.supervision.stand_down()
        loop = asyncio.get_running_loop()
        seconds = self.config.server.drain_seconds / 2
        deadline = loop.time() + seconds
        self._stop_by = deadline + seconds
        flushed = [self._hub.publishing.flush(), self._turning]  # a hub that has died flushes nothing
        await asyncio.wait(flushed, timeout=seconds / 2, return_when=asyncio.FIRST_COMPLETED)
        self.drained = await self._handlers.connections.close_all(
            Close.RESTART, "the server restarts", deadline - loop.time()
        )


def _room_name(room: str) -> str:
    if not isinstance(room, str):
        raise TypeError(f"room: got {type(room).__name__}, takes a string")
    return room_name(room)


def setup(
    app: web.Application,
    config: Config | None = None,
    *,
    prefix: str = "",
    max_clients: int | None = None,
    internal: web.Application | None = None,
    hooks: Hooks | None = None,
) -> Chat:
    """Put a chat into `app`: its page, WebSocket, health, metrics and HTTP API below `prefix`.

    `hooks` are the application's functions that the chat asks and tells.
    Health, metrics and API go into `internal` instead, if that is given; there anybody may see the metrics.
    `max_clients` goes over `limits.max_clients`, for who knows how many descriptors there are. Touches nothing but
    `app`: no signal, no logging set-up, no event-loop policy, no listener. Raises `StartError` on an aiohttp that the
    chat does not fit and for a key of tokens that is none, `ConfigError` for settings it cannot use.
    """
    check_contract()
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigError(f"prefix: got {prefix!r}, takes a path such as /chat, or nothing")
    config = config or load()
    health = Health()
    handlers = Handlers(config, health, max_clients or config.limits.max_clients, hooks)
    chat = Chat(config, make_log(config), handlers, health, hooks)
    app.add_routes(handlers.routes(prefix))
    near = config.server.trusted_proxies if internal is None else None
    has_others = internal is None and config.server.workers > 1
    operations = [*health.routes(prefix), metrics_route(prefix, chat.metrics, near, has_others=has_others)]
    (internal or app).add_routes(identified(operations))
    (internal or app).add_routes(Api(config, lambda: handlers.connections.hub).routes(prefix))
    app.on_shutdown.append(chat.drain)
    app.cleanup_ctx.append(chat.run)
    return chat
