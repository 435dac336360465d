"""Whom a request is from where trusted proxies pass it on: address, host and scheme are those that the proxies state.

A middleware of `aiochat serve` alone; mounted in another application, the chat takes a request as that has it.
"""

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, cast

import structlog
from aiohttp import hdrs, web
from aiohttp_remotes import XForwardedFiltered

from aiochat.http.origins import parse_origin

_HEADERS: Final = (hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_PROTO, hdrs.X_FORWARDED_HOST)
_REMEMBERED: Final = 100  # proxies that stated what cannot be read, each logged once
_SCHEMES: Final = frozenset(("http", "https", "ws", "wss"))
_MAX_ADDRESSES: Final = 20  # in a row; as many as a header can hold, 2,700, would take 18 ms to read

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Proxies:
    """Those of `server.trusted_proxies`.

    Of a chain the client is the last address that is not a trusted proxy's: what stands before it is hearsay.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = [ip_network(text) for text in trusted]
        self._filter = XForwardedFiltered(self._networks)
        self._refused: set[str] = set()

    def trusts(self, address: str | None) -> bool:
        """Whether that address is a trusted proxy's."""
        try:
            peer = ip_address(address or "")
        except ValueError:
            return False
        peer = (isinstance(peer, IPv6Address) and peer.ipv4_mapped) or peer
        return any(peer in network for network in self._networks)

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Believes nobody but a trusted proxy; what it states and nobody can read is answered with 400."""
        if not self.trusts(request.remote):
            return await handler(request)
        original = await self._original(request)
        if original is None:
            self._log_refused(str(request.remote))
            reason = f"{', '.join(_HEADERS)}: cannot be read"
            refusal = web.json_response({"code": "bad_request", "reason": reason}, status=400)
            refusal.force_close()
            return refusal
        return await handler(original)

    async def _original(self, request: web.Request) -> web.Request | None:
        """The request as it was made to the first of the proxies."""
        if request.headers.get(hdrs.X_FORWARDED_FOR, "").count(",") >= _MAX_ADDRESSES:
            return None
        try:
            original = cast(web.Request, await self._filter.middleware(request, _itself))
        except web.HTTPBadRequest:
            return None
        if original is request:
            return request
        is_sound = original.scheme in _SCHEMES and parse_origin(f"http://{original.host}") is not None
        return original if is_sound else None

    def _log_refused(self, proxy: str) -> None:
        """Once for each proxy: with one that passes on what clients state, any of them could fill the log."""
        if proxy not in self._refused and len(self._refused) < _REMEMBERED:
            self._refused.add(proxy)
            _log.warning("forwarded_headers_refused", proxy=proxy, headers=_HEADERS)


async def _itself(request: web.Request) -> web.StreamResponse:
    return cast(web.StreamResponse, request)
