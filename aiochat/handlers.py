"""HTTP: the upgrade and health. What is wrong with a request is refused here, before there is a client."""

import secrets
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from aiochat.assets import Assets
from aiochat.codecs import CODECS, DEFAULT_CODEC, Codec
from aiochat.commands import LOBBY
from aiochat.config import Config
from aiochat.connections import Connections
from aiochat.errors import Reply
from aiochat.names import display_name, room_name
from aiochat.takeover import Upgrade

_TOKEN: Final = "bearer."
_WEBSOCKET_VERSION: Final = "13"  # RFC 6455 section 4.4
_RETRY_SECONDS: Final = 5

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Handlers:
    """The HTTP side of one chat."""

    connections: Connections  # from the application's start on

    def __init__(self, config: Config, max_clients: int) -> None:
        self._path = config.server.path
        self._max_clients = max_clients
        self._origins = frozenset(origin.lower() for origin in config.security.allowed_origins)
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
        """The upgrade. A browser sees any refusal as 1006, so who speaks a subprotocol of ours is told by a Close."""
        try:
            self._check_origin(request)
            self._check_upgrade(request)
            codec = _codec_of(request)
            self._check_capacity()
        except _Refused as refused:
            return self._refuse(request, refused)
        try:
            room, name = _room_and_name(request, codec)
        except Reply as reply:
            if not _offered(request):
                return self._refuse(request, _Refused(400, reply.code, reply.reason))
            return await self._upgrade(request, codec, reply, None)
        return await self._upgrade(request, codec, room, name)

    async def _upgrade(
        self, request: web.Request, codec: Codec, room: str | Reply | None, name: str | None
    ) -> web.StreamResponse:
        address = request.remote or ""
        if not self.connections.addresses.admit(address):
            return self._refuse(request, _Refused(503, "unavailable", "too many clients from this address"))
        connection = None
        upgrade = Upgrade((codec.subprotocol,))
        try:
            await upgrade.prepare(_without_tokens(request))
            connection = upgrade.take_over(request, self.connections, codec, room, name)
        except web.HTTPBadRequest as error:
            return self._refuse(request, _Refused(400, "bad_request", error.text or error.reason))
        except ConnectionError:  # the peer has gone meanwhile
            return upgrade
        finally:
            if connection is None:
                self.connections.addresses.release(address)
        if connection is not None and self._log_connections:
            _log.info("connection_opened", client=connection.client.id, address=address, request_id=_new_id())
        return upgrade

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return
        if "same-origin" in self._origins and _host_of(origin) == request.host.lower():
            return
        raise _Refused(403, "forbidden", "pages of this origin may not connect; see security.allowed_origins")

    def _check_upgrade(self, request: web.Request) -> None:
        headers = request.headers
        if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
            raise _Refused(400, "bad_request", "this is a WebSocket: connect with a client such as wscat")
        if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != _WEBSOCKET_VERSION:
            raise _Refused(400, "bad_request", f"Sec-WebSocket-Version: takes {_WEBSOCKET_VERSION}")
        if request.can_read_body or hdrs.TRANSFER_ENCODING in headers:
            raise _Refused(400, "bad_request", "an upgrade has no body")

    def _check_capacity(self) -> None:
        if self.is_draining:
            raise _Refused(503, "unavailable", "the server is going down")
        if len(self.connections) >= self._max_clients:
            raise _Refused(503, "unavailable", "too many clients")

    def _refuse(self, request: web.Request, refused: "_Refused") -> web.Response:
        request_id = _new_id()
        if self._log_connections:
            _log.info(
                "request_refused",
                address=request.remote,
                status=refused.status,
                code=refused.code,
                reason=refused.reason,
                request_id=request_id,
            )
        headers = {"X-Request-ID": request_id}
        if refused.status == 503:
            headers[hdrs.RETRY_AFTER] = str(_RETRY_SECONDS)
        if refused.status == 400:
            headers[hdrs.SEC_WEBSOCKET_VERSION] = _WEBSOCKET_VERSION
        body = {"code": refused.code, "reason": refused.reason}
        response = web.json_response(body, status=refused.status, headers=headers)
        response.force_close()
        return response


class _Refused(Exception):
    """A request answered with an HTTP status instead of an upgrade."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _new_id() -> str:
    return secrets.token_hex(6)


def _offered(request: web.Request) -> list[str]:
    """The subprotocols offered, but for the tokens among them."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers:
        return []
    values = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL))
    return [name for value in values.split(",") if (name := value.strip()) and not name.startswith(_TOKEN)]


def _codec_of(request: web.Request) -> Codec:
    offered = _offered(request)
    for name in offered:
        if name in CODECS:
            return CODECS[name]
    if offered:
        raise _Refused(400, "bad_subprotocol", f"Sec-WebSocket-Protocol: takes one of {', '.join(CODECS)}, or none")
    return DEFAULT_CODEC


def _without_tokens(request: web.Request) -> web.Request:
    """The request as aiohttp may see it: of a subprotocol that it does not find among ours it would log the name."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers or _offered(request):
        return request
    headers = request.headers.copy()
    headers.popall(hdrs.SEC_WEBSOCKET_PROTOCOL)
    return request.clone(headers=headers)


def _room_and_name(request: web.Request, codec: Codec) -> tuple[str | None, str | None]:
    path, query = request.match_info.get("room"), request.query
    room = path if path is not None else query.get("room") or (LOBBY if codec.is_text else None)
    name = query.get("name")
    return None if room is None else room_name(room), display_name(name) if name else None
