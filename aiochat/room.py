"""One room: who is in it, and its entries on the way out. State only; the hub alone changes it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from aiochat.auth.rules import OPEN
from aiochat.client import Client
from aiochat.codecs import Codec
from aiochat.config import RoomRule
from aiochat.messages import Sender
from aiochat.outbox import Batch, Outbox
from aiochat.roomlog import Draft

WRITES_PER_SLICE: Final = 1000


class Room:
    """Exists while it has members, or drafts on their way to the log.

    A member is live, which means that its outbox gets what is delivered, or it is still catching up.
    """

    __slots__ = ("delivered", "drafts", "epoch", "is_filling", "members", "name", "oldest", "outboxes", "rule")

    def __init__(self, name: str, rule: RoomRule = OPEN) -> None:
        self.name = name
        self.rule = rule
        self.members: dict[Client, Sender] = {}
        self.outboxes: dict[Codec, dict[Outbox, None]] = {}  # of the live ones
        self.drafts: list[Draft] = []  # for the next append
        self.epoch = ""  # of the log; not known yet while it is empty
        self.oldest = 1  # no entry before it is in the log; it may have forgotten more since
        self.delivered = 0  # the newest offset that has been fanned out
        self.is_filling = False  # what the log holds beyond `delivered` is being read

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss it."""
        return not (self.members or self.drafts)

    def add(self, client: Client, sender: Sender) -> None:
        """Make `client` a member under the name in `sender`; it is not live yet."""
        self.members[client] = sender

    def go_live(self, client: Client) -> None:
        """From now on `client` gets what is delivered."""
        self.outboxes.setdefault(client.codec, {})[client.outbox] = None

    def fall_behind(self, client: Client) -> None:
        """From now on `client` gets nothing that is delivered."""
        outboxes = self.outboxes.get(client.codec)
        if outboxes is not None:
            outboxes.pop(client.outbox, None)
            if not outboxes:
                del self.outboxes[client.codec]

    def remove(self, client: Client) -> Sender:
        """Take `client` out; return what it was here."""
        self.fall_behind(client)
        return self.members.pop(client)

    def fan_out(self, batches_for: Callable[[Codec], Iterable[Batch]]) -> None:
        """Send every live member the batches for its codec."""
        for codec, outboxes in self.outboxes.items():
            for batch in batches_for(codec):
                Outbox.send_each(outboxes, batch)

    def slices(self, batches_for: Callable[[Codec], Iterable[Batch]]) -> Iterator[None]:
        """The same for a large room, in slices of a thousand writes."""
        for codec, outboxes in self.outboxes.items():
            for batch in batches_for(codec):
                rest = iter(outboxes)
                while piece := list(islice(rest, WRITES_PER_SLICE)):
                    Outbox.send_each(piece, batch)
                    yield
