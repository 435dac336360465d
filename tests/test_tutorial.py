"""The contract of the Go tutorial's chat, with two unnamed clients in a room and nothing else."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.raw import TEXT, masked
from tests.servers import Server, Talker, talking
from tests.sockets import BINARY, close_frame, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_everyone_hears_a_line_the_sender_included(shared: Server, room: str) -> None:
    """Type in one, read in the other: the line comes to both, as it was typed and with nothing before it."""
    url = f"{shared.ws_url}/{room}"
    async with talking(url) as first, talking(url) as second:
        await first.say("hello, world")
        assert [await first.hear(), await second.hear()] == ["hello, world"] * 2
        await second.say("hello yourself")
        assert [await first.hear(), await second.hear()] == ["hello yourself"] * 2


async def test_without_a_room_everyone_is_in_the_lobby(shared: Server, room: str) -> None:
    """The tutorial's URL, `/ws` and nothing else, is one room; here it is called the lobby."""
    async with talking(shared.ws_url) as first, talking(f"{shared.ws_url}/lobby") as second:
        await first.say(f"from {room}")
        assert [await first.hear(), await second.hear()] == [f"from {room}"] * 2


async def test_everyone_hears_all_lines_in_the_same_order(shared: Server, room: str) -> None:
    """Five who talk at once hear all of it in one order, and each one's lines in the order they were typed."""
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(talking(f"{shared.ws_url}/{room}")) for _ in range(5)]

        async def talk(number: int, talker: Talker) -> list[str]:
            for line in range(15):
                await talker.say(f"{number}:{line}")
            return [await talker.hear() for _ in range(5 * 15)]

        heard = await asyncio.gather(*(talk(number, talker) for number, talker in enumerate(talkers)))
    assert heard == [heard[0]] * 5
    for number in range(5):
        spoken = [line for line in heard[0] if line.startswith(f"{number}:")]
        assert spoken == [f"{number}:{line}" for line in range(15)]


async def test_a_binary_message_counts_as_text(shared: Server, room: str) -> None:
    """Text or binary in, always text out."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.send(masked("grüße".encode(), BINARY))
        assert await wire.next_of(TEXT) == "grüße".encode()


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        ("one\ntwo", "one two"),
        ("one\n\ntwo", "one  two"),
        ("one\r\ntwo", "one two"),
        ("  \n both ends \n\t ", "both ends"),
        ("inner   spaces", "inner   spaces"),
        ("tab\tbed", "tab bed"),
        ("line\u2028separator", "line separator"),
        ("naïve 漢字 🙂 e\u0301", "naïve 漢字 🙂 e\u0301"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("nul\x00 del\x7f c1\x9b", "nul\ufffd del\ufffd c1\ufffd"),
        ("abc\u202ecba", "abc\ufffdcba"),
    ],
)
async def test_a_line_comes_as_it_went(shared: Server, room: str, sent: str, heard: str) -> None:
    """Newlines become spaces, the ends are trimmed, nothing can drive a terminal; all else stays as it is."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(sent)
        assert await wire.hear() == heard


@pytest.mark.parametrize("empty", ["", " ", "\n", "\t \r\n", "\u3000"])
async def test_an_empty_line_is_ignored(shared: Server, room: str, empty: str) -> None:
    """What is nothing after trimming goes to nobody."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(empty, "something")
        assert await wire.hear() == "something"


async def test_each_line_is_a_message_of_its_own(shared: Server, room: str) -> None:
    """Ten lines in one write come as ten WebSocket messages, however they were batched."""
    lines = [f"line {number}" for number in range(10)]
    async with wired(shared, f"/ws/{room}") as speaker, wired(shared, f"/ws/{room}") as listener:
        await speaker.say(*lines)
        assert [await listener.hear() for _ in lines] == lines
        assert [await speaker.hear() for _ in lines] == lines


async def test_a_message_in_fragments_is_one_line(shared: Server, room: str) -> None:
    """A client may fragment, within a character too, with a ping in between."""
    whole = "fragmented ü".encode()
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.send(
            masked(whole[:4], fin=False), masked(b"", 0x9), masked(whole[4:-1], 0, fin=False), masked(whole[-1:], 0)
        )
        assert await wire.hear() == "fragmented ü"


async def test_an_unnamed_client_is_told_nothing_but_what_was_said(shared: Server, room: str) -> None:
    """No greeting, no history, no word of who comes, is renamed and goes: the next line is the first it hears."""
    url = f"{shared.ws_url}/{room}"
    async with talking(url) as earlier:
        await earlier.say("before")
        assert await earlier.hear() == "before"
        async with talking(url) as unnamed:
            async with wired(shared, f"/ws/{room}?name=alice") as alice:
                await alice.say("/nick alicia", "/quit")
                assert await alice.closed() == 1000
            await earlier.say("after")
            assert [await unnamed.hear(), await earlier.hear()] == ["after", "after"]


async def test_a_line_said_just_before_leaving_is_heard(shared: Server, room: str) -> None:
    """A line and the Close in one write: the others hear the line."""
    async with talking(f"{shared.ws_url}/{room}") as listener:
        async with wired(shared, f"/ws/{room}") as leaving:
            await leaving.send(masked(b"goodbye"), close_frame(1000))
            assert await leaving.closed() == 1000
        assert await listener.hear() == "goodbye"


async def test_who_goes_without_a_close_harms_nobody(shared: Server, room: str) -> None:
    """A connection that is simply cut leaves the others chatting, and is logged as 1006."""
    async with talking(f"{shared.ws_url}/{room}") as left:
        async with wired(shared, f"/ws/{room}") as cut:
            await cut.say("I am not well")
            assert await cut.hear() == "I am not well"
        assert await left.hear() == "I am not well"
        await shared.logged("connection_closed", code=1006)
        await left.say("what was that?")
        assert await left.hear() == "what was that?"


@pytest.mark.parametrize("path", ["/ws/{room}", "/ws?room={room}", "/ws?room={upper}&name=", "/ws/{upper}"])
async def test_a_room_is_named_in_the_url(shared: Server, room: str, path: str) -> None:
    """In the path or the query, whatever the case of its letters; each room hears its own lines alone."""
    async with talking(f"{shared.ws_url}/{room}") as inside, talking(f"{shared.ws_url}/not-{room}") as outside:
        async with wired(shared, path.format(room=room, upper=room.upper())) as wire:
            await wire.say("who is here?")
            assert await inside.hear() == "who is here?"
        await outside.say("alone")
        assert await outside.hear() == "alone"


async def test_a_room_is_of_any_script(shared: Server) -> None:
    """The composed and the decomposed form, percent-encoded, are one room."""
    async with wired(shared, "/ws/caf%C3%A9-%E6%BC%A2") as composed, wired(shared, "/ws/CAFE%CC%81-%E6%BC%A2") as other:
        await composed.say("bonjour")
        assert await other.hear() == "bonjour"
