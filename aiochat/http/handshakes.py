"""Sockets that are no WebSocket (yet): half a request, or idle between two. Bounded, lest a few hosts take them all.

At the bound one that is being answered stays, and of the others the one that was idle for longest goes; but an address
that has more than its part pays for itself. aiohttp's keep-alive timeout ends each of them after `handshake_seconds`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from aiochat.limits.addresses import source_of
from aiochat.monitoring.tally import Tally

HEAD_BYTES: Final = 64 << 10  # of a request that is not whole yet; aiohttp alone would take a megabyte of headers
_HEAD_ENDS: Final = b"\r\n\r\n"
_WHOLE_HEAD: Final = -(1 << 60)  # what follows is a body, which may come before the request's handler has begun
_PART: Final = 10  # of all, one part in so many


class Handshakes:
    """Makes the protocol of each connection that a listener accepts; `options` are those of `web.RequestHandler`.

    `max_connections` says how many there may be now.
    """

    def __init__(self, max_connections: Callable[[], int], options: Mapping[str, Any]) -> None:
        self.server: web.Server
        self._max_connections = max_connections
        self._options = options
        self._sources: dict[_Http, str] = {}
        self._idle: dict[_Http, None] = {}  # the one idle for longest first, here and for each address
        self._idle_from: dict[str, dict[_Http, None]] = {}
        self._tally = Tally()

    def __call__(self) -> web.RequestHandler:
        return _Http(self, self.server, loop=asyncio.get_running_loop(), **self._options)

    def __len__(self) -> int:
        return len(self._sources)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who is being answered is not idle."""
        http = request.protocol
        if not isinstance(http, _Http) or http not in self._sources:
            return await handler(request)
        self._set_busy(http)
        try:
            return await handler(request)
        finally:
            if http in self._sources:  # not taken over, and still there
                self._set_idle(http)

    def came(self, http: "_Http", transport: asyncio.BaseTransport) -> None:
        """A connection was accepted, and with TLS its handshake is done."""
        peer = transport.get_extra_info("peername")
        self._sources[http] = source = source_of(peer[0]) if isinstance(peer, tuple) else ""
        self._set_idle(http)
        most = self._max_connections()
        if len(self._sources) > most:
            own = self._idle_from[source]
            oldest = next(iter(own if len(own) > max(1, most // _PART) else self._idle))
            self._tally.info("http_connection_dropped", "", address=self._sources[oldest])
            self.gone(oldest)
            oldest.abort()

    def gone(self, http: "_Http") -> None:
        """It has ended, or is a WebSocket now."""
        self._set_busy(http)
        self._sources.pop(http, None)

    def is_idle(self, http: "_Http") -> bool:
        """Whether no whole request of it has come that was not answered."""
        return http in self._idle

    def _set_idle(self, http: "_Http") -> None:
        http.heard = 0
        self._idle[http] = None
        self._idle_from.setdefault(self._sources[http], {})[http] = None

    def _set_busy(self, http: "_Http") -> None:
        if http not in self._idle:
            return
        source = self._sources[http]
        del self._idle[http], self._idle_from[source][http]
        if not self._idle_from[source]:
            del self._idle_from[source]


class _Http(web.RequestHandler):
    """aiohttp's protocol, which tells when it begins and ends."""

    __slots__ = ("_handshakes", "heard")

    def __init__(self, handshakes: Handshakes, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._handshakes = handshakes
        self.heard = 0  # bytes since it was last answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._handshakes.came(self, transport)

    def data_received(self, data: bytes) -> None:
        if self.heard > HEAD_BYTES and self._handshakes.is_idle(self):
            self.abort()
            return
        self.heard = _WHOLE_HEAD if _HEAD_ENDS in data else self.heard + len(data)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._handshakes.gone(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
