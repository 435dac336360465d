"""Whether the messages of every sender came each once and in the sender's order: of a whole stream, or of one receiver.

A place is where in the room a message stood: its offset, where the server gives one. It says which of the receivers
that share a stream were there when something went wrong.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from aiochat.loadtest.record import Kind

MOST_FAULTS: Final = 10_000  # that are told apart; beyond them they are only counted


class Fault(NamedTuple):
    """What happened to one sender's messages, and at which place it showed."""

    kind: Kind
    sender: int
    first: int
    last: int
    place: int


class Order:
    """Sequence numbers begin at 0. `missing` are those that a later one of the same sender has overtaken.

    With `from_now`, each sender's begin at the first that comes.
    """

    def __init__(self, *, from_now: bool = False) -> None:
        self.expected: dict[int, int] = {}
        self.missing: dict[int, list[Fault]] = {}
        self.faults: list[Fault] = []  # all but what is missing
        self.doubled = 0
        self.out_of_order = 0
        self.overtaken = 0  # how many are missing
        self.unseen = 0  # messages that were said while this one was not there: as many may be missing
        self.from_now = from_now

    @property
    def faultless(self) -> bool:
        return not (self.faults or self.missing or self.from_now)

    def copy(self) -> "Order":
        other = Order(from_now=self.from_now)
        other.expected = self.expected.copy()
        other.missing = {sender: list(faults) for sender, faults in self.missing.items()}
        other.faults = list(self.faults)
        other.doubled, other.out_of_order = self.doubled, self.out_of_order
        other.overtaken, other.unseen = self.overtaken, self.unseen
        return other

    def take(self, sender: int, sequence: int, place: int = 0, *, is_late: bool = False) -> None:
        """`is_late`: its place is before that of one that was taken, whoever sent that."""
        expected = self.expected.get(sender, sequence if self.from_now else 0)
        if sequence >= expected:
            self.expected[sender] = sequence + 1
            if sequence > expected:
                self._overtakes(sender, expected, sequence, place)
            if is_late:
                self._disorder(sender, sequence, place)
        elif self._was_missing(sender, sequence):
            self._disorder(sender, sequence, place)
        else:
            self.doubled += 1
            self._note(Fault("doubled", sender, sequence, sequence, place))

    def lost(self, sent: Mapping[int, int]) -> int:
        """How many of the messages sent (a count for each sender) never came."""
        tail = 0 if self.from_now else sum(fault.last - fault.first + 1 for fault in self.tail(sent))
        return max(0, self.overtaken + tail - self.unseen)

    def tail(self, sent: Mapping[int, int]) -> list[Fault]:
        """Those after which nothing of their sender came."""
        return [
            Fault("lost", sender, expected, count - 1, -1)
            for sender, count in sent.items()
            if (expected := self.expected.get(sender, 0)) < count
        ]

    def _overtakes(self, sender: int, expected: int, sequence: int, place: int) -> None:
        self.overtaken += sequence - expected
        faults = self.missing.setdefault(sender, [])
        if len(faults) < MOST_FAULTS:
            faults.append(Fault("lost", sender, expected, sequence - 1, place))

    def _was_missing(self, sender: int, sequence: int) -> bool:
        faults = self.missing.get(sender, [])
        for at, fault in enumerate(faults):
            if fault.first <= sequence <= fault.last:
                before, after = fault._replace(last=sequence - 1), fault._replace(first=sequence + 1)
                faults[at : at + 1] = [part for part in (before, after) if part.first <= part.last]
                if not faults:
                    del self.missing[sender]
                self.overtaken -= 1
                return True
        return False

    def _disorder(self, sender: int, sequence: int, place: int) -> None:
        self.out_of_order += 1
        self._note(Fault("out of order", sender, sequence, sequence, place))

    def _note(self, fault: Fault) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
