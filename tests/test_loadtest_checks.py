"""Every fault in what receivers get is found, and nothing where there is none, however the bytes arrive."""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.clients import Client
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.judge import Judge
from aiochat.loadtest.meter.latencies import Latencies
from aiochat.loadtest.meter.order import Order
from aiochat.loadtest.meter.senders import Sender
from aiochat.loadtest.meter.stream import UNKNOWN, Chat, Stream, key_of
from aiochat.loadtest.record import Outcome, Violation
from aiochat.loadtest.scenario import Scenario
from aiochat.loadtest.target import Target

SIZE = 40
SENDERS = 3
TARGET = Target("ws://127.0.0.1:1/ws", ("127.0.0.1", 1), 2)
PRIVATE = (
    lines.frame_head(lines.PING, 2) + b"~~",
    lines.frame_head(lines.TEXT, 7) + b"* hello",
    lines.frame_head(lines.TEXT, 200) + b'{"type":"presence","room":"room-0"'.ljust(199) + b"}",
)


class Said(NamedTuple):
    """A message as the room has it."""

    sender: int
    sequence: int
    offset: int


class Wire:
    """In place of a transport: counts the pongs that are written."""

    pongs = 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing behind it."""

    def write(self, data: bytes) -> None:
        self.pongs += data[0] == lines.PONG


def payload(codec: str, said: Said) -> bytes:
    """As a server delivers it."""
    line = b"%b%08x%016x" % (lines.key(said.sender), said.sequence, 1 + said.offset)
    line = line.ljust(SIZE, b"a")
    if codec == "text":
        return line
    event = b'{"type":"message","room":"room-0","offset":%d,"ts":1,"sender":{"client":"a"},"text":"%b"}'
    return event % (said.offset, line)


def framed(payloads: Sequence[bytes]) -> bytes:
    """One WebSocket message."""
    joined = b"\n".join(payloads)
    return lines.frame_head(lines.TEXT, len(joined)) + joined


def stream_of(codec: str, messages: Sequence[Said], batches: Sequence[int], private: Sequence[int]) -> bytes:
    """The frames of one receiver: batches of these sizes, and between them now and then what is its own."""
    frames, rest, sizes, others = b"", list(messages), cycle(batches), cycle(private)
    while rest:
        count = next(sizes) if codec == "json" else 1
        batch, rest = rest[:count], rest[count:]
        frames += framed([payload(codec, said) for said in batch])
        if (other := next(others)) < len(PRIVATE):
            frames += PRIVATE[other]
    return frames


def fragmented(stream: bytes, sizes: Sequence[int], pings: Sequence[int]) -> bytes:
    """With its messages in fragments of these sizes (RFC 6455, 5.4), and a ping before some of them."""
    frames, cuts, others = b"", cycle(sizes), cycle(pings)
    for first_byte, start, stop in lines.frames(stream, len(stream)):
        rest, opcode = stream[start:stop], 0 if not lines.is_control(first_byte) else first_byte
        size = len(rest) if opcode else next(cuts)
        frames += (
            lines.frame_head(first_byte if size >= len(rest) else first_byte & 0x0F, len(rest[:size])) + rest[:size]
        )
        while rest := rest[size:]:
            size = next(cuts)
            frames += PRIVATE[0] if next(others) == 0 else b""
            frames += lines.frame_head(0x80 if size >= len(rest) else 0, len(rest[:size])) + rest[:size]
    return frames


def in_order(senders: Sequence[int]) -> list[Said]:
    """What these senders say one after the other."""
    counts = dict.fromkeys(range(SENDERS), 0)
    said = []
    for offset, sender in enumerate(senders, 1):
        said.append(Said(sender, counts[sender], offset))
        counts[sender] += 1
    return said


class Room:
    """Receivers of one process in one room, without a server."""

    def __init__(self, codec: str, receivers: int = 3, window: int = 0) -> None:
        self.crew = Crew(Scenario(clients=receivers, codec="json" if codec == "json" else "text"), TARGET, 0, 1)
        self.receivers = self.crew.readers
        if window:
            self.receivers[0].stream.window = window
        self.judge = Judge(self.crew)
        for client in self.receivers:
            wire: Any = Wire()
            client.opened(wire, "aiochat.v1.json")
            client.comes_in(1 if codec == "json" else 0)

    def read(self, streams: Sequence[bytes], reads: Sequence[int], turns: Sequence[int]) -> None:
        """Each receiver's bytes, in reads that end anywhere; whose turn it is repeats itself."""
        rest, sizes, whose = dict(enumerate(streams)), cycle(reads), cycle([*turns, *range(len(streams))])
        while rest:
            receiver = next(whose)
            if receiver in rest:
                size = next(sizes)
                receive(self.receivers[receiver], rest[receiver][:size])
                rest[receiver] = rest[receiver][size:]
                if not rest[receiver]:
                    del rest[receiver]

    def judged(self, messages: Sequence[Said]) -> Outcome:
        sent: dict[int, int] = {}
        for said in messages:
            sent[said.sender] = max(sent.get(said.sender, 0), said.sequence + 1)
        self.judge.finish(sent)
        return self.judge.outcome()


def receive(client: Client, data: bytes) -> None:
    """One read."""
    if data:
        client.get_buffer(-1)[: len(data)] = data
        client.buffer_updated(len(data))


def wrong(outcome: Outcome) -> tuple[int, int, int]:
    """Lost, doubled, out of order."""
    return outcome.lost, outcome.doubled, outcome.out_of_order


messages_said = st.lists(st.integers(0, SENDERS - 1), min_size=2, max_size=25).map(in_order)
some = st.lists(st.integers(0, 9), min_size=1, max_size=5)
sizes = st.lists(st.integers(1, 400), min_size=1, max_size=6)
fragment_sizes = st.lists(st.integers(15, 200), min_size=1, max_size=4)
batch_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
few = settings(max_examples=60)
codecs = pytest.mark.parametrize("codec", ["json", "text"])


@codecs
@few
@given(messages_said, st.lists(batch_sizes, min_size=3, max_size=3), some, sizes, some)
def test_nothing_is_found_where_nothing_is_wrong(
    codec: str, messages: list[Said], batches: list[list[int]], private: list[int], reads: list[int], turns: list[int]
) -> None:
    """However it is split into reads and frames, whoever is first, and whatever comes between."""
    room = Room(codec)
    room.read([stream_of(codec, messages, each, private) for each in batches], reads, turns)
    assert wrong(room.judged(messages)) == (0, 0, 0)
    assert [client.delivered for client in room.receivers] == [len(messages)] * 3


def dropped(messages: list[Said], at: int) -> list[Said]:
    """Without that one."""
    return messages[:at] + messages[at + 1 :]


def whole(messages: list[Said], at: int) -> list[Said]:
    """All of them, whatever `at` is."""
    return messages


def doubled(messages: list[Said], at: int) -> list[Said]:
    """With that one twice in a row."""
    return messages[: at + 1] + messages[at:]


def doubled_later(messages: list[Said], at: int) -> list[Said]:
    """With that one again at the end."""
    return [*messages, messages[at]]


def swapped(messages: list[Said], at: int) -> list[Said]:
    """With the next of the same sender, if it has one."""
    later = next((other for other in messages[at + 1 :] if other.sender == messages[at].sender), messages[at])
    exchanged = {messages[at]: later, later: messages[at]}
    return [exchanged.get(said, said) for said in messages]


FAULTS = {"dropped": dropped, "doubled": doubled, "doubled later": doubled_later, "swapped": swapped}
faults = st.sampled_from([*FAULTS])
COUNTED = {"dropped": (1, 0, 0), "doubled": (0, 1, 0), "doubled later": (0, 1, 0), "swapped": (0, 0, 1)}


@codecs
@few
@given(
    faults,
    messages_said,
    st.integers(0, 24),
    st.integers(0, 2),
    st.lists(batch_sizes, min_size=3, max_size=3),
    sizes,
    some,
)
def test_what_one_receiver_got_wrong_is_found(
    codec: str,
    fault: str,
    messages: list[Said],
    at: int,
    whose: int,
    batches: list[list[int]],
    reads: list[int],
    turns: list[int],
) -> None:
    """Wherever it stands, within a batch or at its border, and whether that receiver is the first or not."""
    at %= len(messages)
    faulty = FAULTS[fault](messages, at)
    heard = [faulty if receiver == whose else messages for receiver in range(3)]
    room = Room(codec)
    room.read([stream_of(codec, each, sizes, [9]) for each, sizes in zip(heard, batches, strict=True)], reads, turns)
    outcome = room.judged(messages)
    if faulty == messages:  # it was the last of its sender, and had none to be swapped with
        assert wrong(outcome) == (0, 0, 0)
        return
    assert outcome.out_of_order >= 1 if fault == "swapped" else wrong(outcome) == COUNTED[fault]
    assert {violation.receiver for violation in outcome.violations} == {whose}
    assert any(violation.sender == messages[at].sender for violation in outcome.violations)


@codecs
@settings(max_examples=40)
@given(
    st.sampled_from([whole, dropped]),
    messages_said,
    st.integers(0, 24),
    st.lists(fragment_sizes, min_size=3, max_size=3),
    st.booleans(),
    sizes,
    some,
)
def test_messages_in_fragments_are_read_as_whole_ones(
    codec: str,
    fault: Callable[[list[Said], int], list[Said]],
    messages: list[Said],
    at: int,
    cuts: list[list[int]],
    alike: bool,
    reads: list[int],
    turns: list[int],
) -> None:
    """Pings come between them; all get the same fragments or each others, and the last one has to get every message."""
    at %= len(messages)
    faulty = fault(messages, at)
    heard = [messages, messages, faulty]
    room = Room(codec)
    streams = [
        fragmented(stream_of(codec, each, [3], [9]), cuts[0] if alike else own, turns)
        for each, own in zip(heard, cuts, strict=True)
    ]
    room.read(streams, reads, turns)
    assert [client.delivered for client in room.receivers] == [len(each) for each in heard]
    outcome = room.judged(messages)
    assert wrong(outcome) == (len(messages) - len(faulty), 0, 0)
    assert [violation.receiver for violation in outcome.violations] == [2] * (len(messages) - len(faulty))


def test_pings_between_fragments_are_answered_once() -> None:
    """However often the beginning of the message is looked at again."""
    room = Room("text", receivers=1)
    data = fragmented(stream_of("text", in_order([0]), [1], [9]), [7], [0])
    for byte in data:
        receive(room.receivers[0], bytes((byte,)))
    wire: Any = room.receivers[0].transport
    assert wire.pongs == data.count(PRIVATE[0]) > 3
    assert room.receivers[0].delivered == 1


@pytest.mark.parametrize("more", [lines.frame_head(0x01, 600) + bytes(600), lines.frame_head(0x00, 600) + bytes(600)])
def test_a_message_without_an_end_is_not_kept(more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client that gets it leaves and is told as dropped; when a new one begins, the old one is forgotten."""
    monkeypatch.setattr("aiochat.loadtest.meter.receivers.LARGEST_FRAME_BYTES", 1000)
    room = Room("text", receivers=1)
    receive(room.receivers[0], lines.frame_head(0x01, 600) + bytes(600) + more)
    if more[0]:  # a new message began
        assert room.judged([]).dropped == {}
    else:
        assert (room.judged([]).dropped, room.receivers[0].tail) == ({1009: 1}, b"")


@codecs
@few
@given(faults, messages_said, st.integers(0, 24), batch_sizes, sizes, some)
def test_what_all_got_wrong_is_found_for_each(
    codec: str, fault: str, messages: list[Said], at: int, batches: list[int], reads: list[int], turns: list[int]
) -> None:
    """The room itself is wrong: its offsets are without a hole, and its bytes are the same for everybody."""
    faulty = FAULTS[fault](messages, at % len(messages))
    numbered = [said._replace(offset=offset) for offset, said in enumerate(faulty, 1)]
    room = Room(codec)
    room.read([stream_of(codec, numbered, batches, [9])] * 3, reads, turns)
    outcome = room.judged(messages)
    once = COUNTED[fault] if faulty != messages else (0, 0, 0)
    assert wrong(outcome) == tuple(3 * count for count in once) or (fault == "swapped" and outcome.out_of_order >= 3)


@pytest.mark.parametrize("cut", range(2, 60, 3))
def test_a_fault_is_found_wherever_a_read_ends(cut: int) -> None:
    """The second message is doubled for the second receiver; its first read ends at every byte of the frames."""
    messages = in_order([0, 1, 0, 1])
    good, bad = (stream_of("text", each, [1], [9]) for each in (messages, doubled(messages, 1)))
    room = Room("text", receivers=2)
    receive(room.receivers[0], good)
    receive(room.receivers[1], bad[:cut])
    receive(room.receivers[1], bad[cut:])
    outcome = room.judged(messages)
    assert outcome.violations == [Violation("doubled", 1, "", 1, (0, 0), None)]


def test_a_violation_names_the_offsets() -> None:
    """Those of what was lost, where others got it."""
    messages = in_order([0, 0, 0, 0, 1])
    room = Room("json", receivers=2)
    room.read(
        [stream_of("json", messages, [5], [9]), stream_of("json", dropped(dropped(messages, 1), 1), [1], [9])],
        [9999],
        [0],
    )
    outcome = room.judged(messages)
    assert outcome.lost == 2
    assert outcome.violations == [Violation("lost", 1, "room-0", 0, (1, 2), (2, 3))]


@codecs
def test_a_window_bounds_what_is_kept(codec: str) -> None:
    """Who falls behind it is checked alone, as strictly, and nobody is wronged."""
    messages = in_order([number % SENDERS for number in range(600)])
    bad = doubled(messages, 590)
    room = Room(codec, receivers=3, window=4000)
    frames = [stream_of(codec, each, [3], [9]) for each in (messages, messages, bad)]
    for client, data in zip(room.receivers, frames, strict=True):
        for first in range(0, len(data), 500):
            receive(client, data[first : first + 500])
    stream = room.receivers[0].stream
    assert len(stream.data) + 16 * len(stream.keys) < 5000
    assert [client.delivered for client in room.receivers] == [600, 600, 601]
    assert wrong(room.judged(messages)) == (0, 1, 0)


def test_who_was_checked_alone_is_compared_again_when_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fell behind the window once, and then caught up."""
    monkeypatch.setattr("aiochat.loadtest.meter.receivers.REJOIN_MESSAGES", 10)
    messages = in_order([number % SENDERS for number in range(600)])
    room = Room("json", receivers=2, window=8000)
    data = stream_of("json", messages, [2], [9])
    for client in room.receivers:
        receive(client, data)
    assert room.receivers[1].own is None
    assert [client.delivered for client in room.receivers] == [600, 600]
    assert wrong(room.judged(messages)) == (0, 0, 0)


def test_who_was_dropped_is_judged_by_what_came_until_then() -> None:
    """What was to follow is not lost, but what was left out before is."""
    messages = in_order([0] * 6)
    room = Room("text", receivers=2)
    receive(room.receivers[0], stream_of("text", messages, [1], [9]))
    receive(room.receivers[1], stream_of("text", [messages[0], messages[2]], [1], [9]))
    room.receivers[1].connection_lost(None)
    outcome = room.judged(messages)
    assert (wrong(outcome), outcome.dropped) == ((1, 0, 0), {1006: 1})


def test_who_left_misses_nothing_while_out() -> None:
    """Of what is said between `left` and the next `joined`, nothing is expected; nor what nobody here could get."""
    messages = in_order([0] * 9)
    room = Room("json", receivers=2)
    room.read([stream_of("json", messages[:3], [2], [9])] * 2, [50], [0])
    for client in room.receivers:
        client.depart()
        client.comes_in(messages[6].offset)
    room.read([stream_of("json", messages[6:], [2], [9])] * 2, [50], [1])
    assert wrong(room.judged(messages)) == (0, 0, 0)
    assert [client.delivered for client in room.receivers] == [6, 6]


def test_what_nobody_got_who_was_there_is_lost() -> None:
    """Though others were out at the time: what those may have missed is no more than what was said."""
    messages = in_order([0] * 9)
    room = Room("json", receivers=2)
    room.receivers[1].depart()
    receive(room.receivers[0], stream_of("json", dropped(messages, 4), [2], [9]))
    room.receivers[1].comes_in(10)
    assert wrong(room.judged(messages)) == (1, 0, 0)


def test_pings_are_answered_and_errors_kept() -> None:
    """Between the messages there is more to do than count."""
    room = Room("text", receivers=1)
    receive(room.receivers[0], PRIVATE[0] + framed([b"! oops"]) + PRIVATE[1])
    wire: Any = room.receivers[0].transport
    assert wire.pongs == 1
    assert (room.crew.complaints.count, room.crew.complaints.first) == (1, "! oops")


@given(messages_said, sizes, some)
def test_echoes_are_counted_however_they_arrive(messages: list[Said], reads: list[int], turns: list[int]) -> None:
    """Each of its own messages brings a sender in a closed loop one more, first reader or not."""
    room = Room("text", receivers=2)
    for client in room.receivers:
        client.speaks(Sender(client.number, lines.LineFrames(SIZE), client))
    senders = [client.sender for client in room.receivers if client.sender is not None]
    for sender in senders:
        sender.loop(50)
    room.read([stream_of("text", messages, [1], [9])] * 2, reads, turns)
    counts = [sum(said.sender == sender.number for said in messages) for sender in senders]
    assert [sender.sent - 50 for sender in senders] == counts


def test_latencies_are_of_each_message_once() -> None:
    """Those of a receiver that is the first, and of one that is compared."""
    messages = in_order([0, 1, 2] * 5)
    room = Room("json", receivers=2)
    for client in room.receivers:
        client.latencies = Latencies()
        client.is_watched = True
    room.read([stream_of("json", messages, [2], [0])] * 2, [70, 300], [0])
    assert [sum(client.latencies.measured().buckets.values()) for client in room.receivers if client.latencies] == [
        15,
        15,
    ]


# The stream by itself.


def keyed(*sequences: int) -> Chat:
    """Messages of sender 7."""
    return Chat([key_of(7, sequence) for sequence in sequences], [1] * len(sequences))


def test_messages_without_frames_leave_a_wall_between_frames() -> None:
    """Somebody who got only the frames is not taken for somebody who got all."""
    stream = Stream()
    first = stream.append(b"aa", [(2, 1)], keyed(0))
    stream.put(1, key_of(7, 1), 1)
    second = stream.append(b"bb", [(2, 1)], keyed(2))
    assert not stream.data.startswith(b"bb", first)
    assert (stream.position_of(1), stream.position_of(2), stream.position_of(3)) == (first, second - 2, second)
    assert (stream.place_at(first), stream.place_at(second)) == (1, 3)


def test_a_hole_is_filled_by_who_comes_later() -> None:
    """Checking waits for it."""
    stream = Stream()
    stream.put(2, key_of(7, 2), 1)
    assert (list(stream.keys), stream.checked) == ([UNKNOWN, UNKNOWN, key_of(7, 2)], 0)
    stream.put(0, key_of(7, 0), 1)
    stream.put(1, key_of(7, 1), 1)
    assert (stream.checked, stream.order.expected) == (3, {7: 3})
    assert stream.put(1, key_of(7, 9), 1) == key_of(7, 1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=60))
def test_an_order_knows_what_is_missing(taken: list[tuple[int, int]]) -> None:
    """As many as never came; and what came is counted once as first, late or double."""
    order = Order()
    for sender, sequence in taken:
        order.take(sender, sequence)
    sent = dict.fromkeys(range(3), 13)
    came = set(taken)
    assert order.lost(sent) == sum(sent.values()) - len(came)
    assert order.doubled == len(taken) - len(came)


@pytest.mark.parametrize("beginning", [b"", b"\x81", b"\x81\x7e\x01", b"\x81\x05abc"])
def test_the_beginning_of_a_frame_waits(beginning: bytes) -> None:
    """Its head may have come in part."""
    assert list(lines.frames(beginning, len(beginning))) == []
