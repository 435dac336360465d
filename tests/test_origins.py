"""Which browser pages may connect: what an origin is, which are the same, and what the log says of those refused."""

import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import assume, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import aiochat
from aiochat.config import load
from aiochat.errors import ConfigError
from aiochat.http.origins import Origins, parse_origin
from tests.hubs import QUIET

SAME = Origins(["same-origin"])

hosts = st.from_regex(r"[a-z0-9]{1,5}(\.[a-z0-9]{1,5}){0,2}|\[::[0-9a-f]{1,4}\]", fullmatch=True)
ports = st.none() | st.integers(0, 65535)


def written(scheme: str, host: str, port: int | None) -> str:
    """As in a header."""
    return f"{scheme}://{authority(host, port)}"


def authority(host: str, port: int | None) -> str:
    """As in `Host`."""
    return host if port is None else f"{host}:{port}"


def refused(origins: Origins, *headers: str) -> list[Any]:
    """What is logged of pages that may not connect."""
    with capture_logs() as lines:
        for header in headers:
            assert not origins.allow(header, "chat.example")
    return lines


# What an origin is.


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("https://chat.example", "https://chat.example"),
        ("HTTPS://Chat.Example:443", "https://chat.example"),
        ("http://chat.example:80", "http://chat.example"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("https://chat.example:8443", "https://chat.example:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("moz-extension://5c1b", "moz-extension://5c1b"),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, means: str) -> None:
    """Without case, and a port that is the scheme's own is none."""
    assert str(parse_origin(text)) == means


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "*", "chat.example", "https://", "https:chat.example", "//chat.example", "https://chat.example/"),
        *("https://chat.example/ws", "https://chat.example?x", "https://chat.example#x", "https://a@chat.example"),
        *("https://chat.example:", "https://chat.example:65536", "https://chat.example:-1", "https://chat.example:٣"),
        *("https://*.example", "https://b\u00fccher.example", "https://chat.example https://evil.example", "https://["),
        *("https://[::1", "https://[1.2.3.4.5]", "https://chat.example\n", " https://chat.example", "https://\x1b[2J"),
    ],
)
def test_whatever_else_is_none(text: str) -> None:
    """No path, no user, no list, no letters but ASCII's."""
    assert parse_origin(text) is None


@given(st.sampled_from(["http", "HTTPS", "a-b.c+d", ""]), hosts, ports, st.just("") | st.text(max_size=3))
def test_what_is_one_is_written_in_one_way(scheme: str, host: str, port: int | None, more: str) -> None:
    """Whatever a client sends, what is made of it reads as itself and holds no character that could do harm."""
    origin = parse_origin(written(scheme, host, port) + more)
    if not more and scheme:
        assert origin is not None
    if origin is None:
        return
    assert re.fullmatch(r"[a-z0-9+.-]+://[][a-z0-9.:_-]+", str(origin))
    assert parse_origin(str(origin)) == origin


# Which may connect.


@given(hosts, ports, st.sampled_from(["http", "https"]), st.booleans())
def test_the_same_origin_is_the_same_host_and_port(host: str, port: int | None, scheme: str, shouts: bool) -> None:
    """Whatever the case, and whether the port that goes without saying is said; the scheme is not looked at."""
    default = {"http": 80, "https": 443}[scheme]
    page, there = written(scheme, host, port), authority(host, port)
    assert SAME.allow(page.upper() if shouts else page, there.upper())
    if port in {None, default}:
        assert SAME.allow(page, authority(host, default))
        assert SAME.allow(written(scheme, host, default), host)


@given(hosts, hosts, ports, ports, st.sampled_from(["http", "https"]))
def test_any_other_host_or_port_is_refused(
    host: str, there: str, port: int | None, at: int | None, scheme: str
) -> None:
    """Neither a part of the name nor another port will do."""
    assume(parse_origin(written(scheme, host, port)) != parse_origin(written(scheme, there, at)))
    assert not Origins(["same-origin"]).allow(written(scheme, host, port), authority(there, at))


@pytest.mark.parametrize(
    "header",
    [
        *(
            "null",
            "",
            "https://chat.example.evil.example",
            "https://evilchat.example",
            "https://chat.example.",
            "garbage",
        ),
        *(
            "capacitor://chat.example",
            "https://chat.example, https://evil.example",
            "https://chat.example@evil.example",
        ),
    ],
)
def test_what_only_looks_like_it_is_refused(header: str) -> None:
    """No substring, no page without an origin, no scheme that is not the web's, no second header."""
    refused(Origins(["same-origin", "https://chat.example:8443"]), header)


def test_those_listed_are_compared_whole() -> None:
    """Scheme, host and port; and with `same-origin` not listed, the own page is like any other."""
    origins = Origins(["https://app.example", "http://127.0.0.1:3000"])
    for header in ("https://app.example", "https://APP.example:443", "http://127.0.0.1:3000"):
        assert origins.allow(header, "chat.example")
    for header in ("http://app.example", "https://app.example:444", "https://www.app.example", "https://chat.example"):
        assert not origins.allow(header, "chat.example")


@pytest.mark.parametrize("header", ["https://evil.example", "null", "garbage"])
def test_a_star_lets_in_every_page(header: str) -> None:
    """Even one without an origin: a page of any site could do what it may not."""
    assert Origins(["*"]).allow(header, "chat.example")


# What is said of it.


def test_a_refused_origin_is_logged_once_with_what_would_let_it_in() -> None:
    """The setting, to copy; it does what it says."""
    (line,) = refused(Origins(["same-origin"]), "HTTPS://App.Example", "https://app.example:443")
    assert (line["event"], line["origin"], line["log_level"]) == ("origin_refused", "https://app.example", "warning")
    assert line["remedy"] == 'security.allowed_origins = ["same-origin", "https://app.example"]'
    entries = load(flags={"security": {"allowed_origins": line["remedy"].partition(" = ")[2]}}).security.allowed_origins
    assert Origins(entries).allow("https://app.example", "chat.example")


def test_what_cannot_be_let_in_is_named_without_its_words() -> None:
    """`null`, and whatever is no origin, of which nothing reaches the log."""
    lines = refused(Origins(["same-origin"]), "null", "\x1b[2Jsecret", "https://a.example/\u202e", "null")
    assert [line["origin"] for line in lines] == ["null", "unreadable"]
    assert "secret" not in str(lines)


def test_the_log_does_not_grow_with_those_refused() -> None:
    """After a hundred it says that it falls silent."""
    lines = refused(Origins(["same-origin"]), *(f"https://a{number}.example" for number in range(200)))
    assert len(lines) == 101
    assert lines[-1]["event"] == "origins_refused"


@pytest.mark.parametrize(("entries", "said"), [(["*"], 1), (["same-origin"], 0)])
async def test_a_star_is_said_out_loud_at_the_start(entries: list[str], said: int) -> None:
    """Whoever set it for a try finds it in the log of every start."""
    app = web.Application()
    aiochat.setup(app, load(flags={**QUIET, "security": {"allowed_origins": entries}}))
    with capture_logs() as lines:
        async with TestServer(app):
            pass
    warnings = [line for line in lines if line["event"] == "any_origin_allowed"]
    assert [line["log_level"] for line in warnings] == ["warning"] * said


# What the setting takes.


@pytest.mark.parametrize(
    ("entry", "right"),
    [
        ("https://chat.example/", "https://chat.example"),
        ("chat.example", "https://chat.example"),
        ("chat.example:8443", "https://chat.example:8443"),
        ("wss://chat.example/ws", "https://chat.example"),
        ("ws://localhost:8080/ws", "http://localhost:8080"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://stra\u00dfe.example", "https://xn--strae-oqa.example"),
        ("https://*.example", "https://chat.example"),
        ("null", "https://chat.example"),
        ("", "https://chat.example"),
        ("a\nb", "https://chat.example"),
    ],
)
def test_an_entry_that_cannot_be_is_answered_with_one_that_can(entry: str, right: str) -> None:
    """In one line, at the start; names of other letters in the form that browsers send."""
    with pytest.raises(ConfigError) as error:
        load(flags={"security": {"allowed_origins": [entry]}})
    said = str(error.value)
    assert said.startswith("security.allowed_origins.0: got ")
    assert said.endswith(f'such as "{right}"')
    assert len(said.splitlines()) == 1


def test_entries_are_kept_in_the_form_that_is_compared() -> None:
    """`aiochat config` shows it."""
    entries = ["HTTPS://App.Example:443", "same-origin", "*"]
    config = load(flags={"security": {"allowed_origins": entries}})
    assert config.security.allowed_origins == ("https://app.example", "same-origin", "*")
