"""How messages become batches: within bounds, in order, and whatever one of them holds the others go."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aiochat import messages as m
from aiochat.batches import batches, event_batches
from aiochat.codecs import CODECS, DEFAULT_CODEC
from aiochat.codecs.text import TextCodec
from aiochat.config import Batch as BatchLimits
from tests.wire import frames_of

CODEC_LIST = list(CODECS.values())
EACH_CODEC = pytest.mark.parametrize("codec", CODEC_LIST, ids=list(CODECS))
NOBODY = m.Sender("c1")
BROKEN: Any = object()  # data that no codec can encode


def limits(max_messages: int, max_bytes: int) -> BatchLimits:
    """Bounds of one batch."""
    return BatchLimits(window_ms=0, max_messages=max_messages, max_bytes=max_bytes)


def said(text: str, data: Any = None) -> m.Message:
    """A message of an unnamed client, which the text codec leaves as it is."""
    return m.Message("lobby", 1, 0, NOBODY, None if data else text, data)


LISTS = st.lists(st.text(max_size=30).map(said) | st.just(m.Erased("lobby", 2, 0, 1)), max_size=12)


def texts(data: bytes) -> list[str]:
    """The messages in the frames of a batch."""
    return [frame.payload.decode() for frame in frames_of(data)]


def payloads_of(codec: Any, data: bytes) -> list[bytes]:
    """What the frames of a batch hold, taken apart as a client does."""
    frames = [frame.payload for frame in frames_of(data)]
    if codec.is_text:
        return frames
    return [codec.encode_entry(event) for frame in frames for event in codec.decode_events(frame)]


def test_text_is_what_a_client_gets_that_names_no_subprotocol() -> None:
    """As in the tutorial."""
    assert DEFAULT_CODEC.subprotocol == "aiochat.v1.text"
    assert {name: codec.subprotocol for name, codec in CODECS.items()} == {name: name for name in CODECS}
    assert list(CODECS) == ["aiochat.v1.text", "aiochat.v1.json", "aiochat.v1.msgpack"]


@EACH_CODEC
@given(messages=LISTS, max_messages=st.integers(1, 5), max_bytes=st.integers(1, 60))
def test_batches_are_within_bounds(codec: Any, messages: list[m.Entry], max_messages: int, max_bytes: int) -> None:
    """Never more messages or bytes than allowed, but for one that is larger by itself and travels alone."""
    for batch in batches(codec, messages, limits(max_messages, max_bytes)):
        payloads = payloads_of(codec, batch.data)
        assert 1 <= len(payloads) == batch.messages <= max_messages
        assert len(payloads) == 1 or sum(map(len, payloads)) <= max_bytes


@EACH_CODEC
@given(messages=LISTS)
def test_a_batch_of_a_program_is_one_websocket_message(codec: Any, messages: list[m.Entry]) -> None:
    """A text client gets one a line, any other one a batch."""
    for batch in batches(codec, messages, limits(256, 65536)):
        assert len(frames_of(batch.data)) == (batch.messages if codec.is_text else 1)


@EACH_CODEC
@given(messages=LISTS, max_messages=st.integers(1, 5), max_bytes=st.integers(1, 60))
def test_batches_keep_the_order(codec: Any, messages: list[m.Entry], max_messages: int, max_bytes: int) -> None:
    """All of them together are the messages, each once, but for those that are not shown."""
    written = b"".join(batch.data for batch in batches(codec, messages, limits(max_messages, max_bytes)))
    assert payloads_of(codec, written) == [payload for entry in messages if (payload := codec.encode_entry(entry))]


def test_a_batch_is_as_large_as_allowed() -> None:
    """Nothing is split that fits, neither by number nor by bytes."""
    five = [said(letter * 10) for letter in "abcde"]
    assert [batch.messages for batch in batches(DEFAULT_CODEC, five, limits(256, 65536))] == [5]
    assert [batch.messages for batch in batches(DEFAULT_CODEC, five, limits(2, 65536))] == [2, 2, 1]
    assert [batch.messages for batch in batches(DEFAULT_CODEC, five, limits(256, 30))] == [3, 2]


def test_a_larger_message_travels_alone() -> None:
    """It splits what stands before and after it, and is not lost."""
    messages = [said("a"), said("b" * 100), said("c")]
    assert [texts(batch.data) for batch in batches(DEFAULT_CODEC, messages, limits(256, 50))] == [
        *(["a"], ["b" * 100], ["c"]),
    ]


@EACH_CODEC
def test_nothing_to_say_is_no_batch(codec: Any) -> None:
    """An empty write would cost a system call for each client."""
    assert batches(codec, [], limits(1, 1)) == []
    assert list(event_batches(codec, [], limits(1, 1))) == []


def test_what_text_clients_are_not_shown_is_no_batch() -> None:
    """An erasure is for programs, which can take a message away."""
    erased = m.Erased("lobby", 2, 0, 1)
    assert batches(DEFAULT_CODEC, [erased], limits(1, 1)) == []
    (batch,) = batches(DEFAULT_CODEC, [said("a"), erased, said("b")], limits(9, 999))
    assert (texts(batch.data), batch.messages) == (["a", "b"], 2)


@EACH_CODEC
def test_a_message_that_cannot_be_encoded_is_left_out(codec: Any) -> None:
    """The others go, in order, and the log says which kind of event in which room failed, not what it said."""
    messages = [said("a"), said("", {"secret": BROKEN}), said("b")]
    with capture_logs() as logged:
        batch, *more = batches(codec, messages, limits(9, 999))
    assert payloads_of(codec, batch.data) == [codec.encode_entry(said("a")), codec.encode_entry(said("b"))]
    assert (batch.messages, more) == (2, [])
    (line,) = logged
    assert (line["event"], line["type"], line["room"]) == ("event_not_encoded", "Message", "lobby")
    assert "secret" not in repr(line)


def test_only_messages_that_cannot_be_encoded_are_no_batch() -> None:
    """Nothing goes out where nothing is left."""
    with capture_logs() as logged:
        assert batches(DEFAULT_CODEC, [said("", {"a": BROKEN})], limits(9, 999)) == []
    assert len(logged) == 1


@EACH_CODEC
@given(events=LISTS, max_messages=st.integers(1, 5), max_bytes=st.integers(1, 60))
def test_a_clients_events_of_a_turn_go_together(
    codec: Any, events: list[m.Entry], max_messages: int, max_bytes: int
) -> None:
    """In order, within the same bounds, and counted as the messages that they are."""
    together = list(event_batches(codec, events, limits(max_messages, max_bytes)))
    payloads = [payload for event in events for payload in codec.encode_event(event)]
    assert [payload for batch in together for payload in payloads_of(codec, batch.data)] == payloads
    assert [batch.messages for batch in together] == [len(payloads_of(codec, batch.data)) for batch in together]
    assert all(1 <= batch.messages <= max_messages for batch in together)


@EACH_CODEC
def test_a_few_events_are_one_write(codec: Any) -> None:
    """What fits is not split: a client costs one write for all its answers of a turn."""
    events = [m.Sent(name="bob", connections=1), m.Renamed(room="lobby", name="al"), said("hi")]
    assert [batch.messages for batch in event_batches(codec, events, limits(256, 65536))] == [3]


def test_events_are_encoded_as_they_are_taken() -> None:
    """A client that asked for far more than it reads costs what it is sent, not what it asked for."""
    encoded = []

    class Watched(TextCodec):
        def encode_event(self, event: m.Event) -> Sequence[bytes]:
            encoded.append(event)
            return super().encode_event(event)

    several = event_batches(Watched(), [said("a" * 10)] * 1000, limits(2, 65536))
    next(iter(several))
    assert len(encoded) < 5


@EACH_CODEC
def test_an_event_that_cannot_be_encoded_is_left_out(codec: Any) -> None:
    """A page that holds a broken message costs its client that page alone."""
    page = m.HistoryPage(room="lobby", epoch="e", messages=(said("", {"secret": BROKEN}),), more=False)
    others = [m.Sent(name="bob", connections=1), m.Renamed(room="lobby", name="al")]
    with capture_logs() as logged:
        (batch,) = event_batches(codec, [others[0], page, others[1]], limits(9, 999))
    (expected,) = event_batches(codec, others, limits(9, 999))
    assert batch.data == expected.data
    assert [line["type"] for line in logged] == ["HistoryPage"]
