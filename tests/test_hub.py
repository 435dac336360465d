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
from tests.hubs import MANY_ROOMS, ONE_ROOM, UNLIMITED, Chat, SlowChat
from tests.raw import until

# Turns.


async def test_the_hub_wakes_for_what_arrives() -> None:
    """It sleeps while nothing does, and a line is heard without anybody taking turns by hand."""
    chat = Chat()
    turns = asyncio.create_task(chat.hub.run())
    alice = chat.connect()
    for text in ("one", "two"):
        await until(lambda: chat.hub._sleeping is not None)
        alice.say(text)
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
    before = bob.socket.writes
    alice.say("1", "2")
    bob.say("a")
    alice.say("/who", "3", "/rooms")
    await chat.turn()
    assert bob.heard == ["alice: 1", "alice: 2", "alice: 3", "a"]
    assert bob.socket.writes == before + 1
    assert alice.heard[-6:-4] == ["* 2 in lobby: alice, guest-c2", "* lobby (2)"]


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
    assert (len(chat.log.calls), len(chat.hub.clients), chat.hub._inbox_bytes) == (0, 1, 0)


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


# What one client may.


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
    chat.hub._item(Mock(side_effect=ZeroDivisionError))
    alice = chat.connect(name="alice")
    with capture_logs() as logged:
        await chat.turn()
    assert [line["event"] for line in logged] == ["item_failed"]
    assert alice.heard == ["* you are in lobby as alice; nobody else is here"]


async def test_over_the_rate_commands_are_refused() -> None:
    """A burst passes, what is over it is told when to try again; `who`, `rooms` and `history` cost ten."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 21})
    alice = await chat.join(codec=ONE_ROOM)
    for command in (m.Publish("1"), m.Who(), m.Rooms(), m.Publish("2"), m.History(1)):
        alice.ask(command)
    await chat.turn()
    refused = [event for event in alice.told if isinstance(event, m.Error)]
    assert [(error.code, error.command) for error in refused] == [
        ("rate_limited", "publish"),
        ("rate_limited", "history"),
    ]
    assert [(error.retry_after_ms or 0) // 1000 for error in refused] == [1000, 10_000]
    assert refused[0].reason == "more than 0.001 messages a second"


async def test_without_a_rate_nothing_is_refused() -> None:
    """Zero is no limit."""
    chat = Chat(limits=UNLIMITED)
    alice = await chat.join()
    alice.say(*["hello"] * 1000)
    await chat.turn()
    assert alice.heard == ["hello"] * 1000


async def test_who_goes_on_over_the_rate_is_closed() -> None:
    """A hundred refusals within ten seconds are told one by one; the next is 4429, after all that came before it."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 10})
    alice, bob = await chat.join(), await chat.join()
    alice.say(*["hello"] * 110)
    await chat.turn(2)
    assert (alice.code, len(alice.heard)) == (None, 110)
    alice.say(*["too much"] * 5)
    await chat.turn(3)
    assert (alice.code, bob.heard) == (4429, ["hello"] * 10)
    assert len(alice.heard) == 111
    assert list(chat.hub.clients) == ["c2"]


async def test_twenty_bad_messages_are_enough() -> None:
    """Each is answered; the twentieth within a minute is 4400. An unknown command does not count."""
    chat = Chat(limits=UNLIMITED)
    alice = await chat.join()
    alice.say(*["/history x"] * 19, *["/nosuch"] * 100)
    await chat.turn(2)
    assert (alice.code, len(alice.heard)) == (None, 119)
    alice.say("/history x")
    await chat.turn(2)
    assert alice.code == 4400


async def test_a_client_may_be_in_so_many_rooms() -> None:
    """One more is refused; one that it is in already is not one more. Each room has its own messages."""
    chat = Chat(limits={"max_rooms_per_client": 2})
    alice = await chat.join("a", codec=MANY_ROOMS)
    for room in "bca":
        alice.ask(m.Join(room))
        await chat.turn()
    joined = [event.room for event in alice.told if isinstance(event, m.Joined)]
    refused = [event for event in alice.told if isinstance(event, m.Error)]
    assert joined == ["b", "a"]
    assert [(error.code, error.field) for error in refused] == [("too_many_rooms", "room")]
    assert "2 rooms" in refused[0].reason
    for room in "abc":
        alice.ask(m.Publish("hello", room=room))
    await chat.turn()
    assert [event.room for event in alice.told if isinstance(event, m.Message)] == ["a", "b"]
    last = alice.told[-1] if isinstance(alice.told[-1], m.Error) else alice.told[-3]
    assert isinstance(last, m.Error)
    assert last.code == "not_joined"
