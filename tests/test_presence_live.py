"""Presence, typing and names through the grace, as clients of a hub and of a server meet them."""

import asyncio
from typing import Any

import pytest

from aiochat.auth.identity import Identity
from tests.hub_programs import Clock, HubProgram, ProgramChat
from tests.programs import JSON, MSGPACK, program
from tests.servers import running, talking

INTERVAL = 0.5


@pytest.fixture
async def clock() -> Clock:
    """That of the test's loop."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def chat(clock: Clock) -> ProgramChat:
    """A hub with the settings of default.toml."""
    return ProgramChat(clock)


async def settled(chat: ProgramChat, clock: Clock, *clients: HubProgram) -> None:
    """What there was to tell is told, and read."""
    await chat.later(clock, INTERVAL)
    for client in clients:
        client.news()


def changes(client: HubProgram) -> list[dict[str, Any]]:
    """What a program was told since the last call: names by kind of change, and the count."""
    told = []
    for event in client.news():
        kinds = {kind: [one.get("name") for one in event[kind]] for kind in event.keys() & {"came", "went", "renamed"}}
        told.append({"members": event["members"], **kinds})
    return told


async def test_programs_are_told_once_an_interval(chat: ProgramChat, clock: Clock) -> None:
    """Nothing before it is over, then all at once, in one event."""
    bob = await chat.come("a", "bob")
    await settled(chat, clock, bob)
    for name in ("alice", "carol", "dave"):
        await chat.come("a", name)
    await chat.later(clock, INTERVAL - 0.1)
    assert bob.news() == []
    await chat.later(clock, 0.1)
    assert changes(bob) == [{"members": 4, "came": ["alice", "carol", "dave"]}]
    await chat.later(clock, 60)
    assert bob.news() == []


async def test_text_clients_with_a_name_are_told_in_a_line(chat: ProgramChat, clock: Clock) -> None:
    """Of others, not of themselves; those without a name never, of nothing."""
    named, unnamed = await chat.come("a", "bob", is_text=True), await chat.come("a", is_text=True)
    await chat.later(clock, INTERVAL)
    alice, carol = await chat.come("a", "alice"), await chat.come("a", "carol", is_text=True)
    await chat.later(clock, INTERVAL)
    alice.ask("rename", room="a", name="al")
    await chat.turn(2)
    await chat.later(clock, INTERVAL)
    alice.leave()
    carol.leave()
    await chat.turn(2)
    await chat.later(clock, INTERVAL)
    assert named.lines[1:] == [
        "* alice, carol are here",
        "* alice is called al now",
        "* al, carol have gone",
    ]
    assert unnamed.lines == []


async def test_a_program_that_is_back_within_the_grace_was_never_away(chat: ProgramChat, clock: Clock) -> None:
    """Its name is kept for it meanwhile: another one that wants it gets another."""
    bob, alice = await chat.come("a", "bob"), await chat.come("a", "alice")
    await settled(chat, clock, bob)
    alice.lose()
    await chat.later(clock, 9)
    other = await chat.come("a", "alice")
    assert other.of("joined")[0]["name"] == "alice-2"
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={"a": {"epoch": "x", "offset": 0}})
    await chat.turn(4)
    await chat.later(clock, 60)
    assert again.of("joined")[0]["name"] == "alice"
    assert changes(bob) == [{"members": 3, "came": ["alice-2"]}]


async def test_after_the_grace_a_program_has_gone_and_its_name_is_free(chat: ProgramChat, clock: Clock) -> None:
    """Not before."""
    bob, alice = await chat.come("a", "bob"), await chat.come("a", "alice")
    await settled(chat, clock, bob)
    alice.lose()
    await chat.later(clock, 9)
    assert (bob.news(), chat.hub.directory.holders("a", "alice")) == ([], ["c2"])
    await chat.later(clock, 2)
    await chat.later(clock, INTERVAL)
    assert changes(bob) == [{"members": 1, "went": ["alice"]}]
    assert (await chat.come("a", "alice")).of("joined")[0]["name"] == "alice"


async def test_a_text_clients_name_is_free_at_once(chat: ProgramChat, clock: Clock) -> None:
    """It cannot resume: who comes back as alice within the grace is alice, and nobody is told."""
    bob, alice = await chat.come("a", "bob"), await chat.come("a", "alice", is_text=True)
    await settled(chat, clock, bob)
    alice.lose()
    await chat.later(clock, 2)
    await chat.come("a", "alice", is_text=True)
    await chat.later(clock, 60)
    assert bob.news() == []
    assert chat.hub.directory.holders("a", "alice") == ["c3"]


async def test_who_leaves_has_gone_and_its_name_is_free(chat: ProgramChat, clock: Clock) -> None:
    """By `leave`, and by a Close of its own."""
    bob = await chat.come("a", "bob")
    for go in (lambda alice: alice.ask("leave", room="a"), HubProgram.leave):
        alice = await chat.come("a", "alice")
        await settled(chat, clock, bob)
        go(alice)
        await chat.turn(2)
        assert chat.hub.directory.holders("a", "alice") == ()
        await chat.later(clock, INTERVAL)
        assert changes(bob) == [{"members": 1, "went": ["alice"]}]


async def test_a_room_of_more_than_200_is_told_its_number_every_two_seconds(chat: ProgramChat, clock: Clock) -> None:
    """No names, to nobody."""
    bob = await chat.come("a", "bob")
    for number in range(200):
        chat.connect("a", f"n{number}")
    await chat.turn(3)
    bob.news()
    for number in range(40):
        await chat.later(clock, 0.1)
        await chat.come("a", f"m{number}")
    told = bob.news()
    assert 2 <= len(told) <= 3
    assert all(event.keys() == {"type", "room", "members"} for event in told)


async def test_typing_is_told_to_programs(chat: ProgramChat, clock: Clock) -> None:
    """With presence's interval, not to text clients, and not again."""
    bob, alice, text = [await chat.come("a", name, is_text=name == "text") for name in ("bob", "alice", "text")]
    await settled(chat, clock, bob)
    before = text.lines
    for _ in range(3):
        alice.ask("typing", room="a")
    await chat.turn()
    assert bob.news() == []
    await chat.later(clock, INTERVAL)
    assert bob.news() == [{"type": "typing", "room": "a", "senders": [{"client": "c2", "name": "alice"}]}]
    await chat.later(clock, 60)
    assert (bob.news(), text.lines) == ([], before)


async def test_a_client_that_is_not_live_is_told_nothing(chat: ProgramChat, clock: Clock) -> None:
    """It is in the room all the same, and the others know."""
    await chat.publish("a", *map(str, range(1200)))
    bob = await chat.come("a", "bob")
    epoch = bob.of("joined")[0]["epoch"]
    alice = await chat.come(None, "alice")
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 0})
    await chat.turn(3)
    assert alice.news()[0]["more"]
    await chat.later(clock, INTERVAL)
    assert (alice.news(), changes(bob)[-1]["members"]) == ([], 2)


async def test_of_several_clients_with_a_name_a_direct_message_is_ambiguous(chat: ProgramChat) -> None:
    """Only a user's own clients share one; by id each can be reached."""
    alice = await chat.come("a", "alice")
    for _ in range(2):
        client = chat.connect(None, "dora")
        client.client.identity = Identity(user="u1", name="dora")
        client.ask("join", room="a")
        await chat.turn(4)
        assert client.of("joined")[0]["name"] == "dora"
    alice.ask("direct", name="dora", room="a", text="psst")
    alice.ask("direct", user="u1", text="psst")
    await chat.turn(2)
    error, sent = alice.news()
    assert (error["code"], error["field"], sent["connections"]) == ("ambiguous", "name", 2)


async def test_a_server_tells_who_comes_goes_types_and_is_renamed() -> None:
    """In all codecs, with the grace on a real clock."""
    settings = {"presence.interval_ms": 50, "presence.grace_seconds": 0.2}
    async with (
        running(settings=settings) as server,
        program(server, "a", "bob") as bob,
        program(server, "a", "bo", MSGPACK) as bo,
        talking(f"{server.ws_url}/a?name=text") as text,
    ):
        assert await text.hear() == "* you are in a as text; 2 others are here"
        async with program(server, "a", "alice", JSON) as alice:
            for watcher in (bob, bo):
                while not any(one["name"] == "alice" for one in (await watcher.next("presence")).get("came", ())):
                    pass
            while "alice" not in await text.hear():
                pass
            await alice.ask("rename", room="a", name="al")
            for watcher in (bob, bo):
                renamed = (await watcher.next("presence"))["renamed"]
                assert renamed == [{"client": alice.client, "was": "alice", "name": "al"}]
            assert await text.hear() == "* alice is called al now"
            await alice.send({"type": "typing", "room": "a"})
            for watcher in (bob, bo):
                assert (await watcher.next("typing"))["senders"] == [{"client": alice.client, "name": "al"}]
            alice.drop()
            for watcher in (bob, bo):
                assert (await watcher.next("presence"))["went"] == [{"client": alice.client, "name": "al"}]
            assert await text.hear() == "* al has gone"
