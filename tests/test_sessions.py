"""Session tokens: what was put in comes out, for as long as it is said, and nothing else comes out ever."""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.auth.sessions import Claims, Sessions

SECRET = os.urandom(32)

texts = st.text(max_size=40)
claims = st.builds(
    Claims, texts, st.none() | texts, st.none() | texts, st.dictionaries(texts, texts, max_size=5)
)  # all that a server may ever put in


class Clock:
    """What `time.time` says, in seconds since 1970."""

    now = 1e9

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The wall clock of `sessions`."""
    clock = Clock()
    monkeypatch.setattr("aiochat.auth.sessions.time", clock)
    return clock


@given(claims)
def test_a_token_says_what_was_put_in(said: Claims) -> None:
    """Also to a server that has started since, with the same secret."""
    token = Sessions(SECRET, 10).token(said)
    assert Sessions(SECRET, 99).read(token) == said
    assert token.isascii()


@given(claims, st.binary(min_size=1, max_size=64))
def test_a_token_of_another_secret_says_nothing(said: Claims, secret: bytes) -> None:
    """Whatever the secret."""
    assert Sessions(SECRET, 10).read(Sessions(secret, 10).token(said)) is None


@given(st.text() | st.binary().map(lambda data: urlsafe_b64encode(data).decode()))
def test_nothing_that_was_not_made_here_passes(token: str) -> None:
    """No text raises, and none is a session."""
    assert Sessions(SECRET, 10).read(token) is None


@given(claims, st.data())
def test_no_bit_of_a_token_can_be_changed(said: Claims, data: st.DataObject) -> None:
    """Neither of what it says nor of its signature; nor can it be cut or lengthened."""
    sessions = Sessions(SECRET, 10)
    signed = bytearray(urlsafe_b64decode(sessions.token(said)))
    original = bytes(signed)
    change = data.draw(st.sampled_from(["flip", "cut", "lengthen"]))
    if change == "flip":
        bit = data.draw(st.integers(0, len(signed) * 8 - 1))
        signed[bit // 8] ^= 1 << bit % 8
    elif change == "cut":
        signed = signed[: data.draw(st.integers(0, len(signed) - 1))]
    else:
        signed += data.draw(st.binary(min_size=1, max_size=40))
    assert bytes(signed) != original
    assert sessions.read(urlsafe_b64encode(signed).decode()) is None


def test_a_token_expires_after_its_minutes(clock: Clock) -> None:
    """To the second, and whatever is set at the server that reads it."""
    token = Sessions(SECRET, 10).token(Claims("c1"))
    clock.now += 599
    assert Sessions(SECRET, 1).read(token) == Claims("c1")
    clock.now += 2
    assert Sessions(SECRET, 60).read(token) is None


def test_what_is_signed_for_another_purpose_is_no_session() -> None:
    """Even with the same secret, and though it says the same."""
    payload = urlsafe_b64decode(Sessions(SECRET, 10).token(Claims("c1")))[:-32]
    signed = payload + hmac.digest(SECRET, b"something else:" + payload, "sha256")
    assert Sessions(SECRET, 10).read(urlsafe_b64encode(signed).decode()) is None


def test_what_another_version_signed_is_no_session() -> None:
    """It is refused like any other, and nothing raises."""
    sessions = Sessions(SECRET, 10)
    for payload in (b"", b"\xc1", msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode([1, 2])):
        signed = payload + sessions._mac(payload)
        assert sessions.read(urlsafe_b64encode(signed).decode()) is None
