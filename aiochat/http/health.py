"""Is the process alive, and is it ready for clients? What /healthz and /readyz answer."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from aiochat.hub import Hub
    from aiochat.logqueue import LogQueue

OK: Final = "ok"

_PROOF_SECONDS: Final = 0.8  # Kubernetes gives a probe a second
_FRESH_SECONDS: Final = 1.0
_UNSEEN_CHECKS: Final = 10  # about so many seconds
_READY: Final = frozenset((OK, "degraded"))
_UNKNOWN: Final = ("unknown", "unknown")


class Health:
    """Of one chat. Asking often costs nothing more: one proof is under way at a time, and it counts for a second."""

    def __init__(self) -> None:
        self.hub: Hub | None = None  # while the chat runs
        self.has_ended = False  # it can go on no longer
        self.is_leaving = False
        self._proof: asyncio.Task[tuple[str, str]] | None = None
        self._proof_began = 0.0

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [web.get(prefix + "/healthz", self.healthz), web.get(prefix + "/readyz", self.readyz)]

    @property
    def status(self) -> str:
        """As far as it can be told without a proof."""
        if self.has_ended:
            return "ended"
        if self.hub is None:
            return "starting"
        if self.is_leaving:
            return "draining"
        if self._is_stuck:
            return "deaf"
        return self._status_with(_state_of(self.hub.log))

    @property
    def _is_stuck(self) -> bool:
        return self.hub is not None and self.hub.unseen_checks >= _UNSEEN_CHECKS

    @property
    def is_ready(self) -> bool:
        """The same as yes or no."""
        return self.status in _READY

    async def healthz(self, request: web.Request) -> web.Response:
        """Alive: the event loop turns, and the hub took a turn lately, a stop of the whole process aside."""
        status = "ended" if self.has_ended else "deaf" if self._is_stuck else OK
        return web.json_response({"status": status}, status=200 if status == OK else 503)

    async def readyz(self, request: web.Request) -> web.Response:
        """Ready for clients: an item went through the hub, and an append to the room log."""
        status, (hub, store) = self.status, _UNKNOWN
        if self.hub is not None and not (self.has_ended or self.is_leaving or self._is_stuck):
            hub, store = await self._proved(self.hub)
            status = self._status_with(store) if hub == OK else hub
        body = {"status": status, "hub": hub, "store": store, "draining": self.is_leaving}
        return web.json_response(body, status=200 if status in _READY else 503)

    def _status_with(self, store: str) -> str:
        """If a shared store is away no node is unready for it: that would be an outage of all that still works."""
        if store == "deaf":
            return store
        is_own = self.hub is not None and not self.hub.log.is_shared
        if store == "away" and is_own:
            return "store unavailable"
        return OK if store == OK else "degraded"

    async def _proved(self, hub: "Hub") -> tuple[str, str]:
        now = asyncio.get_running_loop().time()
        if self._proof is None or (self._proof.done() and now - self._proof_began >= _FRESH_SECONDS):
            self._proof, self._proof_began = asyncio.create_task(_prove(hub)), now
        return await asyncio.shield(self._proof)


async def _prove(hub: "Hub") -> tuple[str, str]:
    """How hub and store are: an item for the hub's next turn, which asks the log for something."""
    heard = asyncio.get_running_loop().create_future()
    answered = asyncio.get_running_loop().create_future()
    hub.later(partial(_ask_log, hub, heard, answered))
    await asyncio.wait([answered], timeout=_PROOF_SECONDS)
    if not heard.done():
        return "deaf", "unknown"
    state = _state_of(hub.log)
    return OK, state if state != OK or answered.done() else "late"


def _state_of(log: "LogQueue") -> str:
    return "away" if log.is_failing else "deaf" if log.is_deaf else OK


def _ask_log(hub: "Hub", heard: "asyncio.Future[None]", answered: "asyncio.Future[None]") -> None:
    heard.set_result(None)
    hub.log.round_trip(partial(answered.set_result, None))
