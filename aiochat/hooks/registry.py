"""What the embedding application decides and answers in its chat: hooks, registered with decorators.

    hooks = aiochat.Hooks()

    @hooks.on_publish
    async def no_shouting(client: aiochat.ClientInfo, message: aiochat.Publication) -> aiochat.Publication:
        return message.replace(text=message.text and message.text.lower())

    chat = aiochat.setup(app, hooks=hooks)

docs/embedding.md says what order, time limits and bounds are promised.
"""

import re
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from aiochat.auth.identity import Identity

if TYPE_CHECKING:
    from aiohttp import web

_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
_UNAUTHENTICATED: Final = 4401
_FORBIDDEN: Final = 4403
_OWN_CLOSE_CODES: Final = range(4500, 5000)
_UNCHANGED: Final[Any] = object()


class ClientInfo(msgspec.Struct, frozen=True, gc=False):
    """Who a hook is asked about: the session's `id`, which survives a break, the verified `user` if there is one, the
    `name`, if it has one, in the room in question, and the network `address`.
    """

    id: str
    user: str | None
    name: str | None
    address: str


class Publication(msgspec.Struct, frozen=True, gc=False):
    """What a client wants to say to a `room`. A client that repeats it after a break repeats the `key`, too."""

    room: str
    text: str | None = None
    data: Any = None
    key: str | None = None

    def replace(self, *, text: str | None = _UNCHANGED, data: Any = _UNCHANGED) -> "Publication":
        """The same with another `text`, other `data`, or both."""
        return Publication(
            self.room,
            self.text if text is _UNCHANGED else text,
            self.data if data is _UNCHANGED else data,
            self.key,
        )


class Refused(Exception):
    """Raised by a hook: no. The client is told `code`, a word for programs, and `reason`, a sentence for people.

    Where `on_connect` raises it, the connection is closed with `close`: 4401 (log in first), 4403 (you may not) or an
    own code from 4500 to 4999, of which no client comes back by itself. Raises `ValueError` for any other.
    """

    def __init__(self, code: str, reason: str, *, close: int = _FORBIDDEN) -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"code: got {code!r}, takes 1 to 64 of a-z, 0-9 and _")
        if close not in {_UNAUTHENTICATED, _FORBIDDEN} and close not in _OWN_CLOSE_CODES:
            raise ValueError(f"close: got {close!r}, takes 4401, 4403, or 4500 to 4999")
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.close = close


_OnConnect = TypeVar("_OnConnect", bound=Callable[["web.Request"], Awaitable[Identity | None]])
_OnRoom = TypeVar("_OnRoom", bound=Callable[[ClientInfo, str], Awaitable[None]])
_OnPublish = TypeVar("_OnPublish", bound=Callable[[ClientInfo, Publication], Awaitable[Publication | None]])
_OnDisconnect = TypeVar("_OnDisconnect", bound=Callable[[ClientInfo], Awaitable[None]])
_Method = TypeVar("_Method", bound=Callable[[ClientInfo, Any], Awaitable[Any]])
_Any = TypeVar("_Any", bound=Callable[..., Awaitable[Any]])


class Hooks:
    """The application's functions, each registered once and `async def`; each counts from its registration on.

    One that raises anything but `Refused`, or takes longer than `hooks.timeout_seconds`, counts as a refusal that is
    nobody's fault (`unavailable`), and is logged.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Awaitable[Any]]] = {}
        self.methods: dict[str, Callable[[ClientInfo, Any], Awaitable[Any]]] = {}

    def on_connect(self, function: _OnConnect) -> _OnConnect:
        """`async def (request) -> Identity | None`: who a client is that wants to connect.

        The request has its cookies, headers and whatever a middleware has put into it; `request.get(aiochat.IDENTITY)`
        is what its token says, if it has one. None leaves it at that; `Refused` turns it away.
        """
        return self._register("on_connect", function)

    def on_join(self, function: _OnRoom) -> _OnRoom:
        """`async def (client, room)`: before a client comes into a room, also at connect and at a resume.

        `client.name` is the one it wants there. `Refused` keeps it out.
        """
        return self._register("on_join", function)

    def on_publish(self, function: _OnPublish) -> _OnPublish:
        """`async def (client, message) -> Publication | None`: before a client's message goes to its room.

        What is returned is published: `message.replace(text=...)`, or the message as it is for None. `Refused` keeps it
        back. It is not asked for private messages, nor for what the application publishes itself.
        """
        return self._register("on_publish", function)

    def on_leave(self, function: _OnRoom) -> _OnRoom:
        """`async def (client, room)`: after a client went out of a room, however that came about."""
        return self._register("on_leave", function)

    def on_disconnect(self, function: _OnDisconnect) -> _OnDisconnect:
        """`async def (client)`: after a client went, and was told out of its rooms. It may come back with `resume`."""
        return self._register("on_disconnect", function)

    def method(self, name: str) -> Callable[[_Method], _Method]:
        """`async def (client, data) -> data`: what clients may `call` by this name; what it returns is their `result`.

        Both are what JSON can say. `Refused` is the client's error.
        """
        if not name:
            raise ValueError("a method has a name")

        def register(function: _Method) -> _Method:
            if name in self.methods:
                raise ValueError(f"the method {name!r} is there already")
            _check(name, function)
            self.methods[name] = function
            return function

        return register

    def _register(self, event: str, function: _Any) -> _Any:
        if event in self.functions:
            raise ValueError(f"{event} is there already: {self.functions[event]!r}")
        _check(event, function)
        self.functions[event] = function
        return function


def _check(name: str, function: object) -> None:
    if not iscoroutinefunction(function):
        raise TypeError(f"{name}: got {function!r}, takes an async function")
