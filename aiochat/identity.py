"""Who a client is, as a token or the embedding application says: user, name, rooms and rights."""

from fnmatch import fnmatchcase
from typing import Final

import msgspec

ANY_ROOM: Final = ("*",)


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`user` is verified, and absent for who is anonymous; `name` is what the client is called by default.

    `rooms` are joined at connect. `join` and `publish` are patterns of the rooms in which it may; `*` stands for any
    characters, also none. After `expires`, in seconds since 1970, the connection is closed (4003) unless refreshed.
    """

    user: str | None = None
    name: str | None = None
    rooms: tuple[str, ...] = ()
    join: tuple[str, ...] = ANY_ROOM
    publish: tuple[str, ...] = ANY_ROOM
    expires: float | None = None

    def may_join(self, room: str) -> bool:
        """Whether a pattern lets it into the room of this name, as the server made it."""
        return _matches(self.join, room)

    def may_publish(self, room: str) -> bool:
        """Whether a pattern lets it speak in the room."""
        return _matches(self.publish, room)


ANYBODY: Final = Identity()


def _matches(patterns: tuple[str, ...], room: str) -> bool:
    return patterns == ANY_ROOM or any(fnmatchcase(room, pattern) for pattern in patterns)
