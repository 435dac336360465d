"""HTTP: the upgrade and health."""

import secrets
from typing import Final

import structlog
from aiohttp import hdrs, web

from aiochat.admission import WEBSOCKET_VERSION, Admission, Admitted, Refusal, offered, without_tokens
from aiochat.assets import Assets
from aiochat.codecs import Codec
from aiochat.config import Config
from aiochat.connections import Connections
from aiochat.takeover import Upgrade

_RETRY_SECONDS: Final = 5

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Handlers:
    """The HTTP side of one chat."""

    connections: Connections  # from the application's start on

    def __init__(self, config: Config, max_clients: int) -> None:
        self._path = config.server.path
        self._max_clients = max_clients
        self._admission = Admission(config)
        self._log_connections = config.logging.connections
        self._assets = Assets(self._path)
        self.is_draining = False

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """Everything the chat serves, below `prefix`."""
        routes = [
            web.get(prefix + self._path, self.websocket),
            web.get(prefix + self._path + "/{room}", self.websocket),
            *self._assets.routes(prefix),
            web.get(prefix + "/healthz", self.health),
            web.get(prefix + "/readyz", self.readiness),
        ]
        return [*routes, web.get(prefix, self.to_page)] if prefix else routes

    async def to_page(self, request: web.Request) -> web.Response:
        """The page's files and its WebSocket are relative to the slash."""
        raise web.HTTPPermanentRedirect(request.path + "/")

    async def health(self, request: web.Request) -> web.Response:
        """Alive."""
        return web.json_response({"status": "ok"})

    async def readiness(self, request: web.Request) -> web.Response:
        """Ready for clients: neither going down nor without a log that takes what they say."""
        hub = self.connections.hub
        status = "draining" if self.is_draining else "store unavailable" if hub.log.is_failing else "ok"
        return web.json_response({"status": status}, status=200 if status == "ok" else 503)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """The upgrade, or the refusal of one."""
        try:
            codec = self._admission.check_request(request)
            self._check_capacity()
        except Refusal as refusal:
            return self._refuse(request, refusal)
        try:
            admitted = await self._admission.identify(request, codec)
        except Refusal as refusal:
            if refusal.close is None or not offered(request):
                return self._refuse(request, refusal)
            return await self._upgrade(request, codec, refusal)
        return await self._upgrade(request, codec, admitted)

    async def _upgrade(self, request: web.Request, codec: Codec, entry: Admitted | Refusal) -> web.StreamResponse:
        address = request.remote or ""
        if not self.connections.addresses.admit(address):
            return self._refuse(request, Refusal(503, "unavailable", "too many clients from this address"))
        connection = None
        upgrade = Upgrade((codec.subprotocol,))
        try:
            await upgrade.prepare(without_tokens(request))
            connection = upgrade.take_over(request, self.connections, codec, entry)
        except web.HTTPBadRequest as error:
            return self._refuse(request, Refusal(400, "bad_request", error.text or error.reason))
        except ConnectionError:  # the peer has gone meanwhile
            return upgrade
        finally:
            if connection is None:
                self.connections.addresses.release(address)
        if connection is not None and self._log_connections:
            _log.info("connection_opened", client=connection.client.id, address=address, request_id=_new_id())
        return upgrade

    def _check_capacity(self) -> None:
        if self.is_draining:
            raise Refusal(503, "unavailable", "the server is going down")
        if len(self.connections) >= self._max_clients:
            raise Refusal(503, "unavailable", "too many clients")

    def _refuse(self, request: web.Request, refusal: Refusal) -> web.Response:
        request_id = _new_id()
        if self._log_connections:
            _log.info(
                "request_refused",
                address=request.remote,
                status=refusal.status,
                code=refusal.code,
                reason=refusal.reason,
                request_id=request_id,
            )
        headers = {"X-Request-ID": request_id}
        if refusal.status == 503:
            headers[hdrs.RETRY_AFTER] = str(_RETRY_SECONDS)
        if refusal.status == 400:
            headers[hdrs.SEC_WEBSOCKET_VERSION] = WEBSOCKET_VERSION
        body = {"code": refusal.code, "reason": refusal.reason}
        response = web.json_response(body, status=refusal.status, headers=headers)
        response.force_close()
        return response


def _new_id() -> str:
    return secrets.token_hex(6)
