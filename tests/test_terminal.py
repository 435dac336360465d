"""`aiochat chat` in a terminal: what a person types there, and the screen that comes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

import aiochat
from aiochat.messages import DirectMessage
from aiochat.sdk import ChatClient
from tests.proxies import proxied
from tests.scripted import next_of, scripted
from tests.servers import Server, running
from tests.windows import CTRL_C, CTRL_D, CTRL_U, ENTER, TAB, Window, window

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def terminal(shared: Server) -> AsyncIterator[Window]:
    """Alice at her terminal, from test to test."""
    async with window(shared.ws_url, "--name", "alice") as alice:
        await alice.shows("lobby>")
        yield alice


@pytest_asyncio.fixture(loop_scope="session")
async def alice(terminal: Window, room: str) -> Window:
    """She has gone to the test's room, and is alone there."""
    terminal.type(f"{CTRL_U}/join {room}{ENTER}")
    await terminal.shows(f"* you are in {room} as alice; nobody else is here", f"{room}>")
    return terminal


@pytest_asyncio.fixture(loop_scope="session")
async def bob(shared: Server, alice: Window, room: str) -> AsyncIterator[ChatClient]:
    """He is a program, in the same room."""
    async with aiochat.connect(shared.ws_url, name="bob", rooms=[room]) as bob:
        yield bob


@asynccontextmanager
async def at_a_terminal(url: str, room: str) -> AsyncIterator[Window]:
    """Alice at a terminal of the test's own, in an empty room."""
    async with window(url, "--name", "alice", "--room", room) as alice:
        await alice.shows(f"* you are in {room} as alice; nobody else is here", f"{room}>")
        yield alice


async def test_the_line_being_typed_stays_whole(alice: Window, bob: ChatClient, room: str) -> None:
    """Whatever comes meanwhile is shown above it, in order, and the cursor stays where it was."""
    alice.type("half a thou")
    await alice.shows(f"{room}> half a thou")
    for number in range(5):
        await bob.publish(room, f"interruption {number}")
        await alice.shows(f"bob: interruption {number}", f"{room}> half a thou")
    assert alice.cursor == (len(f"{room}> half a thou"), len(alice.lines) - 1)
    alice.type(f"ght{ENTER}")
    await alice.shows("bob: interruption 4", "alice: half a thought", f"{room}>")


async def test_a_burst_scrolls_by_and_leaves_the_line(alice: Window, bob: ChatClient, room: str) -> None:
    """The screen ends with the last of the messages, none of them torn."""
    alice.type("still here")
    await asyncio.gather(*(bob.publish(room, f"line {number} {'x' * 50}") for number in range(60)))
    await alice.shows(*(f"bob: line {number} {'x' * 50}" for number in range(40, 60)), f"{room}> still here")


async def test_a_line_that_is_too_wide_is_whole_again(alice: Window, bob: ChatClient, room: str) -> None:
    """It is wrapped where the terminal ends, and so is what comes meanwhile."""
    alice.type("y" * 100)
    await bob.publish(room, "z" * 100)
    await alice.shows("bob: " + "z" * 75, "z" * 25, f"{room}> " + "y" * (78 - len(room)), "y" * (22 + len(room)))


async def test_who_comes_in_sees_what_was_said_last(terminal: Window, shared: Server, room: str) -> None:
    """The last twenty lines, then who is there."""
    async with aiochat.connect(shared.ws_url, name="bob", rooms=[room]) as bob:
        for number in range(25):
            await bob.publish(room, f"line {number}")
        terminal.type(f"{CTRL_U}/join {room}{ENTER}")
        last = [f"bob: line {number}" for number in range(5, 25)]
        await terminal.shows(*last, f"* you are in {room} as alice; 1 other is here", f"{room}>")
        assert "bob: line 4" not in terminal.lines


async def test_names_have_a_colour_of_their_own(alice: Window, bob: ChatClient, room: str) -> None:
    """The same for a name each time."""
    alice.type(f"hello{ENTER}")
    await alice.shows("alice: hello", f"{room}>")
    await bob.publish(room, "hi")
    await bob.publish(room, "there")
    await alice.shows("bob: hi", "bob: there", f"{room}>")
    assert alice.colour("bob: hi") == alice.colour("bob: there")
    assert len({alice.colour("bob: hi"), alice.colour("alice: hello"), "default"}) == 3


async def test_what_others_send_drives_no_terminal(alice: Window, bob: ChatClient, room: str) -> None:
    """Neither in a message nor in data."""
    await bob.publish(room, "\x1b[2J\x1b[31mred\x07\nand more")
    await alice.shows("bob: \ufffd[2J\ufffd[31mred\ufffd and more", f"{room}>")
    await bob.publish(room, data={"\x9b2J": "\u202e"})
    await alice.shows('bob: {"\ufffd2J":"\ufffd"}', f"{room}>")


async def test_people_come_and_go(room: str) -> None:
    """They are announced, and what they are called now; alice is not told of herself."""
    async with (
        running(settings={"presence.interval_ms": 20}) as server,
        at_a_terminal(server.ws_url, room) as alice,
        aiochat.connect(server.ws_url, name="bob", rooms=[room]) as bob,
    ):
        await alice.shows(f"* you are in {room} as alice; nobody else is here", "* bob is here", f"{room}>")
        await bob.rename(room, "robert")
        await alice.shows("* bob is called robert now", f"{room}>")
        await bob.leave(room)
        await alice.shows("* robert has gone", f"{room}>")


async def test_slash_commands_are_answered(alice: Window, bob: ChatClient, room: str) -> None:
    """In the words of the text codec."""
    for typed, answer in [
        ("/me waves", "* alice waves"),
        ("//not a command", "alice: /not a command"),
        ("/who", f"* 2 in {room}: alice, bob"),
        ("/nick carol", f"* you are carol in {room}"),
        ("/history 1", "alice: /not a command"),
        ("/msg bob psst", "* sent to bob"),
        ("/msg nobody psst", f"! not sent: nobody in {room} is called nobody"),
        ("/frobnicate", "! /frobnicate is not a command; /help lists them"),
        ("/help", "* //...                a line that begins with a slash"),
    ]:
        alice.type(typed + ENTER)
        await alice.shows(answer, f"{room}>")
    heard = await next_of(bob, DirectMessage)
    assert (heard.sender.name, heard.text) == ("carol", "psst")
    await bob.direct("psst yourself", name="carol", room=room)
    await alice.shows("* bob to you alone: psst yourself", f"{room}>")
    alice.type(f"/nick alice{ENTER}")
    await alice.shows(f"* you are alice in {room}", f"{room}>")


async def test_a_join_moves(alice: Window, bob: ChatClient, room: str) -> None:
    """What is typed after it is said there, and nothing comes from where one was."""
    other = f"{room}-b"
    alice.type(f"/join {other}{ENTER}hello{ENTER}")
    await alice.shows(f"* you are in {other} as alice; nobody else is here", "alice: hello", f"{other}>")
    assert [member.name for member in (await bob.who(room)).members] == ["bob"]
    alice.type(f"/leave{ENTER}")
    await alice.until(lambda lines: lines[-1:] == ["lobby>"] and "* you are in lobby as alice" in lines[-2])


async def test_the_tab_key_completes(alice: Window, bob: ChatClient, room: str) -> None:
    """Commands, who is there, and rooms."""
    await bob.publish(room, "I am bob")
    await alice.shows("bob: I am bob", f"{room}>")
    alice.type("/ni" + TAB)
    await alice.shows(f"{room}> /nick")
    alice.type(CTRL_U + "/msg B" + TAB + "x")
    await alice.shows(f"{room}> /msg bob x")
    await bob.join("zebras")
    alice.type(f"{CTRL_U}/rooms{ENTER}")
    await alice.until(lambda lines: "* zebras (1)" in lines and lines[-1] == f"{room}>")
    alice.type("/join Z" + TAB)
    await alice.shows(f"{room}> /join zebras")
    alice.type(CTRL_U + "/h" + TAB + TAB)
    await alice.until(lambda lines: ["/help", "/history"] in [line.split() for line in lines])


async def test_a_break_is_told_and_caught_up_with(shared: Server, room: str) -> None:
    """What is typed meanwhile waits, and the prompt says so; what was missed comes with its number."""
    async with (
        proxied(shared.port) as proxy,
        aiochat.connect(shared.ws_url, name="bob", rooms=[room]) as bob,
        window(proxy.url, "--name", "alice", "--room", room) as alice,
    ):
        await alice.shows(f"* you are in {room} as alice; 1 other is here", f"{room}>")
        proxy.stall()
        proxy.reset()
        await alice.shows("* reconnecting ...", f"{room} (not connected)>")
        alice.type(f"are you there?{ENTER}one more{ENTER}")
        await alice.shows("* reconnecting ...", f"{room} (not connected, 1 waiting)>")
        for number in range(12):
            await bob.publish(room, f"missed {number}")
        proxy.go_on()
        missed = [f"bob: missed {number}" for number in range(12)]
        said = ["alice: are you there?", "alice: one more"]
        await alice.shows(*missed, "* caught up, 12 missed messages", *said, f"{room}>")


async def test_a_restart_of_the_server_is_no_more_than_a_break(tmp_path: Path, room: str) -> None:
    """The log, the name and the room are what they were."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "server.reconnect_spread_seconds": 0}
    async with proxied(0) as proxy, AsyncExitStack() as stack:
        async with running(settings=settings) as server:
            proxy.port = server.port
            alice = await stack.enter_async_context(at_a_terminal(proxy.url, room))
        await alice.shows("* reconnecting ...", f"{room} (not connected)>")
        proxy.stall()
        async with running(settings=settings) as server:
            proxy.port = server.port
            async with aiochat.connect(server.ws_url, name="bob", rooms=[room]) as bob:
                await bob.publish(room, "back so soon?")
            proxy.go_on()
            await alice.shows("bob: back so soon?", "* caught up, 1 missed message", f"{room}>")
            alice.type(f"yes{ENTER}")
            await alice.shows("* caught up, 1 missed message", "alice: yes", f"{room}>")


async def test_a_break_without_a_loss_is_over_in_a_word(shared: Server, room: str) -> None:
    """Nothing was missed."""
    async with proxied(shared.port) as proxy, at_a_terminal(proxy.url, room) as alice:
        proxy.reset()
        await alice.shows("* reconnecting ...", "* connected again", f"{room}>")


@pytest.mark.parametrize(
    ("keys", "code"), [(f"/quit{ENTER}", 0), (CTRL_D, 0), (CTRL_C, 130), (f"bye{ENTER}{CTRL_D}", 0)]
)
async def test_it_ends_as_it_should(shared: Server, room: str, keys: str, code: int) -> None:
    """What was typed before is still said, and the terminal is left as it was."""
    async with at_a_terminal(shared.ws_url, room) as alice:
        alice.type(keys)
        assert await alice.ended() == code
        said = ["alice: bye"] if keys.startswith("bye") else []
        assert alice.lines == [f"* you are in {room} as alice; nobody else is here", *said]


async def test_a_final_close_ends_it_with_the_reason() -> None:
    """Exit code 1, and the reason is the last line."""
    async with scripted() as script, window(script.url, "--name", "alice") as alice:
        peer = await script.connection()
        await peer.welcome()
        await peer.admit()
        await alice.shows("lobby>")
        alice.type("in the middle of")
        await peer.close(4410, "kicked")
        assert await alice.ended() == 1
        assert alice.lines[-1] == "* kicked (4410)"


async def test_a_chat_that_is_not_there_is_one_line(unused_tcp_port: int) -> None:
    """Exit code 2, before there is a prompt."""
    async with window(f"ws://127.0.0.1:{unused_tcp_port}/ws?room=x") as alice:
        await alice.until(bool)
        assert await alice.ended() == 2
        assert alice.lines[0].startswith(f"aiochat: there is no chat at ws://127.0.0.1:{unused_tcp_port}/ws: ")
