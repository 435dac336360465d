"""The text codec: what a line means, and what each event looks like."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.codecs.text import TextCodec, clean
from aiochat.errors import Close, Disconnect, Reply
from tests.strategies import EVENTS, MESSAGES, ROOM_NAMES
from tests.wire import TEXT, Frame, frames_of

codec = TextCodec()
ALICE = m.Sender("c1", "alice")
GUEST = m.Sender("c2")


def said(text: str | None, sender: m.Sender = ALICE, data: Any = None) -> m.Message:
    """A message in the kitchen."""
    return m.Message("kitchen", 1, 0, sender, text, data)


def lines(event: m.Event) -> list[str]:
    """What a text client sees of an event."""
    return [line.decode() for line in codec.encode_event(event)]


def is_one_harmless_line(line: str) -> bool:
    """No break, no control character and no bidi override: it stays on its line and drives nobody's terminal."""
    kinds = {unicodedata.category(character) for character in line}
    overrides = {character for character in line if unicodedata.bidirectional(character) in {"LRO", "RLO"}}
    return not kinds & {"Cc", "Zl", "Zp"} and not overrides


def outcome(payload: bytes) -> m.Command | Reply | Disconnect | None:
    """What becomes of a WebSocket message."""
    try:
        return codec.decode(payload)
    except (Reply, Disconnect) as refused:
        return refused


def refusal(line: str) -> Reply:
    """Why a line is not understood."""
    refused = outcome(line.encode())
    assert isinstance(refused, Reply)
    return refused


# To the server.


@given(st.binary() | st.text().map(str.encode) | st.text().map(lambda text: b"/" + text.encode()))
def test_whatever_is_sent_is_a_command_or_refused(payload: bytes) -> None:
    """No bytes raise anything but what the hub and the connection answer; what is not UTF-8 ends the connection."""
    became = outcome(payload)
    if isinstance(became, Disconnect):
        assert became.code == Close.NOT_UTF8
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
    elif isinstance(became, Reply):
        assert became.code in {"bad_message", "unknown_type"}
    else:
        assert became is None or isinstance(became, m.Command)


@given(st.text() | st.text(st.sampled_from("ab \t\r\n\0\x1b\x85\u2028\u202e")))
def test_a_line_is_published_as_one_harmless_line(text: str) -> None:
    """Whatever is typed or pasted, others see one line of it, trimmed; nothing but space is ignored."""
    command = outcome(text.encode())
    assert (command is None) == (not text.strip())
    if isinstance(command, m.Publish):
        assert command.text
        assert is_one_harmless_line(command.text)
        assert command.text == command.text.strip()


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/"), min_size=1))
def test_a_plain_line_is_published_as_it_came(text: str) -> None:
    """What can be seen is not touched."""
    assert codec.decode(text.encode()) == m.Publish(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\nb", "a b"),
        ("a\r\nb", "a b"),
        ("a\n\nb", "a  b"),
        ("a\tb", "a b"),
        ("a\x85b\u2028c\u2029d", "a b c d"),
        ("a\x00b\x1b[2Jc", "a\ufffdb\ufffd[2Jc"),
        ("a\u202eb", "a\ufffdb"),
        ("a\u200db", "a\u200db"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_breaks_become_spaces_and_control_characters_are_replaced(text: str, cleaned: str) -> None:
    """Joiners, which many scripts and emoji need, and spaces of any width stay."""
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("hello", m.Publish("hello")),
        ("  hello \r\n", m.Publish("hello")),
        ("", None),
        (" \n ", None),
        ("//usr/bin", m.Publish("/usr/bin")),
        ("///", m.Publish("//")),
        ("/help", m.Help()),
        ("/HELP", m.Help()),
        ("/nick  Dr. Who ", m.Rename("Dr. Who")),
        ("/join kitchen", m.Join("kitchen")),
        ("/leave", m.Leave()),
        ("/rooms", m.Rooms()),
        ("/who", m.Who()),
        ("/me waves", m.Publish("waves", {"action": True})),
        ("/msg bob hi there", m.Direct("bob", "hi there")),
        ('/msg "Dr. Who"  hi there', m.Direct("Dr. Who", "hi there")),
        ('/msg "Dr. Who"hi', m.Direct("Dr. Who", "hi")),
        ("/msg bob\nhi", m.Direct("bob", "hi")),
        ("/history", m.History(20)),
        ("/history 300", m.History(300)),
        ("/quit", m.Quit()),
    ],
)
def test_what_a_line_means(line: str, command: m.Command | None) -> None:
    """A slash begins a command, in any case; two slashes say one."""
    assert codec.decode(line.encode()) == command


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("/nick", "/nick NAME"),
        ("/join ", "/join ROOM"),
        ("/me", "/me ACTION"),
        ("/msg", "/msg NAME TEXT"),
        ("/msg bob", "/msg NAME TEXT"),
        ('/msg "Dr. Who"', "/msg NAME TEXT"),
        ('/msg "Dr. Who', "/msg NAME TEXT"),
        ('/msg "" hi', "/msg NAME TEXT"),
        ("/history 0", "from 1 to 300"),
        ("/history 301", "from 1 to 300"),
        ("/history -1", "from 1 to 300"),
        ("/history ten", "from 1 to 300"),
        ("/history \u0663", "from 1 to 300"),
        ("/history " + "9" * 5000, "from 1 to 300"),
    ],
)
def test_a_command_that_lacks_something_says_how_it_is_used(line: str, usage: str) -> None:
    """A wrong command is answered with the right one."""
    assert refusal(line).code == "bad_message"
    assert usage in refusal(line).reason


@pytest.mark.parametrize("line", ["/", "/ who", "/whois bob", "/" + "x" * 60_000])
def test_an_unknown_command_is_named_in_short(line: str) -> None:
    """Whoever mistypes is led to the list, and gets no 60,000 characters back."""
    assert refusal(line).code == "unknown_type"
    assert "/help lists them" in refusal(line).reason
    assert len(refusal(line).reason) < 100


# From the server.


@given(MESSAGES)
def test_a_message_is_one_harmless_line(message: m.Message) -> None:
    """Whatever another codec or the application put into it."""
    line = codec.encode_message(message).decode()
    assert is_one_harmless_line(line)
    assert message.sender.name is None or message.sender.name in line
    assert lines(message) == [line]


@given(EVENTS)
def test_an_event_is_harmless_lines(event: m.Event) -> None:
    """Each line is a WebSocket message of its own: clients of the tutorial never split."""
    payloads = codec.encode_event(event)
    assert payloads
    assert all(is_one_harmless_line(payload.decode()) for payload in payloads)
    assert frames_of(codec.frame(payloads)) == [Frame(TEXT, payload) for payload in payloads]


@given(ROOM_NAMES, st.lists(MESSAGES, max_size=5))
def test_messages_look_the_same_live_and_in_history(room: str, messages: list[m.Message]) -> None:
    """A page of history holds the very lines of its messages."""
    page = m.HistoryPage(room, "e", tuple(messages))
    assert codec.encode_event(page)[1:] == [codec.encode_message(message) for message in messages]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (said("hello"), ["alice: hello"]),
        (said("hello", GUEST), ["hello"]),
        (said("a\nb"), ["alice: a b"]),
        (said(None, data={"a": [1, None]}), ['alice: {"a":[1,null]}']),
        (said("waves", data={"action": True}), ["* alice waves"]),
        (said("waves", GUEST, {"action": True}), ["* guest-c2 waves"]),
        (m.Joined("kitchen", None, "e", 0, 1), ["* you are in kitchen; nobody else is here"]),
        (
            m.Joined("kitchen", "bob", "e", 1, 2, (said("hi"),)),
            ["alice: hi", "* you are in kitchen as bob; 1 other is here"],
        ),
        (m.Joined("kitchen", "bob", "e", 0, 3), ["* you are in kitchen as bob; 2 others are here"]),
        (m.Renamed("kitchen", "bob-2"), ["* you are bob-2 in kitchen"]),
        (m.Sent("bob", 1), ["* sent to bob"]),
        (m.DirectMessage("kitchen", ALICE, "psst"), ["* alice to you alone: psst"]),
        (m.DirectMessage("kitchen", GUEST, "a\rb"), ["* guest-c2 to you alone: a b"]),
        (m.HistoryPage("kitchen", "e", ()), ["* nothing was said in kitchen yet"]),
        (m.HistoryPage("kitchen", "e", (said("hi"),)), ["* the last 1 lines of kitchen:", "alice: hi"]),
        (m.Members("kitchen", 2, (ALICE, GUEST)), ["* 2 in kitchen: alice, guest-c2"]),
        (m.Members("kitchen", 500, (ALICE,)), ["* 500 in kitchen: alice and 499 more"]),
        (m.RoomList(1, (m.RoomInfo("kitchen", 2),)), ["* kitchen (2)"]),
        (m.RoomList(9, (m.RoomInfo("kitchen", 2),)), ["* kitchen (2)", "* and 8 more rooms"]),
        (m.Error("unavailable", "the log is away", "publish", None, 1000), ["! not sent: the log is away, try again"]),
        (m.Error("bad_name", "that is no name"), ["! that is no name"]),
    ],
)
def test_what_an_event_looks_like(event: m.Event, shown: list[str]) -> None:
    """Notices begin with `* `, errors with `! `, and nothing decorates the lines of an unnamed client."""
    assert lines(event) == shown


def test_help_lists_every_command() -> None:
    """Each line of `/help` names a command that the codec understands, and none is left out."""
    listed = [line.split()[1].rstrip(".") for line in lines(m.HelpText())]
    for command in listed[:-1]:
        assert codec.decode(f'{command} "x" y'.encode() if command != "/history" else b"/history") is not None
    assert listed == [
        *("/nick", "/join", "/leave", "/rooms", "/who"),
        *("/msg", "/me", "/history", "/quit", "//"),
    ]
