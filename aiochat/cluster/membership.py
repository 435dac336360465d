"""What a node keeps of its rooms, and of one of its clients in one of them; members.py says it to the others."""

from collections.abc import Callable
from typing import Final

from aiochat.messages import Sender

_STAND_SECONDS: Final = 1.0  # for a room's channel, so that nobody who comes misses who comes next


class Membership:
    """Of a client in a room. `stamp` tells it from an earlier or later one of the same client."""

    __slots__ = ("client", "deadline", "has_moved", "is_free", "name", "room", "since", "stamp", "user")

    def __init__(self, room: str, name: str | None, client: str, user: str | None, stamp: str) -> None:
        self.room = room
        self.name = name
        self.client = client
        self.user = user
        self.stamp = stamp
        self.since = ""  # when Redis had it first, as members.lua says it
        self.deadline: float | None = None  # until when who was lost is expected back
        self.has_moved = False  # its session goes on at another node, which could not tell us
        self.is_free = False  # its name is, already

    @property
    def sender(self) -> Sender:
        return Sender(self.client, self.name, self.user)


class Place:
    """A room in which this node has members, or somebody on the way. `now` is the loop's time."""

    __slots__ = ("as_of", "count", "held", "recount_at", "stands", "stands_by", "touch_at", "waiting")

    def __init__(self, now: float, touch_seconds: float) -> None:
        self.held: dict[str, Membership] = {}  # by client
        self.count = 0
        self.as_of = 0
        self.stands = False
        self.stands_by = now + _STAND_SECONDS
        self.touch_at = now + touch_seconds
        self.recount_at: float | None = None
        self.waiting: list[Callable[[], None]] = []
