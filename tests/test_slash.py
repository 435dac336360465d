"""The slash commands of the text protocol, each as somebody types it."""

from contextlib import AsyncExitStack

import pytest

from tests.servers import Server, running, talking
from tests.sockets import wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMMANDS = ("/help", "/nick", "/join", "/leave", "/rooms", "/who", "/msg", "/me", "/history", "/quit", "//")


async def test_help_lists_every_command(shared: Server, room: str) -> None:
    """Each command is on a line of its own, and all of them are notices."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say("/help", "/quit")
        listed = [await wire.hear() for _ in COMMANDS[1:]]
        listed = sorted(line.split()[1].partition("...")[0] for line in listed if line.startswith("* /"))
        assert {*listed} >= {*COMMANDS[1:-1]}


async def test_two_slashes_send_one(shared: Server, room: str) -> None:
    """`//` is how to say something that begins with a slash."""
    async with talking(f"{shared.ws_url}/{room}") as listener, wired(shared, f"/ws/{room}") as wire:
        await wire.say("//usr/bin", "  // a comment", "//")
        assert [await listener.hear() for _ in range(3)] == ["/usr/bin", "/ a comment", "/"]


async def test_an_unknown_command_is_told_and_harmless(shared: Server, room: str) -> None:
    """It is refused to its sender alone, however often, and the connection lives."""
    async with talking(f"{shared.ws_url}/{room}") as listener, wired(shared, f"/ws/{room}") as wire:
        await wire.say(*["/dance"] * 30, "still here")
        assert [await wire.hear() for _ in range(30)] == ["! /dance is not a command; /help lists them"] * 30
        assert [await wire.hear(), await listener.hear()] == ["still here"] * 2


async def test_commands_have_no_case(shared: Server, room: str) -> None:
    """`/NICK` is `/nick`; what follows keeps its case."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say("/NICK  Alice ")
        assert await wire.hear() == f"* you are Alice in {room}"


async def test_commands_of_one_write_are_answered_in_order(shared: Server, room: str) -> None:
    """Several lines in one turn of the hub: each is applied after the one before it."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say("/nick alice", "/who", f"/join {room}-2", "/who", "/nick bob", "/me waves", "/quit")
        assert [await wire.hear() for _ in range(6)] == [
            f"* you are alice in {room}",
            f"* 1 in {room}: alice",
            f"* you are in {room}-2 as alice; nobody else is here",
            f"* 1 in {room}-2: alice",
            f"* you are bob in {room}-2",
            "* bob waves",
        ]
        assert await wire.closed() == 1000


async def test_join_moves_to_another_room(shared: Server, room: str) -> None:
    """After `/join` the client hears and is heard there, and here no longer; unnamed, it gets no history."""
    url = f"{shared.ws_url}/{room}"
    async with talking(url) as stayed, talking(f"{url}-2") as there, talking(url) as moving:
        await there.say("before")
        assert await there.hear() == "before"
        await moving.say(f"/join {room.upper()}-2")
        assert await moving.hear() == f"* you are in {room}-2; 1 other is here"
        await stayed.say("where did you go?")
        assert await stayed.hear() == "where did you go?"
        await moving.say("hello")
        assert [await moving.hear(), await there.hear()] == ["hello", "hello"]
        await moving.say("/who")
        assert (await moving.hear()).startswith(f"* 2 in {room}-2: ")


async def test_leave_goes_back_to_the_lobby(shared: Server, room: str) -> None:
    """There is always one room to be in."""
    async with talking(f"{shared.ws_url}/{room}") as talker, talking(shared.ws_url) as lobby:
        await talker.say("/leave")
        assert (await talker.hear()).startswith("* you are in lobby; ")
        await talker.say(f"back from {room}")
        assert await lobby.hear() == f"back from {room}"


@pytest.mark.parametrize("bad", ["-dash", "a b", "a/b", "x" * 129, "emo🙂ji", "ü" * 65, "\x1b[2J"])
async def test_a_bad_room_is_refused_and_nothing_changes(shared: Server, room: str, bad: str) -> None:
    """The client stays where it is."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(f"/join {bad}", "/who")
        assert (await wire.hear()).startswith("! a room's name ")
        assert (await wire.hear()).startswith(f"* 1 in {room}: guest-")


async def test_rooms_lists_the_fullest_first(shared: Server, room: str) -> None:
    """Each room with its number of members."""
    url = f"{shared.ws_url}/{room}"
    async with talking(f"{url}-2"), talking(f"{url}-2"), talking(url) as asking:
        await asking.say("/rooms")
        assert await asking.hear() == f"* {room}-2 (2)"
        assert await asking.hear() == f"* {room} (1)"


async def test_who_names_everyone(shared: Server, room: str) -> None:
    """Named clients by their name, unnamed ones by a short id of their own."""
    async with talking(f"{shared.ws_url}/{room}?name=alice") as alice, talking(f"{shared.ws_url}/{room}") as unnamed:
        await unnamed.say("/who")
        count, _, names = (await unnamed.hear()).partition(": ")
        assert count == f"* 2 in {room}"
        named, _, guest = names.partition(", ")
        assert named == "alice"
        assert guest.startswith("guest-")
        assert len(guest) <= 16
        await alice.socket.close()


async def test_msg_reaches_its_target_alone(shared: Server, room: str) -> None:
    """The target hears it, the sender is told, and to everyone else the next line is the first."""
    url = f"{shared.ws_url}/{room}"
    async with talking(f"{url}?name=bob%20b") as bob, talking(url) as other, wired(shared, f"/ws/{room}") as wire:
        await bob.hear()
        await wire.say('/msg "Bob B"  psst ', "/who")
        assert await wire.hear() == "* sent to Bob B"
        guest = (await wire.hear()).rpartition(", ")[2]
        assert await bob.hear() == f"* {guest} to you alone: psst"
        await bob.say(f"/msg {guest} what?")
        assert await bob.hear() == f"* sent to {guest}"
        assert await wire.hear() == "* bob b to you alone: what?"
        await wire.say("aloud")
        assert await other.hear() == "aloud"


async def test_msg_reaches_nobody_outside_the_room(shared: Server, room: str) -> None:
    """A name holds in its room: whoever has it elsewhere is not found."""
    url = f"{shared.ws_url}/{room}"
    async with talking(url) as talker, talking(f"{url}-2?name=carol") as carol:
        assert (await carol.hear()).startswith("* you are in ")
        await talker.say("/msg carol hello")
        assert await talker.hear() == f"! nobody in {room} is called carol"
        await carol.say("/history")
        assert await carol.hear() == f"* nothing was said in {room}-2 yet"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/nick", "! it is /nick NAME"),
        ("/join", "! it is /join ROOM"),
        ("/msg", "! it is /msg NAME TEXT"),
        ("/msg alice", "! it is /msg NAME TEXT"),
        ("/me", "! it is /me ACTION"),
        ("/history 0", "! it is /history N"),
        ("/history 301", "! it is /history N"),
        ("/history ten", "! it is /history N"),
        ("/history ²", "! it is /history N"),
        ("/history 99999999999999999999", "! it is /history N"),
    ],
)
async def test_a_command_that_lacks_something_says_what(shared: Server, room: str, line: str, answer: str) -> None:
    """The answer is how to type it, and the connection lives."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(line, "go on")
        assert (await wire.hear()).startswith(answer)
        assert await wire.hear() == "go on"


async def test_me_says_what_one_does(shared: Server, room: str) -> None:
    """To all, under the name or the short id, and in the history too."""
    async with talking(f"{shared.ws_url}/{room}") as listener, wired(shared, f"/ws/{room}") as wire:
        await wire.say("/me waves")
        assert (await listener.hear()).startswith("* guest-")
        assert (await wire.hear()).endswith(" waves")
        await wire.say("/nick alice", "/me bows")
        assert [await wire.hear(), await wire.hear()] == [f"* you are alice in {room}", "* alice bows"]
        assert await listener.hear() == "* alice bows"
        await wire.say("/history 1")
        assert [await wire.hear(), await wire.hear()] == [f"* the last line of {room}:", "* alice bows"]


async def test_history_shows_the_last_lines(shared: Server, room: str) -> None:
    """Twenty unless told otherwise, oldest first, and as they were said."""
    said = [f"line {number}" for number in range(30)]
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(*said)
        assert [await wire.hear() for _ in said] == said
        for command, lines in (("/history", said[-20:]), ("/history 3", said[-3:]), ("/history 300", said)):
            await wire.say(command)
            assert await wire.hear() == f"* the last {len(lines)} lines of {room}:"
            assert [await wire.hear() for _ in lines] == lines


async def test_quit_answers_first_and_then_closes(shared: Server, room: str) -> None:
    """What came before `/quit` is answered, the others hear it, and the Close is the normal one."""
    async with talking(f"{shared.ws_url}/{room}") as listener, wired(shared, f"/ws/{room}") as wire:
        await wire.say("goodbye", "/who", "/quit", "not said any more")
        assert (await wire.hear()).startswith(f"* 2 in {room}: ")
        assert await wire.closed() == 1000
        assert await listener.hear() == "goodbye"
        await listener.say("who was that?")
        assert await listener.hear() == "who was that?"


async def test_who_and_rooms_stay_short() -> None:
    """With 300 members and 111 rooms the answers are bounded, and say how many more there are."""
    rooms = ["crowd"] * 299 + [f"small-{number}" for number in range(110)] + ["crowd"]
    async with running() as server, AsyncExitStack() as stack:
        *_, asking = [await stack.enter_async_context(wired(server, f"/ws/{room}")) for room in rooms]
        await asking.say("/who", "/rooms")
        who = await asking.hear()
        assert who.startswith("* 300 in crowd: guest-")
        assert who.endswith(" and 100 more")
        assert who.count("guest-") == 200
        assert await asking.hear() == "* crowd (300)"
        assert all([(await asking.hear()).startswith("* small-") for _ in range(99)])
        assert await asking.hear() == "* and 11 more rooms"
