"""What is MessagePack's own: binary messages, maps one after another, and what JSON cannot say."""

from datetime import UTC
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.codecs import CODECS
from aiochat.codecs.json import JsonCodec
from aiochat.codecs.msgpack import MsgpackCodec
from aiochat.codecs.structs import is_json
from aiochat.errors import Close, Disconnect, Reply
from tests.strategies import ANY_EVENT, DATA
from tests.wire import BINARY, frames_of

codec = MsgpackCodec()
PING: bytes = msgpack.packb({"type": "ping"})


def decoded(payload: bytes) -> list[m.Command | Reply]:
    """What becomes of a message."""
    return list(codec.decode(payload, True))


def refusal(payload: bytes) -> Reply:
    """Why a message is not understood."""
    (reply,) = decoded(payload)
    assert isinstance(reply, Reply)
    assert reply.code == "bad_message"
    return reply


def said(data: Any) -> m.Message:
    """As the others in the room get it."""
    return m.Message("lobby", 1, 1, data=data)


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        {1: "a"},
        {None: "a"},
        {b"a": "a"},
        {(1, 2): "a"},
        [[{"a": {2: 3}}]],
        float("nan"),
        float("inf"),
        msgpack.ExtType(5, b"abc"),
        msgpack.Timestamp(5),
        msgpack.Timestamp(2**62),
        {"a": [msgpack.Timestamp(0)]},
        2**53,
        -(2**63),
        2**64 - 1,
    ],
)
@pytest.mark.parametrize("command", [{"type": "publish", "room": "a"}, {"type": "call", "method": "a"}])
def test_what_json_cannot_say_is_no_data(data: Any, command: dict[str, Any]) -> None:
    """Bytes, extensions, times, keys that are no strings, numbers that not every language holds."""
    refused = refusal(msgpack.packb({**command, "id": 3, "data": data}))
    assert (refused.field, refused.command, refused.id) == ("data", command["type"], 3)
    assert refused.reason.startswith("data: expected what JSON can say")


INTEGERS = st.integers(-(2**63), 2**64 - 1)
ANYTHING = st.recursive(
    DATA | INTEGERS | st.floats() | st.binary(max_size=8) | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INTEGERS | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(ANYTHING)
def test_data_is_what_every_codec_can_encode_or_refused(data: Any) -> None:
    """Whatever MessagePack can say, and whatever it is nested in."""
    (result,) = decoded(msgpack.packb({"type": "call", "method": "a", "data": data}, datetime=True))
    if isinstance(result, Reply):
        assert result.field == "data"
        assert not is_json(data)
    else:
        assert all(known.encode_event(m.Result(data=data)) or known.is_text for known in CODECS.values())
        assert JsonCodec().decode_events(JsonCodec().encode_entry(said(data))) == [said(data)]


@pytest.mark.parametrize("map_key", [b"\x80", b"\x81\x01\x02", b"\x91\x80"])
def test_a_key_that_is_a_map_is_refused(map_key: bytes) -> None:
    """Python could not even hold it."""
    payload = msgpack.packb({"type": "call", "method": "a", "data": 1})[:-1] + b"\x81" + map_key + b"\x01"
    assert refusal(payload).field == "data"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"type": "leave", "room": b"a"}, "room"),
        ({"type": b"ping"}, "type"),
        ({"type": "ping", 1: 2}, None),
        ({"type": "ping", b"id": 2}, None),
        ({"type": "leave", "room": msgpack.ExtType(1, b"a")}, "room"),
        ({"type": "resume", "token": "t", "rooms": {1: {"epoch": "e", "offset": 1}}}, "rooms"),
        ({"type": "ping", "id": 2**64 - 1}, "id"),
        ({"type": "ping", "id": msgpack.Timestamp(1)}, "id"),
    ],
)
def test_a_field_of_a_kind_that_json_has_not_is_refused(value: Any, field: str | None) -> None:
    """Bytes are no string, though some libraries pack strings so."""
    assert refusal(msgpack.packb(value)).field == field


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
@pytest.mark.parametrize("field", ["room", "text", "key", "data"])
def test_text_is_utf8_without_lone_surrogates(text: bytes, field: str) -> None:
    """Nobody could be sent it."""
    value = {"type": "publish", "id": 1, "room": "a", field: "."}
    head = msgpack.packb({**value, field: "."}, use_bin_type=True)
    refused = refusal(head.replace(b"\xa1.", bytes((0xA0 + len(text),)) + text))
    assert (refused.reason, refused.command, refused.id) == ("expected text in UTF-8", "publish", 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        PING[:-1],
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x0f\xff\xff\xff" * 2,
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff",
    ],
)
def test_what_is_no_value_is_refused(payload: bytes) -> None:
    """Cut short, or promising gigabytes."""
    assert refusal(payload).field is None
    assert [type(result) for result in decoded(PING + PING + payload)] == [m.Ping, m.Ping, Reply]


def test_nothing_after_what_is_no_value_can_be_read() -> None:
    """There is no telling where the next map begins, so that one refusal stands for the rest."""
    assert [type(result) for result in decoded(PING + b"\xc1" + PING)] == [m.Ping, Reply]


def test_an_unknown_field_may_be_anything() -> None:
    """It is skipped, and what follows is read."""
    longer = msgpack.packb({"type": "ping", "x": [b"1", msgpack.ExtType(1, b""), {1: 2}], "id": 2})
    assert decoded(longer + PING) == [m.Ping(id=2), m.Ping()]


@pytest.mark.parametrize("payload", [PING, b"", b'{"type":"ping"}', b"\xff"])
def test_a_text_message_ends_the_connection(payload: bytes) -> None:
    """Whoever sends one speaks another protocol."""
    with pytest.raises(Disconnect) as ended:
        codec.decode(payload, False)
    assert ended.value.code == Close.WRONG_TYPE


@given(st.lists(ANY_EVENT, min_size=1, max_size=4))
def test_events_are_maps_of_one_binary_message(events: list[m.Event]) -> None:
    """Another library reads them one after another."""
    payloads = [payload for event in events for payload in codec.encode_event(event)]
    (frame,) = frames_of(codec.frame(payloads))
    assert frame.opcode == BINARY
    unpacker = msgpack.Unpacker()
    unpacker.feed(frame.payload)
    maps = list(unpacker)
    assert [value["type"] for value in maps] == [event.__struct_config__.tag for event in events]
    assert codec.decode_events(frame.payload) == events
