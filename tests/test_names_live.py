"""Named clients in the text protocol: what they are called, how they are shown, what they are told."""

import pytest

from tests.raw import CLOSE, TEXT
from tests.servers import Server, talking
from tests.sockets import wired

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_named_client_is_shown_with_its_name(shared: Server, room: str) -> None:
    """To all, itself included; an unnamed one beside it stays undecorated."""
    async with talking(f"{shared.ws_url}/{room}?name=alice") as alice, talking(f"{shared.ws_url}/{room}") as unnamed:
        assert await alice.hear() == f"* you are in {room} as alice; nobody else is here"
        await alice.say("hello")
        assert [await alice.hear(), await unnamed.hear()] == ["alice: hello"] * 2
        await unnamed.say("hello you")
        assert [await alice.hear(), await unnamed.hear()] == ["hello you"] * 2


@pytest.mark.parametrize("taken", ["alice", "ALICE", "\uff41lice", "  alice ", "alice\ufe0f"])
async def test_a_taken_name_becomes_another(shared: Server, room: str, taken: str) -> None:
    """The second alice is alice-2, however the letters are written and what cannot be seen; the third is alice-3."""
    url = f"{shared.ws_url}/{room}"
    async with talking(url, params={"name": "alice"}) as first, wired(shared, f"/ws/{room}") as second:
        await first.hear()
        await second.say(f"/nick {taken}")
        assert await second.hear() == f"* you are {taken.strip()}-2 in {room}"
        async with talking(url, params={"name": taken}) as third:
            assert await third.hear() == f"* you are in {room} as {taken.strip()}-3; 2 others are here"


async def test_a_name_is_free_again_when_its_client_has_gone(shared: Server, room: str) -> None:
    """By leaving, by renaming, and by going to another room."""
    for ending, opcode in (("/nick bob", TEXT), ("/leave", TEXT), ("/quit", CLOSE)):
        async with wired(shared, f"/ws/{room}?name=alice") as alice:
            await alice.hear()
            await alice.say(ending)
            await alice.next_of(opcode)
            async with wired(shared, f"/ws/{room}?name=alice") as another:
                assert (await another.hear()).startswith(f"* you are in {room} as alice; ")


async def test_the_same_name_again_stays_the_same(shared: Server, room: str) -> None:
    """`/nick alice` by alice herself changes nothing, or the case alone."""
    async with wired(shared, f"/ws/{room}?name=alice") as alice:
        await alice.say("/nick alice", "/nick Alice", "/who")
        answers = [await alice.hear() for _ in range(4)]
        assert answers[1:] == [f"* you are alice in {room}", f"* you are Alice in {room}", f"* 1 in {room}: Alice"]


async def test_a_name_holds_in_its_room(shared: Server, room: str) -> None:
    """The same name in another room is somebody else's; who moves there gets the next one."""
    url = f"{shared.ws_url}/{room}"
    async with talking(f"{url}?name=alice") as here, talking(f"{url}-2?name=alice") as there:
        assert await here.hear() == f"* you are in {room} as alice; nobody else is here"
        assert await there.hear() == f"* you are in {room}-2 as alice; nobody else is here"
        await here.say(f"/join {room}-2")
        assert await here.hear() == f"* you are in {room}-2 as alice-2; 1 other is here"


async def test_a_named_client_gets_the_last_twenty_lines(shared: Server, room: str) -> None:
    """On joining by URL or by `/join`, oldest first, before it is told where it is."""
    said = [f"line {number}" for number in range(25)]
    async with wired(shared, f"/ws/{room}") as speaker, wired(shared, f"/ws/{room}-2?name=bob") as moving:
        await speaker.say(*said)
        assert [await speaker.hear() for _ in said] == said
        async with talking(f"{shared.ws_url}/{room}?name=alice") as alice:
            assert [await alice.hear() for _ in range(20)] == said[-20:]
            assert await alice.hear() == f"* you are in {room} as alice; 1 other is here"
            await moving.hear()
            await moving.say(f"/join {room}")
            assert [await moving.hear() for _ in range(20)] == said[-20:]
            assert await moving.hear() == f"* you are in {room} as bob; 2 others are here"


async def test_history_keeps_the_names_of_its_time(shared: Server, room: str) -> None:
    """A line stays with the name it was said under."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say("unnamed", "/nick alice", "named", "/nick bob", "renamed", "/who")
        while not (await wire.hear()).startswith("* 1 in"):
            pass
        async with talking(f"{shared.ws_url}/{room}?name=carol") as carol:
            assert [await carol.hear() for _ in range(3)] == ["unnamed", "alice: named", "bob: renamed"]


@pytest.mark.parametrize(
    "bad", ["a:b", "a@b", "a/b", 'a"b', "a'b", "*star", "!bang", "x" * 33, "zero\u200bwidth", "left\u2066right"]
)
async def test_a_bad_name_is_refused_and_nothing_changes(shared: Server, room: str, bad: str) -> None:
    """The client keeps the name it has."""
    async with wired(shared, f"/ws/{room}?name=alice") as alice:
        await alice.hear()
        await alice.say(f"/nick {bad}", "hello")
        assert (await alice.hear()).startswith("! a name ")
        assert await alice.hear() == "alice: hello"


async def test_a_long_name_leaves_room_for_its_number(shared: Server, room: str) -> None:
    """The number of a taken name of 32 characters goes into the 32."""
    async with wired(shared, f"/ws/{room}?name={'n' * 32}") as first, wired(shared, f"/ws/{room}") as second:
        assert (await first.hear()).startswith(f"* you are in {room} as {'n' * 32};")
        await second.say(f"/nick {'n' * 32}")
        assert await second.hear() == f"* you are {'n' * 30}-2 in {room}"


async def test_a_name_drives_no_terminal(shared: Server, room: str) -> None:
    """A name with control characters is refused, and what was said in between is not shown with it."""
    async with talking(f"{shared.ws_url}/{room}") as other, wired(shared, f"/ws/{room}") as wire:
        await wire.say("/nick \x1b[2Jred", "hello", "/msg \x9bwhom hello", "/who", "/quit")
        await wire.closed()
        line = await other.hear()
        assert line == "hello"
