"""One room: who is in it, and its messages on the way out. State only; the hub alone changes it."""

from collections.abc import Iterator, Sequence
from typing import Final

from aiochat.client import Client
from aiochat.codecs import Codec, batches
from aiochat.config import Batch as BatchLimits
from aiochat.messages import Message, Sender
from aiochat.outbox import Outbox
from aiochat.roomlog import Draft

WRITES_PER_SLICE: Final = 1000


class Room:
    """Exists while it has members, or drafts on their way to the log."""

    __slots__ = ("drafts", "members", "name", "outboxes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[Client, Sender] = {}
        self.outboxes: dict[Codec, dict[Outbox, None]] = {}
        self.drafts: list[Draft] = []  # for the next append

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss it."""
        return not (self.members or self.drafts)

    def add(self, client: Client, sender: Sender) -> None:
        """Make `client` a member under the name in `sender`."""
        self.members[client] = sender
        self.outboxes.setdefault(client.codec, {})[client.outbox] = None

    def remove(self, client: Client) -> Sender:
        """Take `client` out; return what it was here."""
        outboxes = self.outboxes[client.codec]
        del outboxes[client.outbox]
        if not outboxes:
            del self.outboxes[client.codec]
        return self.members.pop(client)

    def fan_out(self, messages: Sequence[Message], limits: BatchLimits) -> None:
        """Deliver to every member, encoded once per codec."""
        for codec, outboxes in self.outboxes.items():
            for batch in batches(codec, messages, limits):
                for outbox in outboxes:
                    outbox.send(batch)

    def slices(self, messages: Sequence[Message], limits: BatchLimits) -> Iterator[None]:
        """The same for a large room, in slices of a thousand writes."""
        for codec, outboxes in self.outboxes.items():
            for batch in batches(codec, messages, limits):
                for writes, outbox in enumerate(outboxes, 1):
                    outbox.send(batch)
                    if not writes % WRITES_PER_SLICE:
                        yield
