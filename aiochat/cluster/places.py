"""On which node each client is, and on which a user has clients: kept in Redis for as long as they are connected."""

from collections.abc import Callable
from typing import Any, Final

from aiochat.client import Client
from aiochat.cluster.steps import Command, script
from aiochat.errors import StoreError
from aiochat.roomlog.contract import Link

_LIFE_MS: Final = 600_000
_AT_ONCE: Final = 2_000  # that are kept alive in one check


class Places:
    """A place may be older than the truth: who is asked there says so."""

    def __init__(self, link: Link, time: Callable[[], float]) -> None:
        self._link = link
        self._time = time
        self._forget = link.load(script("forget"))
        self._keep_user = link.load(script("user"))
        self._due: dict[Client, float] = {}  # when each is to be kept alive; the first due first
        self._counts: dict[str, int] = {}  # of the clients here that each user has

    def add(self, client: Client) -> None:
        """It is here, under the id that it has now."""
        self._keep(client)
        if self._due.pop(client, None) is None and client.user is not None:
            self._counts[client.user] = self._counts.get(client.user, 0) + 1
        self._due[client] = self._time() + _LIFE_MS / 2000

    def discard(self, client: Client, *, is_gone: bool) -> None:
        """It is here no more, and nowhere else if it is gone."""
        was_here = self._due.pop(client, None) is not None
        commands: list[Command] = []
        if is_gone:
            commands.append(("EVALSHA", self._forget, 1, self._key(client.id), self._link.node))
        if was_here and client.user is not None and self._is_last(client.user):
            commands.append(("ZREM", self._user(client.user), self._link.node))
        if commands:
            self._link.ask(commands, _ignore)

    def _is_last(self, user: str) -> bool:
        """One of a user's clients is here no more: whether none is."""
        left = self._counts.pop(user) - 1
        if left:
            self._counts[user] = left
        return not left

    def take(self, id: str, then: Callable[[str | None], object]) -> None:
        """Claim an id for this node: `then` is told which other one had it, as far as is known."""

        def taken(replies: list[Any] | StoreError) -> None:
            known = replies[0] if isinstance(replies, list) else None
            then(None if known is None or known.decode() == self._link.node else known.decode())

        self._link.ask([("SET", self._key(id), self._link.node, "GET", "PX", _LIFE_MS)], taken)

    def find(self, id: str, then: Callable[[str | StoreError | None], object]) -> None:
        """The node of a client."""

        def found(replies: list[Any] | StoreError) -> None:
            then(replies if isinstance(replies, StoreError) else replies[0] and replies[0].decode())

        self._link.ask([("GET", self._key(id))], found)

    def find_user(self, user: str, then: Callable[[list[str] | StoreError], object]) -> None:
        """The nodes on which a user has clients."""

        def found(replies: list[Any] | StoreError) -> None:
            then(replies if isinstance(replies, StoreError) else [node.decode() for node in replies[0]])

        self._link.ask([("ZRANGE", self._user(user), 0, -1)], found)

    def check(self) -> None:
        """Keep alive those whose time has come; about once a second."""
        now = self._time()
        for _ in range(_AT_ONCE):
            client, due = next(iter(self._due.items()), (None, 0.0))
            if client is None or due > now:
                break
            self.add(client)

    def register_anew(self) -> None:
        """All of them; but whoever has gone on elsewhere meanwhile is there."""
        for client in self._due:
            self._keep(client, "NX")

    def _keep(self, client: Client, *condition: str) -> None:
        commands: list[Command] = [("SET", self._key(client.id), self._link.node, "PX", _LIFE_MS, *condition)]
        if client.user is not None:
            commands.append(("EVALSHA", self._keep_user, 1, self._user(client.user), self._link.node, _LIFE_MS))
        self._link.ask(commands, _ignore)

    def _key(self, id: str) -> str:
        return f"{self._link.prefix}:client:{id}"

    def _user(self, user: str) -> str:
        return f"{self._link.prefix}:user:{user}"


def _ignore(replies: list[Any] | StoreError) -> None:
    """It is said again after a while, and when Redis is back."""
