"""The text codec: what a line means, and what each event looks like."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.codecs.text import TextCodec, clean
from aiochat.errors import UNCONFIRMED, Close, Disconnect, Reply
from aiochat.messages import HERE
from tests.strategies import ANY_EVENT, ENTRIES, EVENTS, MESSAGES
from tests.wire import TEXT, Frame, frames_of

codec = TextCodec()
ALICE = m.Sender("c1", "alice")
GUEST = m.Sender("c2")


def said(text: str | None, sender: m.Sender | None = ALICE, data: Any = None) -> m.Message:
    """A message in the kitchen."""
    return m.Message("kitchen", 1, 0, sender, text, data)


def lines(event: m.Event) -> list[str]:
    """What a text client sees of an event."""
    return [line.decode() for line in codec.encode_event(event)]


def is_one_harmless_line(line: str) -> bool:
    """No break, no control character and nothing that turns the direction: it drives nobody's terminal."""
    kinds = {unicodedata.category(character) for character in line}
    directions = {unicodedata.bidirectional(character) for character in line}
    return not kinds & {"Cc", "Zl", "Zp"} and not directions & {
        *("LRO", "RLO", "LRE", "RLE", "PDF"),
        *("LRI", "RLI", "FSI", "PDI"),
    }


def page(*entries: m.Entry) -> m.HistoryPage:
    """A page of the kitchen's history."""
    return m.HistoryPage(room="kitchen", epoch="e", messages=entries, more=False)


def joined(members: int, name: str | None = None, *entries: m.Entry) -> m.Joined:
    """What is told who comes into the kitchen."""
    return m.Joined(room="kitchen", name=name, epoch="e", offset=0, members=members, messages=entries)


def presence(**changes: Any) -> m.Presence:
    """Who came, went and was renamed in the kitchen."""
    return m.Presence(room="kitchen", members=3, **changes)


def outcome(payload: bytes) -> m.Command | Reply | Disconnect | None:
    """What becomes of a WebSocket message, which is the same in a text and a binary one."""
    try:
        results = codec.decode(payload, False)
    except Disconnect as ended:
        return ended
    assert list(codec.decode(payload, True)) == list(results) or isinstance(results[0], Reply)
    (result,) = results or (None,)
    return result


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
    assert outcome(text.encode()) == m.Publish(room=HERE, text=text)


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
        ("a\u2066b\u2067c\u2068d\u2069e", "a\ufffdb\ufffdc\ufffdd\ufffde"),
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
        ("hello", m.Publish(room=HERE, text="hello")),
        ("  hello \r\n", m.Publish(room=HERE, text="hello")),
        ("", None),
        (" \n ", None),
        ("//usr/bin", m.Publish(room=HERE, text="/usr/bin")),
        ("///", m.Publish(room=HERE, text="//")),
        ("/help", m.Help()),
        ("/HELP", m.Help()),
        ("/nick  Dr. Who ", m.Rename(room=HERE, name="Dr. Who")),
        ("/join kitchen", m.Join(room="kitchen")),
        ("/leave", m.Leave(room=HERE)),
        ("/rooms", m.Rooms()),
        ("/who", m.Who(room=HERE)),
        ("/me waves", m.Publish(room=HERE, text="waves", data={"action": True})),
        ("/msg bob hi there", m.Direct(room=HERE, name="bob", text="hi there")),
        ('/msg "Dr. Who"  hi there', m.Direct(room=HERE, name="Dr. Who", text="hi there")),
        ('/msg "Dr. Who"hi', m.Direct(room=HERE, name="Dr. Who", text="hi")),
        ("/msg bob\nhi", m.Direct(room=HERE, name="bob", text="hi")),
        ("/history", m.History(room=HERE, limit=20)),
        ("/history 300", m.History(room=HERE, limit=300)),
        ("/quit", m.Quit()),
    ],
)
def test_what_a_line_means(line: str, command: m.Command | None) -> None:
    """A slash begins a command, in any case; two slashes say one."""
    assert outcome(line.encode()) == command


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


@given(ENTRIES)
def test_an_entry_is_one_harmless_line(entry: m.Entry) -> None:
    """Whatever another codec or the application put into it; an erasure is not shown."""
    line = codec.encode_entry(entry).decode()
    assert is_one_harmless_line(line)
    if isinstance(entry, m.Message):
        assert lines(entry) == [line]
        assert entry.sender is None or entry.sender.name is None or entry.sender.name in line
    else:
        assert line == ""
        assert lines(entry) == []


@given(ANY_EVENT | st.just(m.HelpText()))
def test_an_event_is_harmless_lines(event: m.Event) -> None:
    """Each line is a WebSocket message of its own: clients of the tutorial never split."""
    payloads = list(codec.encode_event(event))
    assert all(is_one_harmless_line(payload.decode()) for payload in payloads)
    assert frames_of(codec.frame(payloads)) == [Frame(TEXT, payload) for payload in payloads]


@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_messages_look_the_same_live_and_in_history(messages: list[m.Message]) -> None:
    """A page of history holds the very lines of its messages."""
    assert list(codec.encode_event(page(*messages)))[1:] == [codec.encode_entry(message) for message in messages]


ERASED = m.Message("kitchen", 1, 0, erased=True)
ERASURE = m.Erased("kitchen", 2, 0, 1)
MANY = tuple(m.Sender(f"c{number}", f"n{number}") for number in range(12))


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (said("hello"), ["alice: hello"]),
        (said("hello", GUEST), ["hello"]),
        (said("hello", None), ["hello"]),
        (said("a\nb"), ["alice: a b"]),
        (said(None, data={"a": [1, None]}), ['alice: {"a":[1,null]}']),
        (said("", data={"a": "b"}), ['alice: {"a":"b"}']),
        (said(None, None, data=[1]), ["[1]"]),
        (said("look", data={"a": 1}), ["alice: look"]),
        (said("waves", data={"action": True}), ["* alice waves"]),
        (said("waves", GUEST, {"action": True}), ["* guest-c2 waves"]),
        (said("waves", None, {"action": True}), ["* the server waves"]),
        (said(None, data={"action": True}), ['alice: {"action":true}']),
        (ERASED, ["* a message was erased"]),
        (joined(1), ["* you are in kitchen; nobody else is here"]),
        (joined(2, "bob", said("hi")), ["alice: hi", "* you are in kitchen as bob; 1 other is here"]),
        (joined(3, "bob"), ["* you are in kitchen as bob; 2 others are here"]),
        (
            joined(3, "bob", ERASED, ERASURE, said("hi")),
            ["* a message was erased", "alice: hi", "* you are in kitchen as bob; 2 others are here"],
        ),
        (m.Left(room="kitchen"), []),
        (m.Left(room="kitchen", reason="stalled"), ["* you are no longer in kitchen: stalled"]),
        (m.Renamed(room="kitchen", name="bob-2"), ["* you are bob-2 in kitchen"]),
        (m.Sent(name="bob", connections=1), ["* sent to bob"]),
        (m.Sent(connections=1), ["* sent"]),
        (m.DirectMessage(sender=ALICE, ts=1, room="kitchen", text="psst"), ["* alice to you alone: psst"]),
        (m.DirectMessage(sender=GUEST, ts=1, room="kitchen", text="a\rb"), ["* guest-c2 to you alone: a b"]),
        (m.DirectMessage(sender=m.Sender(user="u7"), ts=1, data={"a": 1}), ['* u7 to you alone: {"a":1}']),
        (m.DirectMessage(sender=m.Sender(), ts=1, text="psst"), ["* the server to you alone: psst"]),
        (page(), ["* nothing was said in kitchen yet"]),
        (page(ERASURE), ["* nothing was said in kitchen yet"]),
        (page(said("hi"), ERASURE), ["* the last line of kitchen:", "alice: hi"]),
        (m.Members(room="kitchen", count=2, members=(ALICE, GUEST)), ["* 2 in kitchen: alice, guest-c2"]),
        (m.Members(room="kitchen", count=500, members=(ALICE,)), ["* 500 in kitchen: alice and 499 more"]),
        (m.RoomList(count=1, rooms=(m.RoomInfo("kitchen", 2),)), ["* kitchen (2)"]),
        (m.RoomList(count=9, rooms=(m.RoomInfo("kitchen", 2),)), ["* kitchen (2)", "* and 8 more rooms"]),
        (presence(), []),
        (presence(came=(ALICE,)), ["* alice is here"]),
        (presence(went=(ALICE,)), ["* alice has gone"]),
        (presence(came=(ALICE, GUEST), went=MANY[:2]), ["* alice, guest-c2 are here", "* n0, n1 have gone"]),
        (presence(came=MANY[:10]), ["* n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 are here"]),
        (presence(came=MANY), ["* n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more are here"]),
        (presence(renamed=(m.Renaming("c", "bob", "robert"),)), ["* bob is called robert now"]),
        (
            presence(renamed=(m.Renaming("c", "bob", "robert"), m.Renaming("d", "carol", "karl"))),
            ["* bob is called robert, carol is called karl now"],
        ),
        (m.Gap(room="kitchen", epoch="e", from_=1, to=2), ["* some messages are missing here"]),
        (
            m.Error(code="unavailable", reason="the log is away", command="publish", retry_after_ms=1000),
            ["! not sent: the log is away, try again"],
        ),
        (
            m.Error(code="unavailable", reason=UNCONFIRMED, command="publish", retry_after_ms=1000),
            ["! perhaps not sent: the history did not confirm it"],
        ),
        (m.Error(code="bad_name", reason="that is no name"), ["! that is no name"]),
    ],
)
def test_what_an_event_looks_like(event: m.Event, shown: list[str]) -> None:
    """Notices begin with `* `, errors with `! `, and nothing decorates the lines of an unnamed client."""
    assert lines(event) == shown


FOR_PROGRAMS = (m.Welcome, m.Session, m.Ack, m.Resumed, m.Refreshed, m.Result, m.Pong, m.TypingNow, m.Goodbye)


@pytest.mark.parametrize("kind", FOR_PROGRAMS)
@given(data=st.data())
@settings(max_examples=5)
def test_what_is_for_programs_is_not_shown(kind: type[m.Event], data: st.DataObject) -> None:
    """People at a line are told what they can use."""
    assert lines(data.draw(EVENTS[kind])) == []


def test_help_lists_every_command() -> None:
    """Each line of `/help` names a command that the codec understands, and none is left out."""
    listed = [line.split()[1].rstrip(".") for line in lines(m.HelpText())]
    for command in listed[:-1]:
        assert isinstance(outcome(f'{command} "x" y'.encode() if command != "/history" else b"/history"), m.Command)
    assert listed == [
        *("/nick", "/join", "/leave", "/rooms", "/who"),
        *("/msg", "/me", "/history", "/quit", "//"),
    ]
