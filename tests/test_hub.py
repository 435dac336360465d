"""The hub's turns: what waits for them, what they cost the loop, and what becomes of those who do too much."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from aiochat import commands, hub
from aiochat import messages as m
from tests.hubs import Chat, SlowChat
from tests.raw import until

# Turns.


async def test_the_hub_wakes_for_what_arrives() -> None:
    """It sleeps while nothing does, and a line is heard without anybody taking turns by hand."""
    chat = Chat()
    turns = asyncio.create_task(chat.hub.run())
    alice = chat.connect()
    for text in ("one", "two"):
        await until(lambda: chat.hub._sleeping is not None)
        alice.say("/join lobby", text)
        await until(lambda text=text: text in alice.heard)  # type: ignore[misc]
    turns.cancel()
    with suppress(asyncio.CancelledError):
        await turns


async def test_a_window_makes_one_batch_of_what_comes_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub waits `batch.window_ms` before each turn, and not a moment without it."""
    slept: list[float] = []
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await over.wait()

    chat = Chat(batch={"window_ms": 30})
    alice = await chat.join()
    monkeypatch.setattr(hub, "asyncio", SimpleNamespace(sleep=sleep, Future=asyncio.Future))
    turns = asyncio.create_task(chat.hub.run())
    alice.say("one")
    await until(lambda: bool(slept))
    alice.say("two")
    assert (slept, alice.heard) == ([0.03], [])
    over.set()
    await until(lambda: bool(alice.heard))
    assert (alice.heard, alice.outbox.messages_out, alice.socket.writes) == (["one", "two"], 2, 1)
    turns.cancel()
    with suppress(asyncio.CancelledError):
        await turns


async def test_a_turn_takes_everything_in_each_clients_order() -> None:
    """A client's lines go out in one write, and so do its answers."""
    chat = Chat()
    alice, bob = await chat.join(name="alice"), await chat.join()
    before = alice.socket.writes, bob.socket.writes
    alice.say("1", "2")
    bob.say("a")
    alice.say("/nick al", "/history x", "3")
    await chat.turn()
    assert bob.heard == ["alice: 1", "alice: 2", "al: 3", "a"]
    assert alice.heard[1] == "* you are al in lobby"
    assert alice.heard[2].startswith("! it is /history N")
    assert alice.heard[3:] == bob.heard
    assert (alice.socket.writes, bob.socket.writes) == (before[0] + 2, before[1] + 1)


async def test_a_large_fan_out_lets_the_loop_breathe() -> None:
    """Between slices of a thousand writes others have their turn; who comes and goes meanwhile waits for the last."""
    chat = Chat()
    members = [chat.connect() for _ in range(2500)]
    await chat.turn()
    members[0].say("hello")
    turn = asyncio.create_task(chat.hub.turn())
    await asyncio.sleep(0)
    reached = sum(bool(member.heard) for member in members)
    assert 1000 <= reached < 2500
    assert not turn.done()
    late, gone = chat.connect(), members[-1]
    gone.hang_up()
    await turn
    assert [member.heard for member in members[:-1]] == [["hello"]] * 2499
    assert (gone.heard, late.heard) == ([], [])
    await chat.turn()
    assert (len(chat.hub.rooms["lobby"].members), gone.client in chat.hub.rooms["lobby"].members) == (2500, False)


async def test_what_was_said_before_a_hang_up_is_said() -> None:
    """Even where both come in one turn."""
    chat = Chat()
    alice, bob = await chat.join(), await chat.join()
    alice.say("goodbye")
    alice.hang_up()
    await chat.turn(2)
    assert bob.heard == ["goodbye"]
    assert len(chat.hub.clients) == 1


async def test_what_was_said_before_a_quit_is_said_and_nothing_after_it() -> None:
    """However slow the log is: the words, their echo, the Close."""
    chat = SlowChat()
    alice, bob = await chat.come(), await chat.come()
    alice.say("before", "/quit", "after")
    await chat.turn(3)
    assert (alice.code, bob.heard) == (None, [])
    await chat.answer()
    await chat.turn(2)
    assert (alice.heard, alice.code, bob.heard) == (["before"], 1000, ["before"])
    assert (len(chat.log.calls), len(chat.hub.clients), chat.hub.inbox.bytes) == (0, 1, 0)


async def test_what_was_asked_before_a_quit_is_answered() -> None:
    """Even where nothing waits for the log."""
    chat = Chat()
    alice = await chat.join()
    alice.say("/who", "/quit")
    await chat.turn(2)
    assert (alice.heard, alice.code) == (["* 1 in lobby: guest-c1"], 1000)


async def test_a_quit_while_hung_up_leaves_nothing() -> None:
    """Whoever does not wait for the Close is gone all the same."""
    chat = Chat()
    alice = await chat.join()
    alice.say("/quit", "after")
    alice.hang_up()
    await chat.turn(4)
    assert chat.is_empty


# Faults.


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in which `/who` has a bug."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(commands.COMMANDS, m.Who, fail)


@pytest.mark.usefixtures("failing")
async def test_a_command_that_fails_costs_its_client_alone() -> None:
    """It is closed with 1011, and the log says whose command of which kind it was; the others' turn goes on."""
    chat = Chat()
    alice, bob = await chat.join(), await chat.join()
    alice.say("/who")
    bob.say("hello")
    with capture_logs() as logged:
        await chat.turn(2)
    assert (alice.code, bob.code, bob.heard) == (1011, None, ["hello"])
    (line,) = logged
    assert (line["event"], line["client"], line["command"]) == ("command_failed", "c1", "Who")
    assert list(chat.hub.clients) == ["c2"]


async def test_an_item_that_fails_is_logged_and_the_turn_goes_on() -> None:
    """The hub survives its own faults."""
    chat = Chat()
    chat.hub.later(Mock(side_effect=ZeroDivisionError))
    alice = chat.connect(name="alice")
    with capture_logs() as logged:
        await chat.turn()
    assert [line["event"] for line in logged] == ["item_failed"]
    assert alice.heard == ["* you are in lobby as alice; nobody else is here"]


async def test_a_connection_that_fails_to_go_on_is_closed_and_the_others_chat_on() -> None:
    """Whatever it was, the others chat on."""
    chat = Chat()
    alice, bob = await chat.join(), await chat.join()
    turns = asyncio.create_task(chat.hub.run())
    with capture_logs() as logged:
        chat.hub.inbox.hold(alice.client, Mock(side_effect=ZeroDivisionError))
        await until(lambda: bool(logged))
    assert [line["event"] for line in logged] == ["feed_failed"]
    assert alice.client.outbox.is_sealed
    bob.say("hello")
    await until(lambda: bob.heard == ["hello"])
    turns.cancel()
    with suppress(asyncio.CancelledError):
        await turns
