"""Whether one receiver got every message of every sender, each once and in the sender's order."""

from collections.abc import Mapping


class Order:
    """Sequence numbers begin at 0; `missing` are those that a later one of the same sender has overtaken."""

    def __init__(self) -> None:
        self.expected: dict[int, int] = {}
        self.missing: set[tuple[int, int]] = set()
        self.doubled = 0
        self.out_of_order = 0

    def take(self, sender: int, sequence: int) -> None:
        expected = self.expected.get(sender, 0)
        if sequence == expected:
            self.expected[sender] = sequence + 1
        elif sequence > expected:
            self.expected[sender] = sequence + 1
            self.missing.update((sender, skipped) for skipped in range(expected, sequence))
        elif (sender, sequence) in self.missing:
            self.missing.discard((sender, sequence))
            self.out_of_order += 1
        else:
            self.doubled += 1

    def lost(self, sent: Mapping[int, int]) -> int:
        """How many of the messages sent (a count for each sender) never came."""
        return len(self.missing) + sum(max(0, count - self.expected.get(sender, 0)) for sender, count in sent.items())
