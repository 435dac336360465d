"""The names taken in each room, in this process."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from aiochat.directory.contract import Directory
from aiochat.names import MAX_NAME_CHARACTERS, fold

_NUMBERED_TRIES: Final = 20


class _Holding:
    """A name that is taken: by one client, or by several of one user."""

    __slots__ = ("clients", "user")

    def __init__(self, user: str | None) -> None:
        self.user = user
        self.clients: list[str] = []


class LocalDirectory(Directory):
    """Answers within the call."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, _Holding]] = {}

    def claim(self, room: str, name: str, client: str, user: str | None, then: Callable[[str], object]) -> None:
        holdings = self._rooms.setdefault(room, {})
        free = next(
            candidate for candidate in _candidates(name) if _may_have(holdings.get(fold(candidate)), client, user)
        )
        holding = holdings.setdefault(fold(free), _Holding(user))
        if client not in holding.clients:
            holding.clients.append(client)
        then(free)

    def release(self, room: str, name: str, client: str) -> None:
        holdings = self._rooms.get(room, {})
        holding = holdings.get(fold(name))
        if holding is None or client not in holding.clients:
            return
        holding.clients.remove(client)
        if not holding.clients:
            del holdings[fold(name)]
            if not holdings:
                del self._rooms[room]

    def holders(self, room: str, name: str) -> Sequence[str]:
        holding = self._rooms.get(room, {}).get(fold(name))
        return holding.clients if holding is not None else ()


def _may_have(holding: _Holding | None, client: str, user: str | None) -> bool:
    return holding is None or client in holding.clients or (user is not None and user == holding.user)


def _candidates(name: str) -> Iterator[str]:
    """The name, then numbered ones; after twenty, random numbers, so that the ten-thousandth alice finds one soon."""
    yield name
    for number in range(2, _NUMBERED_TRIES):
        yield _numbered(name, number)
    while True:
        yield _numbered(name, secrets.randbelow(10**6))


def _numbered(name: str, number: int) -> str:
    suffix = f"-{number}"
    return name[: MAX_NAME_CHARACTERS - len(suffix)] + suffix
