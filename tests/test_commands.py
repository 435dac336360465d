"""What each command does, told as events; how a line looks is the codec's business."""

import re

import msgspec
import pytest

from aiochat import messages as m
from aiochat.client import random_id
from aiochat.commands import _COSTS, COMMANDS
from aiochat.errors import Reply
from aiochat.messages import HERE
from tests.hubs import MANY_ROOMS, ONE_ROOM, UNLIMITED, Chat, Peer


@pytest.fixture
async def chat() -> Chat:
    """A hub that answers within a turn and limits nobody."""
    return Chat(limits=UNLIMITED)


async def answers(chat: Chat, peer: Peer, *commands: m.Command | Reply) -> list[m.Event]:
    """What a client is told by the turns that apply its commands."""
    before = len(peer.told)
    for command in commands:
        peer.ask(command)
    await chat.turn(len(commands) + 1)
    return peer.told[before:]


async def refusal(chat: Chat, peer: Peer, command: m.Command) -> tuple[str, str | None]:
    """The code and the field of the error that a command gets."""
    (error,) = await answers(chat, peer, command)
    assert isinstance(error, m.Error)
    assert error.retry_after_ms is None
    return error.code, error.field


def heard(peer: Peer) -> list[m.Event]:
    """What was said to a client alone, whenever that was."""
    direct = [event for event in peer.told if isinstance(event, m.DirectMessage)]
    return [msgspec.structs.replace(event, ts=0) for event in direct]


def sender(peer: Peer, name: str | None = None) -> m.Sender:
    """As others see a client."""
    return m.Sender(peer.client.id, name)


def test_every_command_is_known() -> None:
    """Each struct in messages/ has its function, and what costs more is a command."""
    assert set(COMMANDS) == {*m.COMMANDS, m.Help, m.Quit, Reply}
    assert set(_COSTS) <= set(COMMANDS)


async def test_an_unnamed_client_comes_without_a_word(chat: Chat) -> None:
    """As in the tutorial; a named one is told where it is, and what was said before."""
    unnamed = await chat.join(codec=ONE_ROOM)
    await answers(chat, unnamed, *[m.Publish(room=HERE, text=str(number)) for number in range(25)])
    named = await chat.join(name="alice", codec=ONE_ROOM)
    (joined,) = named.told
    assert isinstance(joined, m.Joined)
    assert (joined.room, joined.name, joined.offset, joined.members) == ("lobby", "alice", 25, 2)
    assert [message.text for message in joined.messages if isinstance(message, m.Message)] == [
        str(number) for number in range(5, 25)
    ]
    assert len(unnamed.told) == 25


async def test_who_types_in_no_room_is_told_how_to_come_into_one(chat: Chat) -> None:
    """So it is for a line whose name or room was refused at connect."""
    alice = await chat.join(None, codec=ONE_ROOM)
    (error,) = await answers(chat, alice, m.Publish(room=HERE, text="hello"))
    assert isinstance(error, m.Error)
    assert (error.code, error.reason) == ("not_joined", "you are in no room: /join ROOM")


async def test_a_single_room_is_left_by_joining_another(chat: Chat) -> None:
    """The name goes along, and is free where it was; `leave` leads back to the lobby."""
    alice, bob = await chat.join("a", "alice", ONE_ROOM), await chat.join("a", codec=ONE_ROOM)
    (joined,) = await answers(chat, alice, m.Join(room="B"))
    assert isinstance(joined, m.Joined)
    assert (joined.room, joined.name, joined.members) == ("b", "alice", 1)
    assert await answers(chat, bob, m.Rename(room=HERE, name="alice")) == [m.Renamed(room="a", name="alice")]
    (left,) = await answers(chat, alice, m.Leave(room=HERE))
    assert isinstance(left, m.Joined)
    assert left.room == "lobby"
    assert set(chat.hub.rooms) == {"a", "lobby"}


async def test_joining_where_one_is_changes_nothing(chat: Chat) -> None:
    """It is answered all the same, with the name one has there."""
    alice = await chat.join("a", "alice", ONE_ROOM)
    (joined,) = await answers(chat, alice, m.Join(room="a", name="other"))
    assert isinstance(joined, m.Joined)
    assert (joined.name, joined.members) == ("alice", 1)


async def test_a_room_that_cannot_be_is_refused(chat: Chat) -> None:
    """And so is a name; one stays where one was, as who one was."""
    alice = await chat.join("a", "alice", ONE_ROOM)
    assert await refusal(chat, alice, m.Join(room="no room")) == ("bad_room", "room")
    assert await refusal(chat, alice, m.Join(room="b", name="al/ice")) == ("bad_name", "name")
    assert await refusal(chat, alice, m.Rename(room=HERE, name="!")) == ("bad_name", "name")
    assert await answers(chat, alice, m.Who(room=HERE)) == [
        m.Members(room="a", count=1, members=(sender(alice, "alice"),))
    ]


async def test_a_taken_name_becomes_another_in_that_room_alone(chat: Chat) -> None:
    """By coming, by renaming, and however it is written; one's own name can be written anew."""
    alice, second = await chat.join("a", "alice", MANY_ROOMS), await chat.join("a", "ALICE", MANY_ROOMS)
    third = await chat.join("a", codec=MANY_ROOMS)
    assert [event.name for event in second.told if isinstance(event, m.Joined)] == ["ALICE-2"]
    assert await answers(chat, third, m.Rename(room="a", name="alice")) == [m.Renamed(room="a", name="alice-3")]
    assert await answers(chat, third, m.Rename(room="a", name="alice")) == [m.Renamed(room="a", name="alice-3")]
    assert await answers(chat, alice, m.Rename(room="a", name="Alice")) == [m.Renamed(room="a", name="Alice")]
    (joined,) = await answers(chat, third, m.Join(room="b", name="alice"))
    assert isinstance(joined, m.Joined)
    assert joined.name == "alice"


async def test_a_name_that_was_given_up_is_free(chat: Chat) -> None:
    """By renaming oneself, and by going."""
    alice, bob = await chat.join("a", "alice", ONE_ROOM), await chat.join("a", "bob", ONE_ROOM)
    await answers(chat, alice, m.Rename(room=HERE, name="carol"))
    assert await answers(chat, bob, m.Rename(room=HERE, name="alice")) == [m.Renamed(room="a", name="alice")]
    alice.hang_up()
    await chat.turn()
    assert await answers(chat, bob, m.Rename(room=HERE, name="carol")) == [m.Renamed(room="a", name="carol")]


async def test_a_message_has_the_name_its_sender_had(chat: Chat) -> None:
    """Renaming does not change what was said."""
    alice = await chat.join(codec=ONE_ROOM)
    commands = [
        m.Publish(room=HERE, text="1"),
        m.Rename(room=HERE, name="alice"),
        m.Publish(room=HERE, text="2", data={"a": 1}),
    ]
    told = await answers(chat, alice, *commands)
    messages = [event for event in told if isinstance(event, m.Message)]
    assert [(each.offset, each.sender, each.text, each.data) for each in messages] == [
        (1, sender(alice), "1", None),
        (2, sender(alice, "alice"), "2", {"a": 1}),
    ]


@pytest.mark.parametrize(
    "command",
    [
        m.Publish(room="b", text="x"),
        m.Rename(room="b", name="x"),
        m.Who(room="b"),
        m.History(room="b", limit=1),
    ],
)
async def test_a_room_one_is_not_in_is_out_of_reach(chat: Chat, command: m.Command) -> None:
    """To speak, to look, to read, for clients of one room and of many."""
    for codec in (ONE_ROOM, MANY_ROOMS):
        alice = await chat.join("a", codec=codec)
        await chat.join("b")
        assert await refusal(chat, alice, command) == ("not_joined", "room")


@pytest.mark.parametrize(
    "command",
    [
        m.Rename(room=HERE, name="x"),
        m.Who(room=HERE),
        m.History(room=HERE, limit=1),
    ],
)
async def test_a_client_of_many_rooms_says_which(chat: Chat, command: m.Command) -> None:
    """Even while it is in one alone."""
    alice = await chat.join("a", codec=MANY_ROOMS)
    assert await refusal(chat, alice, command) == ("bad_room", "room")


async def test_a_direct_message_reaches_one_client_in_the_room(chat: Chat) -> None:
    """By name, however written, or as guest-ID; it is not logged, and nobody else is told."""
    alice, bob = await chat.join("a", "alice", ONE_ROOM), await chat.join("a", "bob", ONE_ROOM)
    guest, other = await chat.join("a", codec=ONE_ROOM), await chat.join("b", "carol", ONE_ROOM)
    assert await answers(chat, alice, m.Direct(room=HERE, name=" BOB ", text="psst")) == [
        m.Sent(connections=1, name="BOB")
    ]
    assert heard(bob) == [m.DirectMessage(sender=sender(alice, "alice"), ts=0, room="a", text="psst")]
    assert await answers(chat, alice, m.Direct(room=HERE, name="guest-c3", text="psst")) == [
        m.Sent(connections=1, name="guest-c3")
    ]
    assert heard(guest) == heard(bob)
    (page,) = await answers(chat, bob, m.History(room=HERE, limit=10))
    assert isinstance(page, m.HistoryPage)
    assert page.messages == ()
    for nobody in ("carol", "guest-c4", "dave"):
        assert await refusal(chat, alice, m.Direct(room=HERE, name=nobody, text="psst")) == ("no_such_client", "name")
    assert len(other.told) == 1


async def test_a_direct_message_to_what_is_no_name_is_refused(chat: Chat) -> None:
    """Before anything is made of it: to fold 32,000 marks takes seconds."""
    alice = await chat.join("a", "alice", ONE_ROOM)
    name = "a" + "\u0301\u0323" * 16_000
    assert await refusal(chat, alice, m.Direct(room=HERE, name=name, text="psst")) == ("bad_name", "name")


async def test_who_lists_two_hundred_and_counts_all(chat: Chat) -> None:
    """In the order of their coming."""
    members = [chat.connect("a", f"n{number}", ONE_ROOM) for number in range(250)]
    await chat.turn()
    (listed,) = await answers(chat, members[0], m.Who(room=HERE))
    first = tuple(sender(peer, f"n{number}") for number, peer in enumerate(members[:200]))
    assert listed == m.Members(room="a", count=250, members=first)


async def test_rooms_lists_a_hundred_and_counts_all(chat: Chat) -> None:
    """The fullest first."""
    for number in range(120):
        chat.connect(f"r{number}")
    alice = chat.connect("r119", codec=ONE_ROOM)
    await chat.turn()
    (listed,) = await answers(chat, alice, m.Rooms())
    assert isinstance(listed, m.RoomList)
    assert (listed.count, len(listed.rooms), listed.rooms[0]) == (120, 100, m.RoomInfo("r119", 2))


async def test_commands_behind_one_that_waits_keep_their_order(chat: Chat) -> None:
    """A client that joins and speaks in one breath speaks where it has joined."""
    alice, bob, carol = await chat.join("a"), await chat.join("b"), await chat.join("c")
    alice.say("in a", "/join b", "in b", "/history", "/join c", "in c")
    await chat.turn(6)
    assert (bob.heard, carol.heard, alice.heard[-1]) == (["in b"], ["in c"], "in c")


async def test_what_the_codec_refused_is_answered_in_its_place(chat: Chat) -> None:
    """Between the answers to what stands before and after it."""
    alice = await chat.join("a", codec=ONE_ROOM)
    renames = [m.Rename(room=HERE, name=name) for name in "xy"]
    told = await answers(chat, alice, renames[0], Reply("unknown_type", "what?"), renames[1])
    assert told == [
        m.Renamed(room="a", name="x"),
        m.Error(code="unknown_type", reason="what?"),
        m.Renamed(room="a", name="y"),
    ]


async def test_help_is_answered_and_quit_ends(chat: Chat) -> None:
    """With what the codec makes of the one, and a Close for the other."""
    alice = await chat.join("a")
    alice.say("/help", "/quit")
    await chat.turn(2)
    assert any("/nick" in line for line in alice.heard)
    assert alice.code == 1000


def test_ids_are_random_and_short() -> None:
    """A few letters and digits that can be typed, and that no two of a thousand clients share."""
    ids = {random_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-z]{8,10}", id) for id in ids)
