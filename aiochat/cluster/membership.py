"""What a node keeps of one of its clients in one of its rooms; members.py says it to the others."""

from aiochat.messages import Sender


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
