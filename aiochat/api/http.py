"""Requests to the API on their way to an operation and back: who asks, how much, what for; JSON in and out."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from aiohttp import hdrs, web

from aiochat.api import openapi
from aiochat.api.administration import Administration
from aiochat.api.operations import NAMES, OPERATIONS, Call, Operation
from aiochat.api.structs import Body, Failure
from aiochat.config import Config
from aiochat.errors import Reply
from aiochat.http.request_ids import identified, request_id
from aiochat.hub import Hub
from aiochat.limits.budgets import Budget
from aiochat.publishing import checked_key

_MIN_BODY_BYTES: Final = 4096  # however short messages must be, a ban has room
_WRONG_TOKENS: Final = (1.0, 50.0)  # a second, and at once, that are answered with 401 and logged
_BURST_SECONDS: Final = 2.0
_LONGEST_COST: Final = 10

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_At = Mapping[str, Operation]


class Api:
    """The API of one chat; without `security.admin_token` there is none. `hub` is called while the chat runs."""

    def __init__(self, config: Config, hub: Callable[[], Hub]) -> None:
        self._token = config.security.admin_token.encode()
        self._limits = config.limits
        self._hub = hub
        self._max_body = max(config.limits.max_message_bytes, _MIN_BODY_BYTES)
        self._wrong = Budget(*_WRONG_TOKENS, 0.0)
        rate = config.limits.api_requests_per_second
        self._budget = Budget(rate, max(rate * _BURST_SECONDS, _LONGEST_COST), 0.0) if rate else None
        self._description = b""

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """All of it, below `prefix`; nothing where it is off."""
        if not self._token:
            return []
        self._description = openapi.description(prefix)
        root = prefix + openapi.ROOT
        paths: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            paths.setdefault(operation.path, {})[operation.method] = operation
        return identified(
            [
                web.get(f"{root}/{openapi.DOCUMENT}", self._describe),
                *(web.route(hdrs.METH_ANY, f"{root}/{_pattern(path)}", self._route(at)) for path, at in paths.items()),
                web.route(hdrs.METH_ANY, root + "/{rest:(?s:.*)}", self._route({})),
            ]
        )

    async def _describe(self, request: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type="application/json")

    def _route(self, at: _At) -> Callable[[web.Request], Any]:
        return partial(_answered, partial(self._answer, at))

    async def _answer(self, at: _At, request: web.Request) -> web.Response:
        self._check_token(request)
        operation = at.get(hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method)
        if operation is None:
            return _not_here(request, at)
        self._check_rate(operation)
        hub = self._hub()
        try:
            call = Call(
                administration=Administration(hub),
                bans=hub.bans,
                path={name: _named(name, value) for name, value in request.match_info.items()},
                query=_converted(_query(request), operation.query),
                body=_decoded(await self._read(request), operation.body) if operation.body else None,
                key=checked_key(request.headers.get("Idempotency-Key")) if operation.is_keyed else None,
            )
            status, content = await operation.run(call)
        except Reply as reply:
            self._log_call(operation, request, reply.code)
            raise
        self._log_call(operation, request, "done")
        if content is None:
            return web.Response(status=status)
        return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")

    def _check_token(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(_as_bytes(given.strip()), self._token):
            return
        if not scheme:
            raise Reply("unauthorized", "takes Authorization: Bearer, and security.admin_token")
        wait_seconds = self._wrong.take(1, asyncio.get_running_loop().time())
        if wait_seconds:
            raise _too_fast("too many wrong tokens", wait_seconds)
        _log.warning("api_token_wrong", address=request.remote)
        raise Reply("unauthorized", "this is not security.admin_token")

    def _check_rate(self, operation: Operation) -> None:
        if self._budget is None:
            return
        wait_seconds = self._budget.take(operation.cost, asyncio.get_running_loop().time())
        if wait_seconds:
            raise _too_fast("more than limits.api_requests_per_second", wait_seconds)

    async def _read(self, request: web.Request) -> bytes:
        """The body, within the time that a request has. One that is too long is read on, and dropped: in a connection
        that ends before, the answer would be lost.
        """
        body = bytearray()
        size = 0
        try:
            async with asyncio.timeout(self._limits.handshake_seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size <= self._max_body:
                        body += chunk
        except TimeoutError:
            raise Reply("timeout", "the body did not come in time") from None
        except (web.RequestPayloadError, ConnectionError):
            raise Reply("bad_message", "the body is cut off, or not as its Content-Encoding says") from None
        if size > self._max_body:
            raise Reply("too_long", f"a body of more than {self._max_body} bytes")
        return bytes(body)

    def _log_call(self, operation: Operation, request: web.Request, outcome: str) -> None:
        if operation.changes:
            target = "/".join(map(_printable, request.match_info.values()))
            address = request.remote
            _log.info("api_called", operation=operation.name, target=target, outcome=outcome, address=address)


async def _answered(answer: Callable[[web.Request], Any], request: web.Request) -> web.Response:
    try:
        response: web.Response = await answer(request)
    except Reply as reply:
        response = _refused(request, reply)
    return response


def _pattern(path: str) -> str:
    """For the router: a network has a slash."""
    return path.replace("{address}", "{address:(?s:.+)}")


def _not_here(request: web.Request, at: _At) -> web.Response:
    if not at:
        raise Reply("not_found", f"there is nothing here: see {openapi.ROOT}/{openapi.DOCUMENT}")
    response = _refused(request, Reply("method_not_allowed", "takes other methods: see Allow"))
    allowed = {*at, *([hdrs.METH_HEAD] if hdrs.METH_GET in at else [])}
    response.headers[hdrs.ALLOW] = ", ".join(sorted(allowed))
    return response


def _refused(request: web.Request, reply: Reply) -> web.Response:
    failure = Failure(reply.code, reply.reason, request_id(request), reply.field, reply.retry_after_ms)
    status = openapi.STATUSES.get(reply.code, openapi.BAD_REQUEST)
    response = web.Response(body=msgspec.json.encode(failure), status=status, content_type="application/json")
    if reply.retry_after_ms is not None:
        response.headers[hdrs.RETRY_AFTER] = str(-(-reply.retry_after_ms // 1000))
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


def _too_fast(reason: str, wait_seconds: float) -> Reply:
    return Reply("rate_limited", reason, retry_after_ms=int(wait_seconds * 1000) + 1)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _as_bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogateescape")


def _named(name: str, value: str) -> Any:
    try:
        return NAMES[name][0](value)
    except msgspec.ValidationError as error:
        raise Reply("bad_message", str(error), field=name) from None


def _query(request: web.Request) -> dict[str, str]:
    query = request.query
    for name in query:
        if len(query.getall(name)) > 1:
            raise Reply("bad_message", "is there more than once", field=name)
    return dict(query)


def _converted(query: dict[str, str], wanted: type) -> Any:
    try:
        return msgspec.convert(query, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _decoded(body: bytes, wanted: type[Body]) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=wanted)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Reply("bad_message", f"the body is not JSON: {error}") from None


def _invalid(error: msgspec.ValidationError) -> Reply:
    reason, _, place = str(error).partition(" - at `$")
    return Reply("bad_message", reason, field=place.strip("`.") or None)
