"""HTTP: the upgrade, and the page."""

from math import ceil
from typing import Final

import structlog
from aiohttp import hdrs, web

from aiochat.codecs import Codec
from aiochat.config import Config
from aiochat.connections import Connections
from aiochat.errors import REFUSALS, Close
from aiochat.hooks.onconnect import OnConnect
from aiochat.hooks.registry import Hooks
from aiochat.http.admission import WEBSOCKET_VERSION, Admission, Admitted, Refusal, offered, without_tokens
from aiochat.http.assets import Assets
from aiochat.http.health import Health
from aiochat.http.request_ids import REQUEST_ID, identified, request_id
from aiochat.monitoring.counts import Counts
from aiochat.takeover import Upgrade

_FOR_NOW: Final = (429, 503)

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Handlers:
    """The HTTP side of one chat."""

    connections: Connections  # from the application's start on

    def __init__(self, config: Config, health: Health, max_clients: int, hooks: Hooks | None = None) -> None:
        self._path = config.server.path
        self._health = health
        self.max_clients = max_clients
        self.refused = Counts(REFUSALS)
        self._admission = Admission(config, None if hooks is None else OnConnect(hooks, config.hooks))
        self.tokens = self._admission.tokens
        self._log_connections = config.logging.connections
        self._assets = Assets(self._path)
        self.is_draining = False  # nobody comes in

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Everything the chat serves, below `prefix`."""
        routes = [
            web.get(prefix + self._path, self.websocket),
            web.get(prefix + self._path + "/{room}", self.websocket),
            *self._assets.routes(prefix),
        ]
        return identified([*routes, web.get(prefix, self.to_page)] if prefix else routes)

    async def to_page(self, request: web.Request) -> web.Response:
        """The page's files and its WebSocket are relative to the slash."""
        raise web.HTTPPermanentRedirect(request.path + "/")

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """The upgrade, or the refusal of one."""
        try:
            self._check_rate(request.remote or "")
            codec = self._admission.check_request(request)
            self._check_capacity()
        except Refusal as refusal:
            return self._refuse(request, refusal)
        try:
            self._check_bans(None, request.remote or "")
            admitted = await self._admission.identify(request, codec)
            self._check_capacity()  # which may have changed meanwhile
            self._check_bans(admitted.identity.user, request.remote or "")
        except Refusal as refusal:
            if refusal.close is None or not offered(request):
                return self._refuse(request, refusal)
            self.refused.add(refusal.code)
            return await self._upgrade(request, codec, refusal)
        return await self._upgrade(request, codec, admitted)

    async def _upgrade(self, request: web.Request, codec: Codec, entry: Admitted | Refusal) -> web.StreamResponse:
        address = request.remote or ""
        user = None if isinstance(entry, Refusal) else entry.identity.user
        shares = self.connections.hub.guard.shares
        too_many = shares.admit(user, address)
        if too_many is not None:
            return self._refuse(request, Refusal(503, "unavailable", too_many))
        connection = None
        upgrade = Upgrade((codec.subprotocol,))
        upgrade.headers[REQUEST_ID] = request_id(request)
        try:
            await upgrade.prepare(without_tokens(request))
            connection = upgrade.take_over(request, self.connections, codec, entry)
        except web.HTTPBadRequest as error:
            return self._refuse(request, Refusal(400, "bad_request", error.text or error.reason))
        except ConnectionError:  # the peer has gone meanwhile
            return upgrade
        finally:
            if connection is None:
                shares.release(user, address)
        if connection is not None and self._log_connections:
            who = {"user": user} if user else {}
            _log.info("connection_opened", client=connection.client.id, address=address, **who)
        return upgrade

    def _check_rate(self, address: str) -> None:
        wait_seconds = self.connections.hub.guard.shares.connect(address, self.connections.loop.time())
        if wait_seconds:
            raise Refusal(429, "rate_limited", "too many connects from this address", retry_seconds=wait_seconds)

    def _check_bans(self, user: str | None, address: str) -> None:
        reason = self.connections.hub.bans.reason_for(user, address)
        if reason is not None:
            raise Refusal(403, "banned", reason, close=Close.BANNED)

    def _check_capacity(self) -> None:
        if self.is_draining:
            raise Refusal(503, "unavailable", "the server is going down")
        if self._health.has_ended:
            raise Refusal(503, "unavailable", "the chat has ended")
        if len(self.connections) >= self.max_clients:
            raise Refusal(503, "unavailable", "too many clients")

    def _refuse(self, request: web.Request, refusal: Refusal) -> web.Response:
        self.refused.add(refusal.code)
        if self._log_connections:
            self.connections.hub.guard.tally.info(
                "request_refused",
                f"{refusal.status} {refusal.code}",
                address=request.remote,
                status=refusal.status,
                code=refusal.code,
                reason=refusal.reason,
            )
        headers: dict[str, str] = {}
        if refusal.status in _FOR_NOW:
            headers[hdrs.RETRY_AFTER] = str(ceil(refusal.retry_seconds))
        if refusal.status == 400:
            headers[hdrs.SEC_WEBSOCKET_VERSION] = WEBSOCKET_VERSION
        if refusal.status == 401:
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="aiochat"'  # RFC 6750 section 3
        body = {"code": refusal.code, "reason": refusal.reason}
        response = web.json_response(body, status=refusal.status, headers=headers)
        response.force_close()
        return response
