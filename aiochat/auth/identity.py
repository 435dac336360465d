"""Who a client is, as a token or the embedding application says: user, name, rooms and rights."""

from functools import lru_cache
from typing import Final

import msgspec

ANY_ROOM: Final = ("*",)
LEEWAY_SECONDS: Final = 10.0  # by so much clocks may differ: a token counts for so long after its end


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`user` is verified, and absent for who is anonymous; `name` is what the client is called by default.

    `rooms` are joined at connect. `join` and `publish` are patterns of the rooms in which it may; `*` stands for any
    characters, also none. Rooms and patterns are in the form that the server makes of a room's name (aiochat.names).
    Ten seconds after `expires`, in seconds since 1970, the connection is closed (4003) unless refreshed.
    """

    user: str | None = None
    name: str | None = None
    rooms: tuple[str, ...] = ()
    join: tuple[str, ...] = ANY_ROOM
    publish: tuple[str, ...] = ANY_ROOM
    expires: float | None = None

    def may_join(self, room: str) -> bool:
        """Whether a pattern lets it into the room of this name, as the server made it."""
        return _matches(self.join, room) or room in self.rooms

    def names(self, room: str) -> bool:
        """Whether it says so of this room in particular, not just of all."""
        return room in self.rooms or _matches(tuple(pattern for pattern in self.join if pattern.strip("*")), room)

    def may_publish(self, room: str) -> bool:
        """Whether a pattern lets it speak in the room."""
        return _matches(self.publish, room)


class Granted(Identity, frozen=True, kw_only=True, gc=False):
    """What the embedding application said: its word goes over every token, also over one that is shown later."""


ANYBODY: Final = Identity()


def fits(pattern: str, room: str) -> bool:
    """Whether the room's name is of the pattern. No regular expression: one of 64 stars takes 2 ms to compile."""
    first, *parts = pattern.split("*")
    if not parts:
        return room == pattern
    last = parts.pop()
    place, end = len(first), len(room) - len(last)
    if place > end or not (room.startswith(first) and room.endswith(last)):
        return False
    for part in parts:
        found = room.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


@lru_cache(maxsize=4096)
def _matches(patterns: tuple[str, ...], room: str) -> bool:
    return any(fits(pattern, room) for pattern in patterns)
