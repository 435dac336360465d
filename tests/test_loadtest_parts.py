"""The small parts of the load test's workers: lines and frames, orders, histograms, places, the schedule."""

from collections import defaultdict
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.histogram import Counts, Histogram, merged
from aiochat.loadtest.meter.latencies import Latencies, now_us
from aiochat.loadtest.meter.order import Order
from aiochat.loadtest.meter.places import Places
from aiochat.loadtest.meter.schedule import due_times
from aiochat.loadtest.meter.senders import Sender
from aiochat.loadtest.meter.speech import Event, Json, Marked, events, page
from aiochat.loadtest.meter.stream import FOREIGN, key_of
from aiochat.loadtest.scenario import Rooms, Scenario

LINE = b"~0003000000070000000000000001"


class Way:
    """In place of a client."""

    def __init__(self, *, is_up: bool = True) -> None:
        self.is_up = is_up
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def unmasked(frame: bytes, size: int) -> bytes:
    """The payload of a frame that a client sends."""
    head = lines.frame_head(lines.TEXT, size)
    assert (frame[0], frame[1]) == (head[0], head[1] | 0x80)
    mask, masked = frame[len(head) : len(head) + 4], frame[len(head) + 4 :]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))


@pytest.mark.parametrize("size", [29, 125, 126, 65_535, 65_536])
def test_a_sent_frame_is_the_line_masked(size: int) -> None:
    """Length, mask and fields are where RFC 6455 and the receiver expect them."""
    line = unmasked(lines.LineFrames(size).frame(sender=5, sequence=9, sent_us=123), size)
    assert (len(line), lines.fields(line), line.strip()) == (size, (5, 9, 123), line)
    assert line.startswith(lines.key(5))


@pytest.mark.parametrize(
    ("codec", "keyed", "payload"),
    [
        ("text", False, LINE),
        ("json", False, b'{"type":"publish","room":"r","id":"00000007","text":"%b"}' % LINE),
        ("json", True, b'{"type":"publish","room":"r","id":"00000007","key":"000300000007","text":"%b"}' % LINE),
        ("socketio", False, b'42["message","%b"]' % LINE),
    ],
)
def test_each_codec_says_it_its_way(codec: str, keyed: bool, payload: bytes) -> None:
    """All of the same length, whatever the numbers are."""
    frames = lines.LineFrames(len(LINE), codec, "r", keyed=keyed)
    assert frames.payload_bytes == len(payload)
    assert unmasked(frames.frame(sender=3, sequence=7, sent_us=1), len(payload)) == payload


def test_frames_yields_whole_frames_only() -> None:
    """A frame whose end has not come yet is left for later, wherever it is cut."""
    stream = lines.frame_head(lines.TEXT, 40) + bytes(40) + lines.frame_head(lines.TEXT, 200) + bytes(200)
    assert [start for _, start, _ in lines.frames(stream, len(stream))] == [2, 2 + 40 + 4]
    assert all(len([*lines.frames(stream, end)]) == 1 for end in range(42, len(stream)))


@pytest.mark.parametrize(
    ("sequences", "lost", "doubled", "out_of_order"),
    [
        ([0, 1, 2, 3], 0, 0, 0),
        ([0, 2, 3], 1, 0, 0),
        ([0, 1], 2, 0, 0),
        ([], 4, 0, 0),
        ([0, 1, 1, 2, 3], 0, 1, 0),
        ([0, 2, 1, 3], 0, 0, 1),
        ([3, 2, 1, 0], 0, 0, 3),
        ([0, 2, 1, 1, 3], 0, 1, 1),
        ([0, 3, 1, 3], 1, 1, 1),
    ],
)
def test_order_knows_lost_doubled_and_late(sequences: list[int], lost: int, doubled: int, out_of_order: int) -> None:
    """Of four messages of one sender; another sender's numbers do not mix with them."""
    order = Order()
    for sequence in sequences:
        order.take(1, sequence)
        order.take(2, order.expected.get(2, 0))
    sent = {1: 4, 2: order.expected.get(2, 0)}
    assert (order.lost(sent), order.doubled, order.out_of_order) == (lost, doubled, out_of_order)


def test_a_jump_to_any_number_costs_no_memory() -> None:
    """What a server makes up is one hole, however wide."""
    order = Order()
    order.take(1, 0xFFFFFFFF)
    assert (order.overtaken, len(order.missing[1])) == (0xFFFFFFFF, 1)


@given(st.lists(st.integers(0, 1 << 40), min_size=1), st.floats(0.01, 1))
def test_percentiles_are_at_most_a_bucket_too_high(values: list[int], share: float) -> None:
    """Never below the true value, and at most 1.6 % above it."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = next(value for count, value in enumerate(sorted(values), 1) if count >= share * len(values))
    assert true <= histogram.percentile(share) <= true * 65 / 64
    assert histogram.percentile(1) == max(values)


def test_histograms_of_two_workers_add_up() -> None:
    """As if one had recorded it all, whole or on their way between processes; an empty one has nothing to say."""
    ones = [Histogram(), Histogram(), Histogram()]
    for value in range(100):
        ones[value % 2].record(value)
    total = merged([ones[0], ones[1].counted(), ones[2]])
    assert (total.total, total.percentile(0.5), total.percentile(1)) == (100, 49, 99)
    assert merged([]).percentile(0.5) == 0
    assert ones[2].counted() == Counts()


def test_what_was_due_before_measuring_is_shown_and_does_not_count() -> None:
    """The second shows all that came within it; the sum has those that were due from then on."""
    latencies, now = Latencies(), now_us()
    latencies.measure_from_us = now - 10_000
    latencies.record_all([now - 20_000, now - 20_000, now - 5_000])
    assert sum(latencies.second().buckets.values()) == 3
    assert sum(latencies.second().buckets.values()) == 0
    latencies.record_all([now - 5_000])
    assert sum(latencies.measured().buckets.values()) == 2


def test_two_workers_share_one_schedule() -> None:
    """Message k leaves at k / rate, from the sender whose turn it is, whoever runs that sender."""
    turns = [(turn, Sender(10 + turn, lines.LineFrames(40), Way())) for turn in range(5)]
    shares = [islice(due_times(turns[first::2], 5, rate=10, start=100), 20) for first in (0, 1)]
    due = sorted((round(moment, 6), sender.number) for share in shares for moment, sender in share)
    assert due[:20] == [(100 + k / 10, 10 + k % 5) for k in range(20)]


def test_what_is_due_while_a_sender_is_away_goes_out_when_it_is_back() -> None:
    """Behind what was not acknowledged, and each with the time that it was due."""
    way = Way()
    sender = Sender(3, frames := lines.LineFrames(40), way)
    sender.has_acks = True
    sender.send(2, 100)
    sender.acknowledged([0])
    way.is_up = False
    sender.send(1, 200)
    assert len(way.written) == 1
    way.is_up = True
    sender.is_back(publish_again=True)
    assert way.written[1:] == [frames.frame(3, 1, 100), frames.frame(3, 2, 200)]
    sender.goes()
    sender.send(1, 300)
    assert (sender.sent, sender.certain) == (3, 1)


MIXED = (Rooms(size=20, share=0.4), Rooms(size=5, share=0.6))


@pytest.mark.parametrize("senders", [0, 1, 20, "all"])
@pytest.mark.parametrize(("clients", "slow"), [(100, 0), (100, 7), (31, 1)])
def test_everybody_has_a_place(clients: int, slow: int, senders: int) -> None:
    """Rooms have the sizes they should have; those who send are spread over them, and nobody of them is slow."""
    scenario = Scenario(clients=clients, slow=slow, senders=senders, rate=10.0, rooms=MIXED)
    places = Places(scenario)
    members: dict[int, int] = defaultdict(int)
    for room in places.rooms:
        members[room] += 1
    assert [members[room] for room in range(len(places.sizes))] == places.sizes
    assert len(set(places.senders)) == scenario.sender_count
    assert all(0 <= sender < scenario.readers for sender in places.senders)
    assert set(places.sampled) <= set(range(scenario.readers))
    per_room = [sum(places.rooms[sender] == room for sender in places.senders) for room in range(len(places.sizes))]
    share = len(places.senders) / scenario.readers
    assert all(abs(count - members * share) <= 2 + slow for count, members in zip(per_room, places.sizes, strict=True))


@pytest.mark.parametrize("rate", [1.0, 1e6])
def test_latencies_are_of_a_tenth_or_of_all_where_that_is_cheap(rate: float) -> None:
    """Those who came early as well as late."""
    places = Places(Scenario(clients=1000, rate=rate))
    assert len(places.sampled) == (1000 if rate == 1.0 else 100)
    assert max(places.sampled) - min(places.sampled) > 900


def test_json_is_read_as_far_as_it_is_ours() -> None:
    """What somebody else says has a place too; what is no chat alone is left to who knows events."""
    line = LINE.decode()
    ours = b'{"type":"message","room":"r","offset":4,"ts":1,"text":"%b"}' % LINE
    theirs = b'{"type":"message","room":"r","offset":5,"ts":1,"text":"~hi"}'
    chat = Json().chat(ours + b"\n" + theirs)
    assert chat is not None
    assert (chat.keys, chat.first, chat.places) == ([key_of(3, 7), FOREIGN], 4, ())
    jump = Json().chat(theirs + b"\n" + ours)
    assert jump is not None
    assert jump.places == [5, 4]
    assert Json().chat(ours + b'\n{"type":"presence"}') is None
    assert [each.type for each in events(b'{"type":"a"}\n{}\nno\n{"type":"b"}')] == ["a", "b"]
    assert page([Event(type="message", offset=9, text=line)]).places == [9]


def test_lines_are_found_in_whatever_is_around_them() -> None:
    """Names before them, other lines, JSON, or a marker that is nobody's."""
    for payload in (LINE, b"alice: " + LINE, b"* x\n" + LINE, b'42["message","%b"]' % LINE, b"~no " + LINE):
        chat = Marked().chat(payload)
        assert chat is not None
        assert (chat.keys, chat.dues_us) == ([key_of(3, 7)], [1])
    assert Marked().chat(b"~hello") is None
