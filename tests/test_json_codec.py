"""What is JSON's own: text messages, lines, and what its syntax lets in."""

import json

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


def sendable(reply: Reply) -> bool:
    """Whether the event that is made of it is text."""
    event = m.Error(code=reply.code, reason=reply.reason, field=reply.field, command=reply.command, id=reply.id)
    return bool(codec.encode_event(event))


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
        (b'{"type":"call","method":"m","data":nan}', "expected a JSON object: invalid character (byte 39)"),
        (b'{"type":"call","method":"m","data":-inf}', "expected a JSON object: invalid character (byte 36)"),
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


UNICODE = "expected Unicode without lone surrogates, which are halves of a character"
NESTED = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize(
    ("payload", "field", "reason"),
    [
        (b'{"type":"publish","id":7,"room":"r","text":"\\ud83d"}', "text", f"text: {UNICODE}"),
        (b'{"type":"publish","text":"\\ud83d","id":7,"room":"r"}', "text", f"text: {UNICODE}"),
        (b'{\n "type":"publish",\n "id":7,\n "text":"\\ud83d"\n}', "text", f"text: {UNICODE}"),
        (b'{"type":"publish","id":7,"room":7,"text":"\\ud83d"}', "text", f"text: {UNICODE}"),
        (b'{"type":"publish","id":7,"data":[1180591620717411303424,"\\udc00"]}', "data", f"data: {UNICODE}"),
        (b'{"type":"publish","id":7,"data":{"\\ud83d":1}}', "data", f"data: {UNICODE}"),
        (b'{"type":"publish","id":7,"mood":"\\ud83d"}', None, UNICODE),
        (b'{"type":"publish","id":7,"\\ud83d":""}', None, UNICODE),
        (b'{"type":"publish","id":7,"data":NaN}', "data", "data: expected what JSON can say: "),
        (b'{"type":"publish","id":7,"data":{"a":[-Infinity]}}', "data", "data: expected what JSON can say: "),
        (b'{"type":"publish","id":7,"text":Infinity}', "text", "text: expected a string"),
        (b'{"type":"publish","id":7,"mood":NaN}', None, "expected what JSON can say: "),
    ],
)
def test_what_is_malformed_only_within_a_field_is_refused_with_its_id(
    payload: bytes, field: str | None, reason: str
) -> None:
    """JavaScript escapes an emoji cut in half like this, and a client that waits for the answer has to get it."""
    (reply,) = codec.decode(payload, False)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.command, reply.id, reply.field) == ("bad_message", "publish", 7, field)
    assert reply.reason.startswith(reason)


@pytest.mark.parametrize(
    ("payload", "code", "field", "id"),
    [
        (b'{"type":"ping","id":"\\ud83d"}', "bad_message", "id", None),
        (b'{"type":"\\ud83d","id":7}', "bad_message", "type", 7),
        (b'{"type":NaN,"id":7}', "bad_message", "type", 7),
        (b'{"id":7,"text":"\\ud83d"}', "bad_message", None, 7),
        (b'{"type":"ping","id":NaN}', "bad_message", "id", None),
        (b'{"type":"future","id":7,"text":"\\ud83d"}', "unknown_type", "type", 7),
        (b'{"type":"publish","id":7,"text":"\\ud83d","data":%s}' % NESTED, "bad_message", None, None),
        (b'{"type":"publish","id":7,"data":%s,"text":"\\ud83d"}' % NESTED, "bad_message", "data", None),
    ],
)
def test_a_refusal_has_no_half_of_a_character_itself(
    payload: bytes, code: str, field: str | None, id: int | None
) -> None:
    """Whatever it names can be sent."""
    (reply,) = codec.decode(payload, False)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.field, reply.id) == (code, field, id)
    assert sendable(reply)


def test_a_lone_surrogate_spoils_one_line_of_several() -> None:
    """The commands around it go through, and it is the one with the id that is refused."""
    before, refusal, after = codec.decode(
        b'{"type":"ping","id":1}\n{"type":"leave","id":2,"room":"\\ud83d"}\n{"type":"ping","id":3}', False
    )
    assert (before, after) == (m.Ping(id=1), m.Ping(id=3))
    assert isinstance(refusal, Reply)
    assert (refusal.command, refusal.id, refusal.field) == ("leave", 2, "room")


JSON_LIKE = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["publish", "call", "ping", "\ud83d"])},
        optional=dict.fromkeys(("id", "room", "text", "data", "method", "mood"), JSON_LIKE),
    )
)
def test_whatever_python_writes_as_json_is_a_command_or_refused(value: dict[str, object]) -> None:
    """With lone surrogates and NaN anywhere: what is refused can be told, what is taken can be encoded."""
    (result,) = codec.decode(json.dumps(value).encode(), False)
    if isinstance(result, Reply):
        assert sendable(result)
    else:
        assert isinstance(result, m.Command)
        assert codec.encode_command(result)


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
