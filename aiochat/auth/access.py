"""For how long a client may stay, and with which rights: its access token expires, and is refreshed in band.

When a token ends is reckoned in the loop's time as it is shown: a clock that is set ahead later throws nobody out.
"""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from aiochat.auth.identity import LEEWAY_SECONDS, Granted, Identity
from aiochat.auth.rules import may_join
from aiochat.auth.tokens import Tokens
from aiochat.client import Client
from aiochat.errors import Close, Reply, unavailable
from aiochat.joining import depart
from aiochat.messages import Left, Refresh, Refreshed

if TYPE_CHECKING:
    from aiochat.hub import Hub

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Access:
    """Watches over the clients with a token; the others it does not know."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self.tokens: Tokens | None = None  # where the settings take some
        self._ends: dict[Client, float] = {}  # loop time
        self._refreshing: set[asyncio.Task[None]] = set()

    def watch(self, client: Client) -> None:
        """The client has an identity, or a new one."""
        if client.identity.expires is not None:
            self._ends[client] = self._loop.time() + client.identity.expires + LEEWAY_SECONDS - time.time()
        else:
            self._ends.pop(client, None)

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self._ends.pop(client, None)

    def check(self) -> None:
        """About once a second: close those whose time is over."""
        for client in [client for client, end in self._ends.items() if end <= self._hub.now]:
            del self._ends[client]
            self._hub.finish(client, Close.TOKEN_EXPIRED, "the access token has expired")

    def refresh(self, client: Client, command: Refresh) -> None:
        """Look at the new token; the client's further commands wait. Raises `Reply`."""
        if self.tokens is None:
            raise Reply("forbidden", "this server takes no access tokens", field="token")
        if isinstance(client.identity, Granted):
            raise Reply("forbidden", "a token does not change who you are here: connect anew with it", field="token")
        client.waiting = True
        task = self._loop.create_task(self._look(self.tokens, client, command), name="aiochat.refresh")
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _look(self, tokens: Tokens, client: Client, command: Refresh) -> None:
        outcome: Identity | Reply = unavailable("the token cannot be checked")
        try:
            outcome = await tokens.identity_of(command.token)
        except Reply as reply:
            outcome = reply
        except Exception:
            _log.exception("token_not_checked", client=client.id)
        self._hub.later(partial(self._looked, client, command, outcome))

    def _looked(self, client: Client, command: Refresh, outcome: Identity | Reply) -> None:
        if isinstance(outcome, Identity) and outcome.user != client.user:
            outcome = Reply("forbidden", "the token is another user's: connect anew with it", field="token")
        if client.is_cut_off:
            pass
        elif isinstance(outcome, Reply):
            self._hub.refuse(client, outcome, command)
        else:
            self._renew(client, command, outcome)
        self._hub.go_on(client)

    def _renew(self, client: Client, command: Refresh, identity: Identity) -> None:
        """The new rights count at once."""
        client.identity = identity
        self.watch(client)
        for room in client.rooms:
            if not may_join(identity, room.name, room.rule):
                depart(self._hub, client, room)
                self._hub.answer(client, Left(room=room.name, reason="forbidden"))
        expires_ms = int((identity.expires or 0.0) * 1000)
        self._hub.answer(client, Refreshed(id=command.id, expires=expires_ms, valid_ms=valid_ms(identity)))


def valid_ms(identity: Identity) -> int | None:
    """For how long the token counts from now on, if there is one."""
    return None if identity.expires is None else max(0, int((identity.expires - time.time()) * 1000))
