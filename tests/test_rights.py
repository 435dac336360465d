"""Rights at the hub: every way into a room and every command in it, with the rights for it and without."""

import asyncio
import time
from fnmatch import fnmatchcase
from typing import Any, Final
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import aiochat
from aiochat.auth.identity import LEEWAY_SECONDS, Identity, fits
from aiochat.auth.tokens import Tokens
from aiochat.config import load
from tests.hub_programs import Clock, HubProgram, ProgramChat
from tests.minted import minted, tokens
from tests.programs import Event

ALICE: Final = Identity(user="alice", name="alice")
RULES: Final = [
    {"match": "feed-*", "publish": "api", "presence": False},
    {"match": "users-*", "join": "users", "publish": "users"},
    {"match": "talk-*", "publish": "users"},
    {"match": "team-*", "join": "named", "listed": False},
    {"match": "now-*", "history": False},
    {"match": "hidden", "listed": False},
]


@pytest.fixture
async def clock() -> Clock:
    """That of the test's loop."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def chat(clock: Clock) -> ProgramChat:
    """A hub with the rules above."""
    return ProgramChat(clock, room=RULES, presence={"interval_ms": 1})


@pytest.fixture
def checked(chat: ProgramChat) -> Tokens:
    """What the hub checks tokens with."""
    chat.hub.access.tokens = checked = tokens()
    return checked


async def answer(chat: ProgramChat, client: HubProgram, command: str, **fields: Any) -> Event:
    """The event that answers the command, by its id."""
    client.ask(command, id="asked", **fields)
    await chat.turn(6)
    return next(event for event in reversed(client.told) if event.get("id") == "asked")


def outcome(answered: Event) -> str:
    """What a test compares: the type, or `forbidden` if that is what it is, for the room."""
    if answered["type"] != "error":
        return str(answered["type"])
    assert (answered["code"], answered["field"]) == ("forbidden", "room"), answered
    return "forbidden"


@given(st.text("ab*", max_size=8), st.text("ab", min_size=1, max_size=8))
def test_a_star_stands_for_any_characters(pattern: str, room: str) -> None:
    """Also for none; the rest is as it is."""
    assert fits(pattern, room) == fnmatchcase(room, pattern)


# Into a room.

WHO_MAY_JOIN = [
    ("lobby", Identity(), "joined"),
    ("lobby", Identity(join=("team-*",)), "forbidden"),
    ("lobby", Identity(join=()), "forbidden"),
    ("lobby", Identity(join=(), rooms=("lobby",)), "joined"),
    ("Lobby", Identity(join=("lobby",)), "joined"),
    ("users-1", Identity(), "forbidden"),
    ("users-1", ALICE, "joined"),
    ("users-1", Identity(user="alice", join=("team-*",)), "forbidden"),
    ("team-red", Identity(), "forbidden"),
    ("team-red", ALICE, "forbidden"),
    ("team-red", Identity(user="alice", join=("*",)), "forbidden"),
    ("team-red", Identity(user="alice", join=("**",)), "forbidden"),
    ("team-red", Identity(user="alice", join=("*", "team-blue")), "forbidden"),
    ("team-red", Identity(user="alice", join=("*", "team-red")), "joined"),
    ("team-red", Identity(user="alice", join=("team-*",)), "joined"),
    ("team-red", Identity(user="alice", rooms=("team-red",)), "joined"),
    ("feed-news", Identity(), "joined"),
]


@pytest.mark.parametrize(("room", "identity", "expected"), WHO_MAY_JOIN)
async def test_who_may_join_and_who_not(chat: ProgramChat, room: str, identity: Identity, expected: str) -> None:
    """Both the token and the room's rule have to let it in; a refusal leaves nothing behind."""
    client = await chat.come(identity=newcomer(identity))
    client.client.identity = identity
    assert outcome(await answer(chat, client, "join", room=room)) == expected
    assert bool(client.client.rooms) == (room.lower() in chat.hub.rooms) == (expected == "joined")


def newcomer(identity: Identity) -> Identity:
    """The same, that comes into no room by itself."""
    return Identity(user=identity.user, name=identity.name)


@pytest.mark.parametrize(("room", "identity", "expected"), WHO_MAY_JOIN)
async def test_no_other_way_leads_into_a_room(chat: ProgramChat, room: str, identity: Identity, expected: str) -> None:
    """At connect, with `since`, with `/join`, and with `resume`, where it is `left`, `forbidden`."""
    at_connect = await chat.come(room.lower(), identity=identity)
    assert (room.lower() in [joined.name for joined in at_connect.client.rooms]) == (expected == "joined")

    catching_up = await chat.come(identity=newcomer(identity))
    catching_up.client.identity = identity
    since = {"epoch": "x", "offset": 0}
    assert outcome(await answer(chat, catching_up, "join", room=room, since=since)) == expected

    line = await chat.come("talk-1", "bob", is_text=True, identity=Identity())
    line.client.identity = identity
    line.say(f"/join {room}")
    await chat.turn(4)
    assert line.lines[-1].startswith("! " if expected == "forbidden" else "* ")

    again = await chat.come(identity=newcomer(identity))
    again.client.identity = identity
    again.ask("resume", token=again.token, rooms={room: since})
    await chat.turn(6)
    told = again.news()
    assert [event["type"] for event in told if event["type"] in {"joined", "left"}] == [
        "left" if expected == "forbidden" else "joined"
    ]
    if expected == "forbidden":
        assert {"type": "left", "room": room, "reason": "forbidden"} in told


async def test_a_text_client_that_may_not_go_stays_where_it_is(chat: ProgramChat) -> None:
    """`/join` and, without rights to the lobby, `/leave`."""
    alice = await chat.come("team-red", is_text=True, identity=Identity(user="alice", join=("team-*",)))
    for line in ("/join lobby", "/leave"):
        alice.say(line)
        await chat.turn(4)
        assert alice.lines[-1] == "! you may not join lobby"
    assert [room.name for room in alice.client.rooms] == ["team-red"]


# At connect.


async def test_a_token_brings_a_program_into_its_rooms(chat: ProgramChat) -> None:
    """After the one of the URL, each once, under the token's name; then a `session` to resume with."""
    identity = Identity(user="alice", name="alice", rooms=("a", "b", "c"))
    alice = chat.connect("b", identity=identity)
    await chat.turn(8)
    assert [(event["room"], event["name"]) for event in alice.of("joined")] == [
        ("b", "alice"),
        ("a", "alice"),
        ("c", "alice"),
    ]
    assert [event["type"] for event in alice.told][:2] == ["welcome", "session"]
    assert alice.told[-1]["type"] == "session"


async def test_rooms_beyond_the_limit_are_told(clock: Clock) -> None:
    """As `left`, since nobody asked."""
    chat = ProgramChat(clock, limits={"max_rooms_per_client": 2})
    alice = chat.connect(identity=Identity(user="alice", rooms=("a", "b", "c")))
    await chat.turn(8)
    assert [event["room"] for event in alice.of("joined")] == ["a", "b"]
    assert alice.of("left") == [{"type": "left", "room": "c", "reason": "too_many_rooms"}]
    assert (await answer(chat, alice, "ping"))["type"] == "pong"


async def test_who_comes_back_with_a_token_is_where_it_was(chat: ProgramChat) -> None:
    """The rooms of the token, joined meanwhile as somebody new, are left for those of the session; nobody sees it."""
    identity = Identity(user="alice", name="alice", rooms=("a",))
    bob = await chat.come("a", "bob")
    alice = await chat.come(identity=identity)
    await answer(chat, alice, "join", room="b")
    token, since = alice.token, {"epoch": chat.hub.rooms["b"].epoch, "offset": 0}
    alice.lose()
    await chat.turn(3)
    bob.news()
    again = await chat.come(identity=identity)
    again.ask("resume", token=token, rooms={"b": since})
    await chat.turn(8)
    assert again.of("resumed")[0]["client"] == "c2"
    assert [room.name for room in again.client.rooms] == ["b"]
    await asyncio.sleep(0.005)  # presence.interval_ms
    await chat.turn(2)
    assert bob.of("presence") == [event for event in bob.of("presence") if not event.get("went")]


async def test_another_users_session_is_not_resumed(chat: ProgramChat) -> None:
    """Rights are those of the connection's own token, and the session is its user's."""
    alice = await chat.come(identity=ALICE)
    mallory = await chat.come(identity=Identity(user="mallory"))
    refused = await answer(chat, mallory, "resume", token=alice.token)
    assert (refused["type"], refused["code"]) == ("error", "session_lost")


# In a room.

WHO_MAY_SPEAK = [
    ("lobby", Identity(), True),
    ("lobby", Identity(publish=()), False),
    ("lobby", Identity(publish=("lob*",)), True),
    ("lobby", Identity(user="alice", publish=("team-*",)), False),
    ("talk-1", Identity(), False),
    ("talk-1", ALICE, True),
    ("talk-1", Identity(user="alice", publish=("lobby",)), False),
    ("feed-news", ALICE, False),
    ("feed-news", Identity(user="alice", publish=("feed-*",)), False),
]


@pytest.mark.parametrize(("room", "identity", "may"), WHO_MAY_SPEAK)
async def test_who_may_speak_and_who_not(chat: ProgramChat, room: str, identity: Identity, may: bool) -> None:
    """With `publish`, with a line and with `/me`; whoever may not speak does not type either."""
    client = await chat.come(room, identity=identity)
    line = await chat.come(room, is_text=True, identity=identity)
    assert outcome(await answer(chat, client, "publish", room=room, text="hi")) == ("ack" if may else "forbidden")
    for said in ("hi", "/me waves"):
        line.say(said)
        await chat.turn(3)
        assert line.lines[-1].startswith("! not sent: ") != may
    client.ask("typing", id="typing", room=room)
    await chat.turn(2)
    assert [event["code"] for event in client.told if event.get("id") == "typing"] == ([] if may else ["forbidden"])
    assert chat.log.newest(room) == (3 if may else 0)


async def test_the_application_may_speak_where_nobody_else_may(chat: ProgramChat) -> None:
    """That is what a feed is for."""
    alice = await chat.come("feed-news", identity=ALICE)
    await chat.publish("feed-news", "extra")
    assert [event["text"] for event in alice.of("message")] == ["extra"]


@pytest.mark.parametrize("command", ["publish", "typing", "history", "who", "rename", "direct", "leave"])
async def test_what_is_done_in_a_room_is_for_members(chat: ProgramChat, command: str) -> None:
    """Who may join it has to; of who may not, nobody has."""
    fields = {"publish": {"text": "x"}, "rename": {"name": "x"}, "direct": {"name": "x", "text": "x"}}
    for identity in (Identity(), Identity(join=())):
        client = await chat.come(identity=identity)
        refused = await answer(chat, client, command, room="lobby", **fields.get(command, {}))
        assert (refused["code"], refused["field"]) == ("not_joined", "room")


async def test_a_room_without_history_shows_nothing_later(chat: ProgramChat) -> None:
    """Neither on joining, nor when asked, nor to who was away, for whom it is a gap."""
    await chat.publish("now-1", "1", "2", "3")
    alice = await chat.come("now-1", "alice")
    (joined,) = alice.of("joined")
    assert (joined["messages"], joined["offset"]) == ([], 3)
    assert outcome(await answer(chat, alice, "history", room="now-1")) == "forbidden"
    bob = await chat.come()
    for since, gap in ((1, (2, 3)), (3, None)):
        answered = await answer(chat, bob, "join", room="now-1", since={"epoch": joined["epoch"], "offset": since})
        assert (answered["messages"], answered["recovered"], answered["more"]) == ([], gap is None, False)
        gaps = [(event["from"], event["to"]) for event in bob.news() if event["type"] == "gap"]
        assert gaps == ([gap] if gap else [])
    line = await chat.come("now-1", "carol", is_text=True)
    assert all(said.startswith("* ") for said in line.lines)  # where it is, and perhaps who came by now
    await chat.publish("now-1", "4")
    assert [event["text"] for event in alice.of("message")] == ["4"]


async def test_a_room_without_presence_tells_of_nobody(chat: ProgramChat) -> None:
    """Who comes, who is there."""
    alice = await chat.come("feed-news", "alice")
    await chat.come("feed-news", "bob")
    await asyncio.sleep(0.005)  # presence.interval_ms
    await chat.turn(3)
    assert alice.of("presence") == []
    assert outcome(await answer(chat, alice, "who", room="feed-news")) == "forbidden"


async def test_rooms_lists_those_one_may_join(chat: ProgramChat) -> None:
    """But for those that are not listed at all."""
    everywhere = Identity(user="root", join=("*", "team-*"))
    for room in ("hidden", "lobby", "team-red", "users-1", "kitchen"):
        await chat.come(room, identity=everywhere)
    listed = {
        Identity(): {"lobby", "kitchen"},
        ALICE: {"lobby", "kitchen", "users-1"},
        Identity(join=("k*", "hidden")): {"kitchen"},
        Identity(join=()): set(),
    }
    for identity, rooms in listed.items():
        answered = await answer(chat, await chat.come(identity=identity), "rooms")
        assert {info["room"] for info in answered["rooms"]} == rooms
        assert answered["count"] == len(rooms)


async def test_the_first_table_that_fits_counts(clock: Clock) -> None:
    """In their order; and what is not named is open."""
    rules = [{"match": "a-b*", "publish": "all"}, {"match": "A-*", "publish": "api"}]
    chat = ProgramChat(clock, room=rules)
    for room, expected in (("a-b1", "ack"), ("a-c", "forbidden"), ("b", "ack")):
        client = await chat.come(room)
        assert outcome(await answer(chat, client, "publish", room=room, text="hi")) == expected


@pytest.mark.parametrize(
    ("security", "on_connect", "said"),
    [
        ({}, None, [{"join": "users", "publish": "users"}, {"publish": "users"}, {"join": "named"}]),
        ({"mode": "optional", "token_key": "k" * 32}, None, []),
        ({}, AsyncMock(), []),
    ],
)
async def test_rules_for_users_are_told_of_where_nobody_can_be_one(
    security: dict[str, str], on_connect: AsyncMock | None, said: list[dict[str, str]]
) -> None:
    """At the start: without tokens or an application that knows its users, such a rule shuts everybody out."""
    app, hooks = web.Application(), aiochat.Hooks()
    config = load(flags={"store": {"url": "memory:"}, "room": RULES, "security": security})
    aiochat.setup(app, config, hooks=hooks)
    if on_connect is not None:
        hooks.on_connect(on_connect)
    with capture_logs() as lines:
        async with TestServer(app):
            pass
    told = [line for line in lines if line["event"] == "room_rule_for_nobody"]
    keys = ("join", "publish")
    assert [{key: line[key] for key in keys if key in line} for line in told] == said


# A new token, and the end of one.


async def test_a_refresh_changes_the_rights_at_once(chat: ProgramChat, checked: Tokens) -> None:
    """Out of the rooms that are no longer allowed, before it is answered; in the others on."""
    alice = await chat.come(identity=Identity(user="alice", join=("a", "b")))
    for room in ("a", "b"):
        await answer(chat, alice, "join", room=room)
    expires = int(time.time()) + 600
    alice.news()
    refreshed = await answer(chat, alice, "refresh", token=minted(join=["b", "c"], publish=[], exp=expires))
    assert alice.news()[0] == {"type": "left", "room": "a", "reason": "forbidden"}
    assert (refreshed["type"], refreshed["expires"]) == ("refreshed", expires * 1000)
    assert 590_000 < refreshed["valid_ms"] <= 600_000
    assert outcome(await answer(chat, alice, "join", room="c")) == "joined"
    assert outcome(await answer(chat, alice, "join", room="a")) == "forbidden"
    assert outcome(await answer(chat, alice, "publish", room="b", text="hi")) == "forbidden"


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (minted("mallory"), "forbidden"),
        (minted(exp=1), "unauthorized"),
        (minted(key="another secret of more than thirty-two bytes"), "unauthorized"),
        ("x", "unauthorized"),
    ],
)
async def test_a_refresh_that_is_refused_changes_nothing(
    chat: ProgramChat, checked: Tokens, token: str, code: str
) -> None:
    """The old token counts until its end; a signature of ours for somebody else is no good either."""
    alice = await chat.come(identity=ALICE)
    refused = await answer(chat, alice, "refresh", token=token)
    assert (refused["code"], refused["field"]) == (code, "token")
    assert alice.client.identity is ALICE
    assert token not in refused["reason"]


async def test_an_anonymous_client_cannot_become_a_user(chat: ProgramChat, checked: Tokens) -> None:
    """It connects anew with its token."""
    refused = await answer(chat, await chat.come(), "refresh", token=minted())
    assert (refused["code"], refused["field"]) == ("forbidden", "token")


async def test_commands_after_a_refresh_wait_for_it(chat: ProgramChat, checked: Tokens) -> None:
    """They count with the new rights, in their order."""
    alice = await chat.come(identity=Identity(user="alice", join=()))
    alice.ask("refresh", token=minted())
    alice.ask("join", room="lobby")
    await chat.turn(6)
    assert [event["type"] for event in alice.news()][:2] == ["refreshed", "joined"]


async def test_at_its_end_a_token_closes_the_connection(chat: ProgramChat, clock: Clock) -> None:
    """4003, after the leeway; the name and the presence keep the grace, and whoever has no token stays."""
    anybody = await chat.come("lobby")
    alice = await chat.come("lobby", identity=Identity(user="alice", name="alice", expires=time.time() + 60))
    codes = []
    for seconds in (60 + LEEWAY_SECONDS - 1, 2):
        await chat.later(clock, seconds)
        codes.append((alice.close_code, anybody.close_code))
    assert codes == [(None, None), (4003, None)]
    assert chat.hub.directory.holders("lobby", "alice") == ["c2"]
    assert not chat.hub.access._ends
    again = await chat.come(identity=Identity(user="alice", name="alice", expires=time.time() + 60))
    assert (await answer(chat, again, "resume", token=alice.token))["client"] == "c2"


async def test_a_refreshed_token_goes_on(chat: ProgramChat, clock: Clock, checked: Tokens) -> None:
    """Until the end of the new one."""
    alice = await chat.come("lobby", identity=Identity(user="alice", expires=time.time() + 60))
    await answer(chat, alice, "refresh", token=minted(exp=time.time() + 600))
    await chat.later(clock, 120)
    assert alice.close_code is None
    await chat.later(clock, 600)
    assert alice.close_code == 4003


async def test_a_clock_that_is_set_throws_nobody_out(
    chat: ProgramChat, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reckoned when the token was shown counts, an hour ahead or back."""
    alice = await chat.come(identity=Identity(user="alice", expires=time.time() + 600))
    now = time.time
    for jump in (3600, -3600):
        monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
        await chat.later(clock, 1)
        assert alice.close_code is None


async def test_welcome_says_for_how_long_the_token_holds(chat: ProgramChat) -> None:
    """In a duration, since clocks differ; without a token nothing is said."""
    alice = await chat.come(identity=Identity(user="alice", expires=time.time() + 600))
    anybody = await chat.come()
    assert 590_000 < alice.of("welcome")[0]["valid_ms"] <= 600_000
    assert alice.of("welcome")[0]["user"] == "alice"
    assert "valid_ms" not in anybody.of("welcome")[0]


async def test_who_is_gone_is_watched_no_more(chat: ProgramChat) -> None:
    """Nothing is kept of a client, however long its token holds."""
    for leave in (HubProgram.leave, HubProgram.lose):
        alice = await chat.come("lobby", identity=Identity(user="alice", expires=time.time() + 1e6))
        assert chat.hub.access._ends
        leave(alice)
        await chat.turn(3)
        assert not chat.hub.access._ends
