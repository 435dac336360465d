"""The names taken in each room, in this process."""

import secrets
from collections.abc import Iterator
from typing import Final

from aiochat.names import MAX_NAME_CHARACTERS, fold

_NUMBERED_TRIES: Final = 20


class LocalDirectory:
    """A name holds per room, and two names that fold alike are the same."""

    def __init__(self) -> None:
        self._holders: dict[str, dict[str, str]] = {}

    def claim(self, room: str, name: str, client: str) -> str:
        """Take `name` for `client`; where another client has it, the next free of `name-2`, `name-3`, ..."""
        holders = self._holders.setdefault(room, {})
        free = next(candidate for candidate in _candidates(name) if holders.get(fold(candidate), client) == client)
        holders[fold(free)] = client
        return free

    def release(self, room: str, name: str) -> None:
        """Give the name back."""
        holders = self._holders[room]
        del holders[fold(name)]
        if not holders:
            del self._holders[room]

    def holder(self, room: str, name: str) -> str | None:
        """The id of the client that has the name in this room."""
        return self._holders.get(room, {}).get(fold(name))


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
