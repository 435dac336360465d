"""`resume` at the hub: who comes back is who it was, where it was, and has what it missed."""

import asyncio
from typing import Any

import pytest

from aiochat.auth.identity import Identity
from tests.hub_programs import Clock, HubProgram, ProgramChat
from tests.programs import Event, offsets

KIB = 1024


@pytest.fixture
async def clock() -> Clock:
    """That of the test's loop."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def chat(clock: Clock) -> ProgramChat:
    """A hub whose tails are short, so that the log is read."""
    return ProgramChat(clock, history={"tail_messages": 10})


def positions(client: HubProgram) -> dict[str, Event]:
    """Per room the epoch and the last offset that a client saw."""
    seen: dict[str, Event] = {}
    for event in client.told:
        if event["type"] == "joined":
            seen[event["room"]] = {"epoch": event["epoch"], "offset": event["offset"]}
        elif event["type"] == "message":
            seen[event["room"]]["offset"] = event["offset"]
    return seen


async def back(chat: ProgramChat, was: HubProgram, **fields: Any) -> HubProgram:
    """Who resumes the session of `was`; `news` begins with the answer."""
    client = await chat.come()
    client.ask("resume", id="back", **{"token": was.token, "rooms": positions(was), **fields})
    await chat.turn(6)
    return client


@pytest.mark.parametrize("lost_seconds", [None, 1, 60])
async def test_who_resumes_is_who_it_was_and_misses_nothing(
    chat: ProgramChat, clock: Clock, lost_seconds: float | None
) -> None:
    """While its old connection lives, within the grace, and after it: `resumed`, a `joined` per room, `session`."""
    alice = await chat.come("a", "alice")
    alice.ask("join", room="b")
    await chat.turn(3)
    await chat.publish("a", "1")
    if lost_seconds is not None:
        alice.lose()
        await chat.later(clock, lost_seconds)
    seen = positions(alice)
    await chat.publish("a", "2")
    await chat.publish("b", "3")
    again = await back(chat, alice, rooms=seen)
    resumed, a, b, session = again.news()
    assert resumed == {"type": "resumed", "id": "back", "client": alice.client.id}
    assert [(each["room"], each["name"], each["recovered"], each["more"]) for each in (a, b)] == [
        ("a", "alice", True, False),
        ("b", "alice", True, False),
    ]
    assert [message["text"] for message in a["messages"] + b["messages"]] == ["2", "3"]
    assert session["type"] == "session"
    await chat.publish("b", "4")
    assert offsets(again.news()) == [2]
    assert set(chat.hub.clients) == {alice.client.id}


async def test_one_that_saw_no_message_resumes_from_joined(chat: ProgramChat) -> None:
    """The offset told there is where it was."""
    alice = await chat.come("a")
    alice.lose()
    await chat.turn(2)
    await chat.publish("a", "first")
    again = await back(chat, alice)
    _, joined, _ = again.news()
    assert (joined["recovered"], [message["text"] for message in joined["messages"]]) == (True, ["first"])


async def test_one_that_was_in_no_room_resumes(chat: ProgramChat) -> None:
    """`rooms` may be absent."""
    alice = await chat.come(None, "alice")
    again = await chat.come()
    again.ask("resume", token=alice.token)
    await chat.turn(3)
    assert [event["type"] for event in again.news()] == ["resumed", "session"]
    again.ask("join", room="a")
    await chat.turn(3)
    assert again.news()[0]["name"] == "alice"


@pytest.mark.parametrize("lost_seconds", [None, 1, 60])
async def test_names_are_its_own_again(chat: ProgramChat, clock: Clock, lost_seconds: float | None) -> None:
    """Those given by the URL, with `join`, by `rename`, and those with a number."""
    await chat.come("taken", "alice")
    alice = await chat.come("url", "alice")
    for room, name in (("joined", "al"), ("renamed", None), ("taken", None)):
        alice.ask("join", room=room, name=name)
        await chat.turn(3)
    alice.ask("rename", room="renamed", name="queen")
    await chat.turn(3)
    if lost_seconds is not None:
        alice.lose()
        await chat.later(clock, lost_seconds)
    again = await back(chat, alice)
    assert {event["room"]: event["name"] for event in again.of("joined")} == {
        "url": "alice",
        "joined": "al",
        "renamed": "queen",
        "taken": "alice-2",
    }
    assert {room.name: room.members[again.client].name for room in again.client.rooms} == {
        "url": "alice",
        "joined": "al",
        "renamed": "queen",
        "taken": "alice-2",
    }


async def test_a_user_back_under_another_name_gives_the_first_one_back(chat: ProgramChat, clock: Clock) -> None:
    """Else whoever comes and goes under ever new names takes them all, for good."""
    alice = await chat.come(identity=Identity(user="alice"))
    alice.ask("join", room="a", name="ann")
    await chat.turn(3)
    alice.lose()
    again = await chat.come(identity=Identity(user="alice"))
    again.ask("resume", token=alice.token)
    again.ask("join", room="a", name="bea")
    await chat.turn(6)
    assert (again.client.id, chat.hub.directory.holders("a", "ann")) == ("c1", ())
    again.lose()
    await chat.later(clock, 60)
    assert chat.hub.directory.holders("a", "bea") == ()


async def test_a_name_joined_with_is_in_the_token(chat: ProgramChat, clock: Clock) -> None:
    """Though the room it came into last is the first thing that it did."""
    alice = await chat.come()
    alice.ask("join", room="a", name="al")
    await chat.turn(3)
    alice.lose()
    await chat.later(clock, 60)
    again = await back(chat, alice)
    assert again.of("joined")[0]["name"] == "al"


async def test_256_kib_are_given_in_all(chat: ProgramChat) -> None:
    """The rooms beyond it are joined with no messages and `more`, from where each can be asked on."""
    alice = await chat.come()
    rooms = ("a", "b", "c", "d")
    for room in rooms:
        alice.ask("join", room=room)
    await chat.turn(8)
    seen = positions(alice)
    alice.lose()
    await chat.turn(2)
    for room in rooms:
        await chat.publish(room, "x" * 50 * KIB, "y" * 50 * KIB)
    again = await back(chat, alice, rooms=seen)
    joined = again.of("joined")
    assert [(each["room"], len(each["messages"]), each["more"]) for each in joined] == [
        ("a", 2, False),
        ("b", 2, False),
        ("c", 1, True),
        ("d", 0, True),
    ]
    for each in joined:
        if each["more"]:
            given = each["messages"]
            since = {"epoch": each["epoch"], "offset": given[-1]["offset"] if given else seen[each["room"]]["offset"]}
            again.ask("join", room=each["room"], since=since)
    await chat.turn(6)
    had = {room: [] for room in rooms}  # type: dict[str, list[int]]
    for each in again.of("joined"):
        had[each["room"]] += offsets(each["messages"])
    assert had == {room: [1, 2] for room in rooms}


async def test_with_gaps_256_kib_are_given_in_all(chat: ProgramChat) -> None:
    """A queue holds no 64 newest histories; what is not given is in the gap."""
    rooms = {}
    for number in range(6):
        room = f"r{number}"
        await chat.publish(room, *["x" * 60 * KIB] * 3)
        rooms[room] = {"epoch": "other", "offset": 1}
    alice = await chat.come()
    again = await back(chat, alice, rooms=rooms)
    given = [len(joined["messages"]) for joined in again.of("joined")]
    assert (given, len(again.of("gap"))) == ([3, 1, 0, 0, 0, 0], 6)


async def test_the_older_connection_is_closed_and_says_no_more(chat: ProgramChat, clock: Clock) -> None:
    """4409; what it had sent and was not applied yet counts no more, and nobody sees it go."""
    bob = await chat.come("a", "bob")
    alice = await chat.come("a", "alice")
    again = await chat.come()
    await chat.later(clock, 1)
    bob.news()
    again.ask("resume", token=alice.token, rooms=positions(alice))
    alice.ask("publish", room="a", text="from the old one")
    await chat.turn(6)
    assert (alice.close_code, again.news()[0]["type"]) == (4409, "resumed")
    again.ask("publish", room="a", text="from the new one")
    await chat.turn(2)
    assert [event["text"] for event in bob.news()] == ["from the new one"]


async def test_what_the_older_connection_waits_for_is_dropped(chat: ProgramChat) -> None:
    """It was about to join, and had more to say: none of it happens, and the name is the new one's."""
    epoch = (await chat.come("a")).of("joined")[0]["epoch"]
    alice = await chat.come(None, "alice")
    again = await chat.come()
    chat.log.is_held = True
    alice.ask("join", room="b")
    alice.ask("publish", room="b", text="from the old one")
    await chat.turn(2)
    again.ask("resume", token=alice.token, rooms={"b": {"epoch": epoch, "offset": 0}})
    await chat.turn(2)
    chat.log.is_held = False
    while chat.log.calls:
        chat.log.answer()
        await chat.turn(3)
    chat.log.answer(100)
    await chat.turn(3)
    assert (alice.close_code, again.of("joined")[0]["name"], again.of("joined")[0]["offset"]) == (4409, "alice", 0)
    assert list(chat.hub.rooms["b"].members) == [again.client]
    assert (await chat.come("b", "alice")).of("joined")[0]["name"] == "alice-2"


async def test_nobody_sees_go_who_resumes_slowly(chat: ProgramChat, clock: Clock) -> None:
    """While the log takes its time, and the old connection is closed already."""
    bob, alice = await chat.come("a", "bob"), await chat.come("a", "alice")
    for number in range(30):
        await chat.publish("a", str(number))
    await chat.later(clock, 1)
    bob.news()
    again = await chat.come()
    chat.log.is_held = True
    again.ask("resume", token=alice.token, rooms={"a": {"epoch": alice.of("joined")[0]["epoch"], "offset": 5}})
    await chat.turn(2)
    await chat.later(clock, 2)
    assert (alice.close_code, again.of("joined")) == (4409, [])
    chat.log.is_held = False
    chat.log.answer(10)
    await chat.later(clock, 2)
    await chat.later(clock, 20)
    assert (again.of("joined")[0]["name"], bob.news()) == ("alice", [])


async def test_of_two_that_resume_at_once_the_newest_wins(chat: ProgramChat) -> None:
    """Also while the log has not answered the first; the name stays with the session."""
    alice = await chat.come("a", "alice")
    await chat.publish("a", *map(str, range(100)))
    rooms = {"a": {"epoch": alice.of("joined")[0]["epoch"], "offset": 5}}
    first, second = await chat.come(), await chat.come()
    chat.log.is_held = True
    for client in (first, second):
        client.ask("resume", token=alice.token, rooms=rooms)
        await chat.turn(2)
    while chat.log.calls:
        chat.log.answer()
        await chat.turn(3)
    chat.log.is_held = False
    assert (alice.close_code, first.close_code, second.close_code) == (4409, 4409, None)
    assert first.of("joined") == []
    (joined,) = second.of("joined")
    assert (joined["name"], offsets(joined["messages"]), joined["members"]) == ("alice", list(range(6, 101)), 1)
    assert set(chat.hub.clients) == {alice.client.id}
    assert (await chat.come("a", "alice")).of("joined")[0]["name"] == "alice-2"


async def test_one_may_resume_what_it_is(chat: ProgramChat) -> None:
    """With the token it was given a moment ago on the same connection: nothing changes, and nobody is replaced."""
    alice = await chat.come()
    alice.ask("resume", token=alice.token)
    await chat.turn(4)
    assert ([event["type"] for event in alice.news()], alice.close_code) == (["resumed", "session"], None)
    assert chat.hub.clients == {alice.client.id: alice.client}


async def test_the_session_goes_on_from_resume_to_resume(chat: ProgramChat) -> None:
    """Each connection has a token of its own, and any of them will do."""
    alice = await chat.come("a", "alice")
    first_token = alice.token
    client = alice
    for number in range(5):
        await chat.publish("a", str(number))
        client = await back(chat, client)
        assert client.client.id == alice.client.id
    client = await back(chat, client, token=first_token)
    assert [event["type"] for event in client.news()] == ["resumed", "joined", "session"]


async def test_rooms_that_cannot_be_are_told_and_the_others_joined(chat: ProgramChat) -> None:
    """Each is left, with the code of its error; another epoch is a gap, as with `join`."""
    alice = await chat.come("a", "alice")
    (epoch,) = {position["epoch"] for position in positions(alice).values()}
    rooms = {"a b": {"epoch": "x", "offset": 1}, "b": {"epoch": "x", "offset": 1}, "A": {"epoch": epoch, "offset": 0}}
    again = await back(chat, alice, rooms=rooms)
    told = again.news()
    assert [event["type"] for event in told] == ["resumed", "left", "gap", "joined", "joined", "session"]
    assert (told[1]["room"], told[1]["reason"]) == ("a b", "bad_room")
    assert [event["room"] for event in told[2:5]] == ["b", "b", "a"]


async def test_a_room_whose_log_cannot_be_read_is_left(chat: ProgramChat) -> None:
    """The session goes on; the client joins when the log is back."""
    alice = await chat.come("a", "alice")
    await chat.publish("a", *map(str, range(50)))
    chat.log.fail()
    again = await back(chat, alice, rooms={"a": {"epoch": positions(alice)["a"]["epoch"], "offset": 1}})
    resumed, left, _ = again.news()
    assert (resumed["type"], left) == ("resumed", {"type": "left", "room": "a", "reason": "unavailable"})


async def test_commands_behind_resume_wait_for_it(chat: ProgramChat) -> None:
    """What is published in the same message goes to the room that is on its way."""
    alice = await chat.come("a", "alice")
    alice.lose()
    await chat.turn(2)
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms=positions(alice))
    again.ask("publish", room="a", text="in one breath", id=1)
    await chat.turn(6)
    assert [event["type"] for event in again.news()] == ["resumed", "joined", "session", "ack", "message"]


async def test_one_that_is_lost_while_it_resumes_leaves_nothing(chat: ProgramChat, clock: Clock) -> None:
    """And its session can be resumed once more."""
    alice = await chat.come("a", "alice")
    await chat.publish("a", *map(str, range(50)))
    rooms = {"a": {"epoch": positions(alice)["a"]["epoch"], "offset": 1}}
    again = await chat.come()
    chat.log.is_held = True
    again.ask("resume", token=alice.token, rooms=rooms)
    await chat.turn(2)
    again.lose()
    await chat.turn(2)
    chat.log.is_held = False
    chat.log.answer(100)
    await chat.turn(4)
    assert (chat.hub.clients, chat.hub.rooms) == ({}, {})
    last = await back(chat, alice, rooms=rooms)
    assert last.of("joined")[0]["name"] == "alice"
    last.lose()
    await chat.later(clock, 60)
    assert (chat.hub.clients, chat.hub.rooms, chat.hub.directory.holders("a", "alice")) == ({}, {}, ())


async def test_a_name_that_nobody_comes_to_is_free_again(chat: ProgramChat, clock: Clock) -> None:
    """The old connection was about to have it; who resumes comes into the room without a name."""
    alice = await chat.come()
    chat.log.is_held = True
    alice.ask("join", room="a", name="al")
    await chat.turn(2)
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={"a": {"epoch": "x", "offset": 0}})
    await chat.turn(2)
    chat.log.is_held = False
    chat.log.answer(100)
    await chat.turn(6)
    assert "name" not in again.of("joined")[0]
    again.leave()
    await chat.later(clock, 60)
    assert not chat.hub.entering
    assert (await chat.come("a", "al")).of("joined")[0]["name"] == "al"
