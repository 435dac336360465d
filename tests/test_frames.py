"""Frames as RFC 6455 wants them, read back by a parser that knows nothing of the one that wrote them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.frames import TEXT, close_frame, frame, may_be_received, ping_frame, pong_frame, text_frames
from tests import wire

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]  # both sides of where the header grows


@pytest.mark.parametrize("length", LENGTHS)
def test_a_frame_holds_its_payload(length: int) -> None:
    """Each of the three forms of the length field is the shortest that fits."""
    assert wire.frames_of(frame(TEXT, b"x" * length)) == [wire.Frame(wire.TEXT, b"x" * length)]


@pytest.mark.parametrize("length", LENGTHS)
def test_each_payload_is_a_text_message_of_its_own(length: int) -> None:
    """Long and short messages stand side by side in one write."""
    payloads = [b"before", b"x" * length, b"after"]
    assert wire.frames_of(text_frames(payloads)) == [wire.Frame(wire.TEXT, payload) for payload in payloads]


@given(st.lists(st.binary(max_size=300)))
def test_messages_keep_their_number_and_order(payloads: list[bytes]) -> None:
    """What goes into a batch comes out of it, empty messages too."""
    assert wire.frames_of(text_frames(payloads)) == [wire.Frame(wire.TEXT, payload) for payload in payloads]


def test_a_ping_asks_without_a_payload() -> None:
    """Any byte in return counts as life."""
    assert wire.frames_of(ping_frame()) == [wire.Frame(wire.PING, b"")]


@given(st.binary(max_size=125))
def test_a_pong_returns_the_payload_of_the_ping(payload: bytes) -> None:
    """RFC 6455 section 5.5.3: identical application data."""
    assert wire.frames_of(pong_frame(payload)) == [wire.Frame(wire.PONG, payload)]


@given(st.integers(1000, 4999), st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_close_says_why_in_whole_characters(code: int, reason: str) -> None:
    """A reason is cut where a control frame ends, and never within a character."""
    (close,) = wire.frames_of(close_frame(code, reason))
    told = close.payload[2:].decode()
    assert (close.opcode, close.code) == (wire.CLOSE, code)
    assert reason.startswith(told)
    assert told == reason or len(told.encode()) >= 120


@pytest.mark.parametrize(
    ("reason", "told"), [("x" * 200, "x" * 123), ("ä" * 100, "ä" * 61), ("\u20ac" * 41, "\u20ac" * 41)]
)
def test_a_close_reason_is_as_long_as_a_control_frame_allows(reason: str, told: str) -> None:
    """123 bytes (RFC 6455 section 5.5)."""
    assert wire.frames_of(close_frame(1000, reason)) == [wire.Frame(wire.CLOSE, b"\x03\xe8" + told.encode())]


def test_a_close_reason_that_is_no_utf8_is_still_sent() -> None:
    """A lone surrogate costs the character, not the Close."""
    assert wire.frames_of(close_frame(1000, "a\ud800b")) == [wire.Frame(wire.CLOSE, b"\x03\xe8a?b")]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
def test_codes_a_peer_may_send(code: int) -> None:
    """Those of the RFC, of its registry, and private ones."""
    assert may_be_received(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000, 65_535])
def test_codes_that_never_travel(code: int) -> None:
    """RFC 6455 section 7.4.1 reserves some for the near side of the connection; above 4999 nothing is defined."""
    assert not may_be_received(code)
