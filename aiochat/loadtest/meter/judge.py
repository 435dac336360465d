"""What went wrong, receiver by receiver. Those who were dropped are judged by what they got until then."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from aiochat.loadtest.meter.clients import Client
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.order import Fault, Order
from aiochat.loadtest.meter.stream import FOREIGN, SEQUENCE, UNKNOWN, key_of
from aiochat.loadtest.record import Outcome, Violation

SHOWN: Final = 20  # violations told in full


class Judge:
    """Counts for each receiver. Nobody is judged twice for the same stay in a room."""

    def __init__(self, crew: Crew) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self._crew = crew
        crew.departs = self.departs

    def departs(self, client: Client) -> None:
        """It leaves its room; what was to come is not its any more."""
        order = client.own or client.stream.order
        if not order.faultless:
            self._count(client, order, client.since, client.here(), [])

    def finish(self, sent: Mapping[int, int]) -> None:
        """All who are still there. `sent` has how many messages each sender sent."""
        for stream in self._crew.streams.values():
            stream.finish()
        tails = Tails(self._crew, sent)
        for client in self._crew.readers:
            if client in client.stream.members:
                order = tails.order(client)
                self._count(client, order, client.since, client.here(), tails.of(client, order))
            if client.close_code is None and client.sender is not None:
                self._unacknowledged(client, client.sender.unacknowledged)

    def outcome(self) -> Outcome:
        crew = self._crew
        return Outcome(
            lost=self.counts["lost"],
            doubled=self.counts["doubled"],
            out_of_order=self.counts["out of order"],
            unacknowledged=self.counts["not acknowledged"],
            acknowledged=self._acknowledged(),
            violations=self.violations,
            dropped=Counter(client.close_code for client in crew.readers if client.close_code is not None),
            errors=crew.complaints.count,
            first_error=crew.complaints.first,
        )

    def _acknowledged(self) -> int | None:
        clients = [client for client in self._crew.readers if client.dialect.has_acks]
        senders = [client.sender for client in clients if client.sender is not None]
        return sum(sender.sent - len(sender.unacknowledged) for sender in senders) if clients else None

    def _count(self, client: Client, order: Order, since: int, until: int, tail: list[Fault]) -> None:
        faults = [fault for fault in order.faults if since <= fault.place < until]
        for fault in faults:
            self.counts[fault.kind] += 1
        overtaken = [fault for fault in chain(*order.missing.values()) if since <= fault.place < until]
        missing = sum(fault.last - fault.first + 1 for fault in (*overtaken, *tail))
        lost = max(0, missing - order.unseen)
        self.counts["lost"] += lost
        self._show(client, chain(faults, (*overtaken, *tail) if lost else ()))

    def _show(self, client: Client, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if len(self.violations) == SHOWN:
                return
            sequences = (fault.first, fault.last)
            offsets = _offsets(client, fault) if client.dialect.has_acks else None
            self.violations.append(Violation(fault.kind, client.number, client.room, fault.sender, sequences, offsets))

    def _unacknowledged(self, client: Client, sequences: Iterable[int]) -> None:
        waiting = sorted(sequences)
        self.counts["not acknowledged"] += len(waiting)
        if waiting and len(self.violations) < SHOWN:
            fault = Fault("not acknowledged", client.number, waiting[0], waiting[-1], -1)
            violation = Violation(fault.kind, client.number, client.room, fault.sender, (fault.first, fault.last))
            self.violations.append(violation)


class Tails:
    """After which nothing came: of each stream, and of each who is not where its stream is."""

    def __init__(self, crew: Crew, sent: Mapping[int, int]) -> None:
        expected = crew.expected(sent)
        self._expected = {stream: expected[room] for room, stream in crew.streams.items()}
        self._shared = {stream: stream.order.tail(senders) for stream, senders in self._expected.items()}

    def order(self, client: Client) -> Order:
        """What it got. Who is only behind a faultless stream has nothing wrong but that."""
        stream, place = client.stream, client.here()
        if client.own is not None:
            return client.own
        simple = client.close_code is not None or place == stream.end or (place < stream.end and stream.order.faultless)
        return stream.order if simple else stream.order_at(place)

    def of(self, client: Client, order: Order) -> list[Fault]:
        if client.close_code is not None or order.from_now:
            return []
        stream = client.stream
        if order is stream.order:
            return [*_behind(client), *self._shared[stream]]
        return order.tail(self._expected[stream])

    def is_behind(self, client: Client) -> bool:
        """Whether more may come to it."""
        if client.close_code is not None:
            return False
        if client not in client.stream.members or (client.sender is not None and client.sender.unacknowledged):
            return True
        if client.own is None and client.here() < client.stream.end:
            return True
        order = self.order(client)
        return sum(fault.last - fault.first + 1 for fault in self.of(client, order)) > order.unseen


def _behind(client: Client) -> list[Fault]:
    """What others got and it did not, by sender."""
    stream, place = client.stream, client.here()
    missed: dict[int, Fault] = {}
    for key in stream.keys[place - stream.base :] if place < stream.end else ():
        if key not in (UNKNOWN, FOREIGN):
            sender, sequence = key >> 32, key & SEQUENCE
            first = missed[sender].first if sender in missed else sequence
            missed[sender] = Fault("lost", sender, first, sequence, -1)
    return [*missed.values()]


def _offsets(client: Client, fault: Fault) -> tuple[int, int] | None:
    """Of the messages, where others got them; or else of the message by which it showed."""
    stream = client.stream
    found = []
    for sequence in (fault.first, fault.last):
        key = key_of(fault.sender, sequence)
        if key in stream.keys:
            found.append(stream.base + stream.keys.index(key))
    if fault.kind == "lost" and len(found) == 2:
        return found[0], found[1]
    return (fault.place, fault.place) if fault.place >= 0 else None
