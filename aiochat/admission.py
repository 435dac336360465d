"""Who may come in: each check of an upgrade, in order, before there is a client."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from aiochat.codecs import CODECS, DEFAULT_CODEC, Codec
from aiochat.commands import LOBBY
from aiochat.config import Config
from aiochat.errors import Close, Reply
from aiochat.identity import ANYBODY, Identity
from aiochat.names import display_name, room_name

WEBSOCKET_VERSION: Final = "13"  # RFC 6455 section 4.4
_TOKEN: Final = "bearer."


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client to be: who it is, and the room it comes into, if any."""

    identity: Identity
    room: str | None


class Refusal(Exception):
    """A request answered with an HTTP status instead of an upgrade.

    A browser sees any refusal as 1006 and would try for ever. So where `close` is a code, who speaks a subprotocol of
    ours is upgraded, and told by a Close.
    """

    def __init__(self, status: int, code: str, reason: str, *, close: Close | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.close = close


class Admission:
    """The checks of one chat."""

    def __init__(self, config: Config) -> None:
        self._origins = frozenset(origin.lower() for origin in config.security.allowed_origins)

    def check_request(self, request: web.Request) -> Codec:
        """Whether it is an upgrade that may be answered at all, and in which codec. Raises `Refusal`."""
        self._check_origin(request)
        _check_upgrade(request)
        return _codec_of(request)

    async def identify(self, request: web.Request, codec: Codec) -> Admitted:
        """Who it is and where it wants to be. Raises `Refusal`."""
        try:
            room, name = _room_and_name(request, codec)
        except Reply as reply:
            raise Refusal(400, reply.code, reply.reason, close=Close.BAD_REQUEST) from None
        return Admitted(ANYBODY if name is None else Identity(name=name), room)

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return
        if "same-origin" in self._origins and _host_of(origin) == request.host.lower():
            return
        raise Refusal(403, "forbidden", "pages of this origin may not connect; see security.allowed_origins")


def offered(request: web.Request) -> list[str]:
    """The subprotocols offered, but for the tokens among them."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers:
        return []
    values = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL))
    return [name for value in values.split(",") if (name := value.strip()) and not name.startswith(_TOKEN)]


def without_tokens(request: web.Request) -> web.Request:
    """The request as aiohttp may see it: of a subprotocol that it does not find among ours it would log the name."""
    if hdrs.SEC_WEBSOCKET_PROTOCOL not in request.headers or offered(request):
        return request
    headers = request.headers.copy()
    headers.popall(hdrs.SEC_WEBSOCKET_PROTOCOL)
    return request.clone(headers=headers)


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _check_upgrade(request: web.Request) -> None:
    headers = request.headers
    if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket":
        raise Refusal(400, "bad_request", "this is a WebSocket: connect with a client such as wscat")
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != WEBSOCKET_VERSION:
        raise Refusal(400, "bad_request", f"Sec-WebSocket-Version: takes {WEBSOCKET_VERSION}")
    if request.can_read_body or hdrs.TRANSFER_ENCODING in headers:
        raise Refusal(400, "bad_request", "an upgrade has no body")


def _codec_of(request: web.Request) -> Codec:
    names = offered(request)
    for name in names:
        if name in CODECS:
            return CODECS[name]
    if names:
        raise Refusal(400, "bad_subprotocol", f"Sec-WebSocket-Protocol: takes one of {', '.join(CODECS)}, or none")
    return DEFAULT_CODEC


def _room_and_name(request: web.Request, codec: Codec) -> tuple[str | None, str | None]:
    path, query = request.match_info.get("room"), request.query
    room = path if path is not None else query.get("room") or (LOBBY if codec.is_text else None)
    name = query.get("name")
    return None if room is None else room_name(room), display_name(name) if name else None
