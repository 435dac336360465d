"""What every request to the chat has: an id, in its answer and in each log line written on its way. No middleware, so
that in somebody else's application the chat's own routes have it, and no others.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
from aiohttp import web
from structlog.contextvars import bind_contextvars, reset_contextvars

REQUEST_ID: Final = "X-Request-ID"

_KEPT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ID: Final = web.RequestKey("aiochat_request_id", str)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def identified(routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    """The same routes, with an id for each request."""
    return [web.RouteDef(route.method, route.path, _with_id(route.handler), route.kwargs) for route in routes]


def request_id(request: web.Request) -> str:
    """Of a request to an identified route. The client's own, if it sent one of 1 to 64 letters, digits and "._-"."""
    return request[_ID]


async def identify(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare` of an application of our own, where no route was found."""
    response.headers.setdefault(REQUEST_ID, _kept_or_made(request))


def _with_id(handler: _Handler) -> _Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        id = request[_ID] = _kept_or_made(request)
        tokens = bind_contextvars(request_id=id)
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            refusal.headers[REQUEST_ID] = id
            raise
        except ConnectionError:  # the peer has gone, which aiohttp knows how to take
            raise
        except Exception:
            _log.exception("request_failed", method=request.method)
            body = {"code": "internal_error", "reason": "internal error", "request_id": id}
            response = web.json_response(body, status=500)
        finally:
            reset_contextvars(**tokens)
        if not response.prepared:
            response.headers[REQUEST_ID] = id
        return response

    return answer


def _kept_or_made(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID, "")
    return given if _KEPT.fullmatch(given) else secrets.token_hex(6)
