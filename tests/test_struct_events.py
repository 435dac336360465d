"""What JSON and MessagePack make of events: they arrive as they were, and a client knows what to ignore."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat import messages as m
from tests.strategies import ANY_EVENT, ENTRIES
from tests.structs import BOTH, DEEP, JSON, StructCodec, encoded, nested, together
from tests.wire import BINARY, TEXT, frames_of


@BOTH
@given(events=st.lists(ANY_EVENT, min_size=1, max_size=4))
def test_events_arrive_as_they_were(codec: StructCodec, events: list[m.Event]) -> None:
    """One or several in a message, in their order, with every field."""
    payloads = [payload for event in events for payload in codec.encode_event(event)]
    (frame,) = frames_of(codec.frame(payloads))
    assert frame.opcode == (TEXT if codec is JSON else BINARY)
    assert codec.decode_events(frame.payload) == events


@BOTH
@given(entry=ENTRIES)
def test_an_entry_of_the_log_is_an_event(codec: StructCodec, entry: m.Entry) -> None:
    """The fan-out and the answers say the same."""
    assert [codec.encode_entry(entry)] == list(codec.encode_event(entry))


@BOTH
def test_what_is_absent_is_left_out(codec: StructCodec) -> None:
    """Events carry no nulls, and neither do the commands of our own client."""
    message = m.Message("lobby", 1, 2, m.Sender("c"), "hi")
    assert codec.encode_entry(message) == encoded(
        codec, {"type": "message", "room": "lobby", "offset": 1, "ts": 2, "sender": {"client": "c"}, "text": "hi"}
    )
    assert codec.encode_command(m.Join(room="lobby")) == encoded(codec, {"type": "join", "room": "lobby"})


@BOTH
def test_a_client_ignores_what_it_does_not_know(codec: StructCodec) -> None:
    """Events and fields of a later server: the ones it knows still arrive."""
    later = encoded(codec, {"type": "reaction", "room": ["lobby"], "offset": 3})
    longer = encoded(codec, {"mood": "good", "type": "pong", "id": 1})
    assert codec.decode_events(together(codec, later, longer)) == [m.Pong(id=1)]


@BOTH
@pytest.mark.parametrize("value", [{"type": "pong", "id": []}, {"room": "lobby"}, 1, {"type": 2}])
def test_a_client_says_what_is_no_event(codec: StructCodec, value: Any) -> None:
    """Who speaks otherwise is no server of this protocol."""
    with pytest.raises(ValueError, match=r"Expected|missing"):
        codec.decode_events(encoded(codec, value))


@BOTH
@given(payload=st.binary())
def test_a_client_survives_arbitrary_bytes(codec: StructCodec, payload: bytes) -> None:
    """They are events or a ValueError."""
    try:
        events = codec.decode_events(payload)
    except ValueError:
        return
    assert all(isinstance(event, m.Event) for event in events)


@BOTH
def test_a_client_survives_depth(codec: StructCodec) -> None:
    """A ValueError too, not the end of the interpreter's stack."""
    with pytest.raises(ValueError, match="nested"):
        codec.decode_events(nested(codec, {"type": "result", "data": 1}, DEEP))
    with pytest.raises(ValueError, match="Invalid"):
        codec.decode_events(nested(codec, {"type": "reaction", "data": 1}, DEEP))


@BOTH
def test_no_payloads_are_no_frame(codec: StructCodec) -> None:
    """An empty message would wake every client for nothing."""
    assert codec.frame([]) == b""
