"""The hook `on_connect`: who a client is, as the embedding application says, before there is a client."""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from aiochat.auth.identity import Granted, Identity
from aiochat.auth.tokens import MAX_EXPIRES
from aiochat.config import Hooks as Settings
from aiochat.errors import Close, Reply
from aiochat.hooks.queue import BadAnswer, log_failure
from aiochat.hooks.registry import Hooks, Refused
from aiochat.http.admission import Refusal
from aiochat.monitoring.tally import Tally
from aiochat.names import display_name, fitting_name, room_name, room_pattern

# Under it, the request has what its token says of who it is, if it has one; anybody otherwise.
IDENTITY: Final = web.RequestKey("aiochat.IDENTITY", Identity)

_MAX_USER_CHARACTERS: Final = 255


class OnConnect:
    """As many at once as of all other hooks together; one more waits."""

    def __init__(self, hooks: Hooks, settings: Settings) -> None:
        self._functions = hooks.functions
        self._seconds = settings.timeout_seconds
        self._places = asyncio.Semaphore(settings.max_running)
        self._tally = Tally()

    @property
    def is_there(self) -> bool:
        """Whether the application has one."""
        return "on_connect" in self._functions

    async def ask(self, request: web.Request, identity: Identity) -> Identity:
        """Who wants to connect, if not whom the token says. Raises `Refusal`."""
        if not self.is_there:
            return identity
        request[IDENTITY] = identity
        try:
            async with asyncio.timeout(self._seconds) as limit, self._places:
                answer = await self._functions["on_connect"](request)
            return identity if answer is None else _fitting(answer)
        except Refused as refused:
            status = 401 if refused.close == Close.NOT_AUTHENTICATED else 403
            raise Refusal(status, refused.code, refused.reason, close=refused.close) from None
        except web.HTTPUnauthorized:  # what libraries for logging in raise
            raise Refusal(401, "unauthorized", "log in first", close=Close.NOT_AUTHENTICATED) from None
        except web.HTTPForbidden:
            raise Refusal(403, "forbidden", "you may not connect", close=Close.BANNED) from None
        except (Exception, SystemExit) as error:
            if limit.expired():
                self._tally.warning("hook_late", "on_connect", hook="on_connect", seconds=self._seconds)
            else:
                log_failure(self._tally, "on_connect", error)
            raise Refusal(503, "unavailable", "it cannot be told now who you are") from None


def _fitting(answer: object) -> Granted:
    """In the forms that the server makes of names. Raises `BadAnswer`."""
    if not isinstance(answer, Identity):
        raise BadAnswer("it returns an aiochat.Identity or None")
    try:
        answer = msgspec.convert(msgspec.structs.asdict(answer), Identity)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"aiochat.Identity: {error}") from None
    user = answer.user
    if user is not None and not (0 < len(user) <= _MAX_USER_CHARACTERS and user.isprintable() and user == user.strip()):
        raise BadAnswer("a user is 1 to 255 characters that can be shown, without spaces around them")
    if answer.expires is not None and not 0 < answer.expires <= MAX_EXPIRES:
        raise BadAnswer("expires is in seconds since 1970; without it, it is for ever")
    try:
        return Granted(
            user=user,
            name=_own_name(user) if answer.name is None else fitting_name(answer.name),
            rooms=tuple(dict.fromkeys(map(room_name, answer.rooms))),
            join=tuple(map(room_pattern, answer.join)),
            publish=tuple(map(room_pattern, answer.publish)),
            expires=answer.expires,
        )
    except Reply as reply:
        raise BadAnswer(reply.reason) from None


def _own_name(user: str | None) -> str | None:
    """A user of whom the hook says no name is called so, if that can be a name: as with tokens."""
    try:
        return None if user is None else display_name(user)
    except Reply:
        return None
