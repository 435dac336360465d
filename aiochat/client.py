"""One session of a person or program: state only, no sockets. The hub alone changes it."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiochat.auth.identity import Identity
from aiochat.codecs import Codec
from aiochat.errors import Reply
from aiochat.limits.budgets import Budget, Joint, Strikes
from aiochat.messages import Command, Event
from aiochat.outbox import Outbox

if TYPE_CHECKING:
    from aiochat.room import Room


def random_id() -> str:
    """A short random id: 40 bits, in hexadecimal. It names, and is no secret."""
    return f"{random.getrandbits(40):010x}"


class Client:
    """`commands` wait for the hub's next turn; while `waiting` (for the log) they stay, in order, for a later one.

    A `Reply` among the commands is what the codec refused; it is answered in its place.
    """

    __slots__ = (
        "address", "answers", "bad_messages", "budget", "codec", "commands", "feed_on", "id", "identity", "is_cut_off",
        "is_expected", "is_full", "is_new", "leaving", "messages_in", "name", "opened", "outbox", "queued_bytes",
        "refusals", "rooms", "waiting",
    )  # fmt: skip

    def __init__(self, id: str, codec: Codec, outbox: Outbox, identity: Identity, address: str = "") -> None:
        self.id = id
        self.address = address  # of the peer, or as a trusted proxy says
        self.codec = codec
        self.outbox = outbox
        self.identity = identity
        self.name = identity.name  # in rooms that it joins without giving one
        self.rooms: tuple[Room, ...] = ()
        self.commands: list[Command | Reply] | None = None
        self.queued_bytes = 0
        self.is_full = False  # its share of the hub's inbox, or all of it, is used up
        self.is_new = True  # no command of it was applied yet
        self.waiting = False
        self.leaving = False  # its connection is gone; it goes once its commands are applied
        self.is_expected = False  # back, then
        self.is_cut_off = False  # what it sent and still sends counts no more
        self.feed_on: Callable[[], None] | None = None  # its connection, which waits for the end of `waiting`
        self.answers: list[Event] | None = None
        self.messages_in = 0
        self.opened = 0.0  # loop time at which its connection began
        # Made when first needed, so that those who only listen do not pay for them.
        self.budget: Budget | Joint | None = None
        self.refusals: Strikes | None = None
        self.bad_messages: Strikes | None = None

    @property
    def user(self) -> str | None:
        """Who is connected, verified; None for who is anonymous."""
        return self.identity.user
