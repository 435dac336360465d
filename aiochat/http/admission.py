"""Who may come in: each check of an upgrade, in order, before there is a client."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, hdrs, web

from aiochat.auth.identity import ANYBODY, Identity
from aiochat.auth.rules import Rules, check_join
from aiochat.auth.tokens import BEARER, make_tokens, token_of
from aiochat.codecs import CODECS, GUEST_CODECS, Codec
from aiochat.codecs.text import TextCodec
from aiochat.commands import LOBBY
from aiochat.config import Config
from aiochat.errors import Close, Reply
from aiochat.http.origins import Origins
from aiochat.names import display_name, room_name

if TYPE_CHECKING:
    from aiochat.hooks.onconnect import OnConnect

WEBSOCKET_VERSION: Final = "13"  # RFC 6455 section 4.4
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # of 16 bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client to be: who it is, the room it comes into first, if any, and what it wants to be called."""

    identity: Identity
    room: str | None
    name: str | None


class Refusal(Exception):
    """A request answered with an HTTP status instead of an upgrade.

    A browser sees any refusal as 1006 and would try for ever. So where `close` is a code, who speaks a subprotocol of
    ours is upgraded, and told by a Close.
    """

    def __init__(
        self, status: int, code: str, reason: str, *, close: int | None = None, retry_seconds: float = 5
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.close = close
        self.retry_seconds = retry_seconds  # of one that is about now alone: 429 and 503


class Admission:
    """The checks of one chat."""

    def __init__(self, config: Config, on_connect: "OnConnect | None" = None) -> None:
        self._on_connect = on_connect
        self._origins = Origins(config.security.allowed_origins)
        self._mode = config.security.mode
        self._rules = Rules(config.room)
        self.tokens = make_tokens(config.security)

    def check_request(self, request: web.Request) -> Codec:
        """Whether it is an upgrade that may be answered at all, and in which codec. Raises `Refusal`."""
        self._check_origin(request)
        _check_upgrade(request)
        return self._codec_of(request)

    async def identify(self, request: web.Request, codec: Codec) -> Admitted:
        """Who it is and where it wants to be. Raises `Refusal`."""
        try:
            room, name = _room_and_name(request)
            identity = await self._identity(request)
            if room is None and codec.is_text:
                room = identity.rooms[0] if identity.rooms else LOBBY
            if room is not None:
                check_join(identity, room, self._rules.of(room))
        except Reply as reply:
            status, close = _REFUSED.get(reply.code, (400, Close.BAD_REQUEST))
            raise Refusal(status, reply.code, reply.reason, close=close) from None
        return Admitted(identity, room, name or identity.name)

    async def _identity(self, request: web.Request) -> Identity:
        """Who the token says it is, or the embedding application. Raises `Reply` or `Refusal`."""
        token = None if self.tokens is None else token_of(request)
        identity = ANYBODY if self.tokens is None or token is None else await self.tokens.identity_of(token)
        if self._on_connect is not None:
            identity = await self._on_connect.ask(request, identity)
        if identity.user is None and self._mode == "required":
            raise Reply("unauthorized", "this server wants an access token, and there was none", field="token")
        return identity

    def _codec_of(self, request: web.Request) -> Codec:
        has_users = self._mode != "anonymous" or (self._on_connect is not None and self._on_connect.is_there)
        codecs = GUEST_CODECS if has_users else CODECS
        for name in offered(request) or (TextCodec.subprotocol,):
            if name in codecs:
                return codecs[name]
        raise Refusal(400, "bad_subprotocol", f"Sec-WebSocket-Protocol: takes one of {', '.join(CODECS)}, or none")

    def _check_origin(self, request: web.Request) -> None:
        if hdrs.ORIGIN not in request.headers:  # no browser
            return
        if not self._origins.allow(", ".join(request.headers.getall(hdrs.ORIGIN)), request.host):
            raise Refusal(403, "forbidden", "pages of this origin may not connect; see security.allowed_origins")


_REFUSED: Final = {
    "unauthorized": (401, Close.NOT_AUTHENTICATED),
    "forbidden": (403, Close.BANNED),
    "unavailable": (503, None),
}


def offered(request: web.Request) -> list[str]:
    """The subprotocols offered, but for the tokens among them."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers:
        return []
    values = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL))
    return [name for value in values.split(",") if (name := value.strip()) and not name.startswith(BEARER)]


def without_tokens(request: web.Request) -> web.Request:
    """The request as aiohttp may see it: of a subprotocol that it does not find among ours it would log the name."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers or offered(request):
        return request
    headers = request.headers.copy()
    headers.popall(hdrs.SEC_WEBSOCKET_PROTOCOL)
    return request.clone(headers=headers)


def _check_upgrade(request: web.Request) -> None:
    headers = request.headers
    if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        raise Refusal(400, "bad_request", "this is a WebSocket: connect with a client such as wscat")
    if request.method != hdrs.METH_GET or request.version < HttpVersion11:  # section 4.1
        raise Refusal(400, "bad_request", "an upgrade is a GET of HTTP/1.1")
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != WEBSOCKET_VERSION:
        raise Refusal(400, "bad_request", f"Sec-WebSocket-Version: takes {WEBSOCKET_VERSION}")
    if not _KEY.fullmatch(headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()):
        raise Refusal(400, "bad_request", "Sec-WebSocket-Key: takes 16 bytes in Base64")
    if request.can_read_body or hdrs.TRANSFER_ENCODING in headers:
        raise Refusal(400, "bad_request", "an upgrade has no body")


def _room_and_name(request: web.Request) -> tuple[str | None, str | None]:
    path, query = request.match_info.get("room"), request.query
    room = path if path is not None else query.get("room") or None
    name = query.get("name")
    return None if room is None else room_name(room), display_name(name) if name else None
