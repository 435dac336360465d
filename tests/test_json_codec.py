"""What is JSON's own: text messages, lines, and what its syntax lets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.codecs.json import JsonCodec
from aiochat.errors import Close, Disconnect, Reply
from tests.strategies import ANY_EVENT
from tests.wire import TEXT, frames_of

codec = JsonCodec()
PING = m.Ping()


def refused(payload: bytes) -> str:
    """Why a message is not understood."""
    (reply,) = codec.decode(payload, False)
    assert isinstance(reply, Reply)
    assert reply.code == "bad_message"
    return reply.reason


@pytest.mark.parametrize(
    ("payload", "commands"),
    [
        (b'{"type":"ping"}', [PING]),
        (b' {"type":"ping"}\r\n', [PING]),
        (b'{\n  "type": "ping",\n  "id": 1\n}\n', [m.Ping(id=1)]),
        (b'{"type":"ping"}\n{"type":"ping","id":2}', [PING, m.Ping(id=2)]),
        (b'\n\n{"type":"ping"}\r\n \t\r\n{"type":"ping"}\n\n', [PING, PING]),
        (b'{"id":"\\u00fc","type":"ping"}', [m.Ping(id="ü")]),
        (b'{"type":"leave","room":"a\\nb"}', [m.Leave(room="a\nb")]),
        ('{"type":"leave","room":"\u2028 \x85"}'.encode(), [m.Leave(room="\u2028 \x85")]),
        (b" \n \r\n", []),
    ],
)
def test_one_object_or_several_lines(payload: bytes, commands: list[m.Command]) -> None:
    """Pretty-printed or compact; only a line feed separates, and blank lines say nothing."""
    assert list(codec.decode(payload, False)) == commands


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"hello", "expected a JSON object: invalid character (byte 0)"),
        (b'{"type":"ping"', "expected a JSON object: input data was truncated"),
        (b'{"type":"ping",}', "expected a JSON object: trailing comma in object (byte 15)"),
        (b'{"type":"ping"} {"type":"ping"}', "expected a JSON object: trailing characters"),
        (b'[{"type":"ping"}]', "expected an object with a type"),
        (b'{"type":"call","method":"m","data":NaN}', "expected a JSON object: invalid character (byte 35)"),
        (b'{"type":"call","method":"m","data":-Infinity}', "expected a JSON object: invalid character (byte 36)"),
        (b'\xef\xbb\xbf{"type":"ping"}', "expected a JSON object: invalid character (byte 0)"),
    ],
)
def test_what_is_not_json_is_told_where(payload: bytes, why: str) -> None:
    """The byte is the first that cannot be."""
    assert refused(payload).startswith(why)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9007199254740992", b"1" + b"0" * 100, b"9" * 60_000])
def test_a_number_that_others_cannot_hold_is_refused(number: bytes) -> None:
    """However long it is, and at no cost."""
    assert refused(b'{"type":"call","method":"m","data":' + number + b"}").startswith("data: expected what JSON can")


@pytest.mark.parametrize(
    "field", [b'"room":"%s"', b'"room":"a","text":"%s"', b'"room":"a","data":{"%s":1}', b'"x":"%s"']
)
@pytest.mark.parametrize("surrogate", [b"\\ud800", b"\\udfff", b"\\ud800\\u0041", b"\\udc00\\ud800", b"\\uD83Dx"])
def test_lone_surrogates_are_refused(field: bytes, surrogate: bytes) -> None:
    """They are no text: UTF-8 has no bytes for them."""
    assert refused(b'{"type":"publish",' + field % surrogate + b"}")


def test_surrogate_pairs_are_characters() -> None:
    """As the standard has it."""
    (command,) = codec.decode(b'{"type":"leave","room":"\\ud83d\\ude00"}', False)
    assert command == m.Leave(room="😀")


def test_of_two_equal_keys_the_last_counts() -> None:
    """But nobody can be two commands."""
    (command,) = codec.decode(b'{"type":"leave","room":"a","room":"b"}', False)
    assert command == m.Leave(room="b")
    assert refused(b'{"type":"leave","type":"ping","room":"a"}') == "type: expected the name of a command"


@pytest.mark.parametrize("payload", [b'{"type":"ping"}', b"", b"\xff"])
def test_a_binary_message_ends_the_connection(payload: bytes) -> None:
    """Whoever sends one speaks another protocol."""
    with pytest.raises(Disconnect) as ended:
        codec.decode(payload, True)
    assert ended.value.code == Close.WRONG_TYPE


@pytest.mark.parametrize("payload", [b"\xff", b'{"type":"ping","x":"\xff"}', b'{"type":"leave","room":"\xed\xa0\x80"}'])
def test_what_is_not_utf8_ends_the_connection(payload: bytes) -> None:
    """Wherever it stands: RFC 6455 section 8.1."""
    with pytest.raises(Disconnect) as ended:
        codec.decode(payload, False)
    assert ended.value.code == Close.NOT_UTF8


@given(st.lists(ANY_EVENT, min_size=1, max_size=4))
def test_events_are_lines_of_one_text_message(events: list[m.Event]) -> None:
    """No line feed within an object, so that a client may split before it parses; a browser gives it a string."""
    payloads = [payload for event in events for payload in codec.encode_event(event)]
    (frame,) = frames_of(codec.frame(payloads))
    assert frame.opcode == TEXT
    assert frame.payload.split(b"\n") == payloads
    assert codec.decode_events(frame.payload.decode()) == events
