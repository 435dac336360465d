"""What JSON and MessagePack make of what is sent: a command that every codec can encode, or a refusal."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.codecs import CODECS
from aiochat.codecs.fields import MAX_LEVELS
from aiochat.codecs.structs import is_json
from aiochat.errors import Disconnect, Reply
from tests.strategies import ANY_COMMAND, COMMANDS, DATA, EVENTS
from tests.structs import BOTH, DEEP, JSON, MSGPACK, StructCodec, encoded, nested, together


def decoded(codec: StructCodec, payload: bytes) -> list[m.Command | Reply]:
    """What becomes of a message of the codec's own kind."""
    return list(codec.decode(payload, codec is MSGPACK))


def refusal(codec: StructCodec, payload: bytes) -> Reply:
    """Why a message is not understood."""
    (reply,) = decoded(codec, payload)
    assert isinstance(reply, Reply)
    return reply


def test_there_is_a_strategy_for_every_command_and_event() -> None:
    """What is added to the protocol is tested here without a thought."""
    assert set(COMMANDS) == set(m.COMMANDS)
    assert set(EVENTS) == set(m.EVENTS)


@BOTH
@given(commands=st.lists(ANY_COMMAND, min_size=1, max_size=4))
def test_commands_arrive_as_they_were_given(codec: StructCodec, commands: list[m.Command]) -> None:
    """One or several in a message, in their order, with every field."""
    assert decoded(codec, together(codec, *map(codec.encode_command, commands))) == commands


@BOTH
@given(payload=st.binary())
def test_arbitrary_bytes_are_refused_or_end_the_connection(codec: StructCodec, payload: bytes) -> None:
    """No bytes raise anything but what the connection answers."""
    try:
        results = decoded(codec, payload)
    except Disconnect:
        assert codec is JSON
        return
    assert all(isinstance(result, m.Command | Reply) for result in results)


@BOTH
@given(command=ANY_COMMAND, at=st.integers(0), junk=st.binary(max_size=6), cut=st.integers(0, 6))
def test_a_damaged_command_is_a_command_or_refused(
    codec: StructCodec, command: m.Command, at: int, junk: bytes, cut: int
) -> None:
    """Some bytes missing, some put in: it may still say something, and never raises anything of its own."""
    payload = codec.encode_command(command)
    at %= len(payload) + 1
    try:
        results = decoded(codec, payload[:at] + junk + payload[at + cut :])
    except Disconnect:
        assert codec is JSON
        return
    for result in results:
        if isinstance(result, Reply):
            assert result.code in {"bad_message", "unknown_type"}
        else:
            assert codec.encode_command(result)


@BOTH
@given(before=ANY_COMMAND, after=ANY_COMMAND)
def test_a_refusal_stands_in_the_place_of_its_command(codec: StructCodec, before: m.Command, after: m.Command) -> None:
    """The others of the same message go through, and the refusal says which one it is about."""
    bad = encoded(codec, {"type": "leave", "id": 7, "room": 7})
    first, refused, last = decoded(
        codec, together(codec, codec.encode_command(before), bad, codec.encode_command(after))
    )
    assert (first, last) == (before, after)
    assert isinstance(refused, Reply)
    assert (refused.code, refused.field, refused.command, refused.id) == ("bad_message", "room", "leave", 7)


@BOTH
@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        ({"type": "leave", "room": 1}, "room", "room: expected a string"),
        ({"type": "leave"}, "room", "room: expected a string, but it is missing"),
        ({"type": "leave", "room": None}, "room", "room: expected a string"),
        ({"room": "a"}, "type", "type: expected the name of a command, but it is missing"),
        ({"type": ["leave"]}, "type", "type: expected the name of a command"),
        ([], None, "expected an object with a type"),
        ("leave", None, "expected an object with a type"),
        ({"type": "ping", "id": 1.5}, "id", "id: expected a string of at most 64 characters or an integer within 2^53"),
        ({"type": "ping", "id": 2**53}, "id", "id: expected a string of at most 64 characters or an integer within 2"),
        ({"type": "ping", "id": "x" * 65}, "id", "id: expected a string of at most 64 characters"),
        ({"type": "join", "room": "a", "limit": 301}, "limit", "limit: expected an integer from 0 to 300"),
        ({"type": "join", "room": "a", "since": 1}, "since", "since: expected an object with epoch and offset"),
        ({"type": "join", "room": "a", "since": {"epoch": "e"}}, "since.offset", "since.offset: expected an integer"),
        ({"type": "join", "room": "a", "since": {"epoch": "e", "offset": -1}}, "since.offset", "since.offset: exp"),
        ({"type": "resume", "token": "t", "rooms": {"secret": 1}}, "rooms", "rooms: expected an object, each value an"),
        ({"type": "resume", "token": "t", "rooms": {"secret": {"epoch": 1}}}, "rooms.epoch", "rooms.epoch: expected"),
        ({"type": "publish", "room": "a", "key": "1234567"}, "key", "key: expected a string of 8 to 64 characters"),
        ({"type": "publish", "room": "a", "data": [2**53]}, "data", "data: expected what JSON can say"),
        ({"type": "direct", "data": {"a": -(2**63)}}, "data", "data: expected what JSON can say"),
        ({"type": "call", "method": "a", "data": 2**64 - 1}, "data", "data: expected what JSON can say"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_takes(
    codec: StructCodec, value: Any, field: str | None, reason: str
) -> None:
    """Whoever writes a client reads what to change."""
    refused = refusal(codec, encoded(codec, value))
    assert (refused.code, refused.field) == ("bad_message", field)
    assert refused.reason.startswith(reason)


@BOTH
@pytest.mark.parametrize("tag", ["help", "quit", "message", "", "PING", "x" * 1000])
def test_an_unknown_command_is_no_abuse(codec: StructCodec, tag: str) -> None:
    """It may come of a newer client: its own code, with the id, and without what it said."""
    refused = refusal(codec, encoded(codec, {"type": tag, "id": "mine", "room": 3}))
    assert (refused.code, refused.field, refused.command, refused.id) == ("unknown_type", "type", None, "mine")
    assert refused.reason == "there is no command of this type"


@BOTH
def test_unknown_fields_are_ignored(codec: StructCodec) -> None:
    """Which is how version 1 grows; and null is absent."""
    value: dict[str, Any] = {
        "mood": {"deep": [1, None, {}]},
        "type": "ping",
        "id": None,
        "x": 2**70 if codec is JSON else b"\xff",
    }
    assert decoded(codec, encoded(codec, value)) == [m.Ping()]


@BOTH
@given(st.text(st.characters(min_codepoint=128, exclude_categories=["Cs"]), min_size=1))
def test_a_refusal_never_repeats_what_was_sent(codec: StructCodec, secret: str) -> None:
    """Neither values nor keys, wherever they stand: a refusal may be logged, or shown to others."""
    values: tuple[Any, ...] = (
        {"type": secret},
        {"type": "leave", "room": [secret]},
        {"type": "resume", "token": "t", "rooms": {secret: secret}},
        {"type": "resume", "token": "t", "rooms": {secret: {secret: secret}}},
        {"type": "publish", "room": "a", "data": {secret: 2**60}},
        [secret],
        secret,
    )
    for value in values:
        refused = refusal(codec, encoded(codec, value))
        assert secret not in f"{refused.reason} {refused.field} {refused.command} {refused.id}"


@BOTH
def test_nothing_at_all_is_no_command(codec: StructCodec) -> None:
    """An empty message is not a bad one."""
    assert decoded(codec, b"") == []


@BOTH
def test_a_message_full_of_commands_is_all_of_them(codec: StructCodec) -> None:
    """64 KiB of the smallest: thousands, in one go."""
    one = codec.encode_command(m.Ping())
    count = 65536 // (len(one) + 1)
    assert decoded(codec, together(codec, *[one] * count)) == [m.Ping()] * count


@BOTH
@pytest.mark.parametrize("bad", [1, {"type": ""}])
def test_a_message_full_of_rubbish_is_not_read_to_its_end(codec: StructCodec, bad: Any) -> None:
    """65,536 refusals would keep everybody waiting; the last one says that what follows was not read."""
    one = encoded(codec, bad)
    *refused, last = decoded(codec, together(codec, codec.encode_command(m.Ping()), *[one] * 5000))
    assert refused[0] == m.Ping()
    assert 20 <= len(refused) < 200
    assert isinstance(last, Reply)
    assert (last.code, last.field) == ("too_long", None)


@BOTH
def test_many_refusals_do_not_end_a_message_that_holds_no_more(codec: StructCodec) -> None:
    """The bound is on what is refused, and what is within it is read to the end."""
    bad, good = encoded(codec, {"type": ""}), codec.encode_command(m.Ping())
    results = decoded(codec, together(codec, *[bad, good] * 99, good))
    assert [type(result) for result in results] == [Reply, m.Ping] * 99 + [m.Ping]


# What `data` may be.


@BOTH
@given(command=ANY_COMMAND)
def test_what_one_codec_decodes_every_codec_encodes(codec: StructCodec, command: m.Command) -> None:
    """A message that one client may send cannot fail for those who are to get it."""
    (received,) = decoded(codec, codec.encode_command(command))
    assert isinstance(received, m.Command)
    data = getattr(received, "data", None)
    message = m.Message("lobby", 1, 1, m.Sender("c"), getattr(received, "text", None), data)
    for other in (JSON, MSGPACK):
        assert other.decode_events(other.encode_entry(message)) == [message]
        assert decoded(other, other.encode_command(received)) == [received]
    for known in CODECS.values():
        assert isinstance(known.encode_entry(message), bytes)


@BOTH
@given(payload=st.binary(max_size=40))
def test_arbitrary_data_is_refused_or_encoded_by_every_codec(codec: StructCodec, payload: bytes) -> None:
    """Any value of the format in the place of `data`, and what is no value at all."""
    head = encoded(codec, {"type": "publish", "room": "a", "data": 1})
    try:
        results = decoded(codec, head[:-2] + payload + b"}" if codec is JSON else head[:-1] + payload)
    except Disconnect:
        assert codec is JSON
        return
    for result in results:
        if isinstance(result, m.Publish):
            message = m.Message("a", 1, 1, None, result.text, result.data)
            assert all(known.encode_entry(message) or result.data is None for known in CODECS.values())


@BOTH
@pytest.mark.parametrize("levels", [MAX_LEVELS, MAX_LEVELS + 1, DEEP])
def test_data_has_32_levels(codec: StructCodec, levels: int) -> None:
    """Not one more, and what is far deeper harms nobody."""
    (result,) = decoded(codec, nested(codec, {"type": "publish", "room": "a", "data": 1}, levels))
    if levels <= MAX_LEVELS:
        assert isinstance(result, m.Publish)
    else:
        assert isinstance(result, Reply)
        assert (result.code, result.field) == ("bad_message", "data")


@given(DATA)
def test_what_json_can_say_is_data(data: Any) -> None:
    """Nothing is refused that it can say."""
    assert is_json(data)


@pytest.mark.parametrize(
    "data",
    [b"x", 2**53, -(2**53), math.nan, math.inf, -math.inf, {1: 1}, {None: 1}, {"a": [{}, {b"b": 1}]}, (1,), {"a"}, 1j],
)
def test_anything_else_is_not(data: Any) -> None:
    """At the top or within."""
    assert not is_json(data)
    assert not is_json([1, "a", {"b": data}])
