"""Catching up by `join` with `since`: pages, what comes meanwhile, gaps, and who does not go on."""

import asyncio
from typing import Any

import pytest

from tests.hub_programs import Clock, HubProgram, ProgramChat
from tests.programs import Event, offsets

PAGE = 300
KIB = 1024


@pytest.fixture
async def clock() -> Clock:
    """That of the test's loop."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def chat(clock: Clock) -> ProgramChat:
    """A hub whose tails are short, so that the log is read."""
    return ProgramChat(clock, history={"tail_messages": 10})


async def filled(chat: ProgramChat, count: int, room: str = "a") -> str:
    """Publish messages 1 to `count`; the room's epoch."""
    await chat.publish(room, *map(str, range(1, count + 1)))
    return str((await chat.come(room)).of("joined")[0]["epoch"])


async def page(chat: ProgramChat, client: HubProgram, epoch: str, offset: int, room: str = "a") -> Event:
    """What `join` with this `since` is answered with, and nothing else."""
    client.ask("join", room=room, since={"epoch": epoch, "offset": offset})
    await chat.turn(3)
    (joined,) = (event for event in client.news() if event["type"] != "session")
    assert joined["type"] == "joined"
    return joined


async def test_who_missed_nothing_is_live_at_once(chat: ProgramChat) -> None:
    """It is told that it has all."""
    epoch = await filled(chat, 5)
    alice = await chat.come()
    joined = await page(chat, alice, epoch, 5)
    assert (joined["recovered"], joined["more"], joined["offset"], joined["messages"]) == (True, False, 5, [])
    await chat.publish("a", "6")
    assert offsets(alice.news()) == [6]


@pytest.mark.parametrize("tail", [0, 1000])
async def test_all_that_was_missed_is_given_in_pages(clock: Clock, tail: int) -> None:
    """Of 300 messages, from the log as from memory; the last one says that there is no more."""
    chat = ProgramChat(clock, history={"tail_messages": tail or 1})
    epoch = await filled(chat, 700)
    alice = await chat.come()
    seen: list[int] = [10]
    for size, more in ((PAGE, True), (PAGE, True), (90, False)):
        joined = await page(chat, alice, epoch, seen[-1])
        assert (len(joined["messages"]), joined["more"], joined["recovered"]) == (size, more, True)
        seen += offsets(joined["messages"])
    assert seen == list(range(10, 701))


async def test_a_page_holds_256_kib_at_most(chat: ProgramChat) -> None:
    """And one message in any case."""
    await chat.publish("a", *["x" * 60 * KIB] * 9)
    epoch = (await chat.come("a")).of("joined")[0]["epoch"]
    alice = await chat.come()
    sizes = []
    offset, more = 0, True
    while more:
        joined = await page(chat, alice, epoch, offset)
        sizes.append(len(joined["messages"]))
        offset, more = joined["messages"][-1]["offset"], joined["more"]
    assert sizes == [4, 4, 1]


async def test_nothing_is_live_before_the_last_page(chat: ProgramChat) -> None:
    """Neither messages nor presence, until the page that ends at the newest; then each message once, in order."""
    epoch = await filled(chat, 400)
    alice = await chat.come()
    assert (await page(chat, alice, epoch, 0))["more"]
    await chat.publish("a", "401", "402")
    assert alice.news() == []
    joined = await page(chat, alice, epoch, PAGE)
    assert (offsets(joined["messages"]), joined["more"]) == (list(range(301, 403)), False)
    await chat.publish("a", "403")
    assert offsets(alice.news()) == [403]


async def test_what_comes_while_the_log_is_read_follows_the_page(chat: ProgramChat) -> None:
    """However the answers of the log and the appends come: the page ends where live messages begin."""
    epoch = await filled(chat, 200)
    for appended_first in (False, True):
        alice = await chat.come()
        newest = chat.hub.rooms["a"].delivered
        chat.log.is_held = True
        alice.ask("join", room="a", since={"epoch": epoch, "offset": 120})
        if appended_first:
            chat.put("a", "meanwhile")
            await chat.turn()
        await chat.turn()
        chat.put("a", "meanwhile")
        await chat.turn()
        assert len(chat.log.calls) == 2
        while chat.log.calls:
            chat.log.answer()
            await chat.turn(2)
        chat.log.is_held = False
        joined, *messages = alice.news()
        seen = offsets(joined["messages"]) + offsets(messages)
        while joined["more"]:
            joined = await page(chat, alice, epoch, seen[-1])
            seen += offsets(joined["messages"])
        assert seen == list(range(121, newest + 2 + appended_first))


async def test_a_page_and_the_live_messages_behind_it_come_in_one_turn(chat: ProgramChat) -> None:
    """There is no turn in which the client is a member and misses something."""
    epoch = await filled(chat, 5)
    alice = await chat.come()
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 3})
    chat.put("a", "6")
    await chat.hub.turn()
    joined, *live = alice.news()
    assert offsets(joined["messages"]) + offsets(live) == [4, 5, 6]


async def test_a_member_may_ask_for_what_it_missed(chat: ProgramChat) -> None:
    """It is no member twice, and live again after the last page."""
    epoch = await filled(chat, 350)
    alice = await chat.come("a", "alice")
    joined = await page(chat, alice, epoch, 10)
    assert (joined["name"], joined["more"], joined["members"]) == ("alice", True, 2)
    await chat.publish("a", "351")
    assert alice.news() == []
    joined = await page(chat, alice, epoch, 310)
    assert (joined["more"], offsets(joined["messages"])[-1]) == (False, 351)


async def test_who_does_not_ask_on_leaves_the_room(chat: ProgramChat, clock: Clock) -> None:
    """After 60 s, counted anew with each page; its name is free, and it may come again."""
    epoch = await filled(chat, 700)
    alice = await chat.come(None, "alice")
    assert (await page(chat, alice, epoch, 0))["more"]
    await chat.later(clock, 50)
    assert alice.news() == []
    assert (await page(chat, alice, epoch, 300))["more"]
    await chat.later(clock, 50)
    assert alice.news() == []
    await chat.later(clock, 11)
    assert alice.news() == [{"type": "left", "room": "a", "reason": "stalled"}]
    assert alice.client not in chat.hub.rooms["a"].members
    assert (await chat.come("a", "alice")).of("joined")[0]["name"] == "alice"
    assert offsets((await page(chat, alice, epoch, 600))["messages"]) == list(range(601, 701))


async def test_who_has_caught_up_does_not_stall(chat: ProgramChat, clock: Clock) -> None:
    """Nor does one that left the room itself, or has gone."""
    epoch = await filled(chat, 400)
    done, left, gone = [await chat.come() for _ in range(3)]
    for client in (done, left, gone):
        assert (await page(chat, client, epoch, 0))["more"]
    await page(chat, done, epoch, 300)
    left.ask("leave", room="a")
    gone.lose()
    await chat.turn(2)
    left.news()
    await chat.later(clock, 100)
    told = [event["type"] for event in done.news() + left.news()]
    assert (set(told) <= {"presence"}, chat.hub.behind) == (True, {})
    assert done.client in chat.hub.rooms["a"].members


SMALL: dict[str, Any] = {"history": {"max_messages": 20, "tail_messages": 5}, "queue": {"max_messages": 10}}


async def test_what_was_trimmed_is_a_gap(clock: Clock) -> None:
    """From and to, inclusive; then comes the newest history."""
    chat = ProgramChat(clock, **SMALL)
    epoch = await filled(chat, 50)
    alice = await chat.come()
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 10})
    await chat.turn(3)
    gap, joined = alice.news()
    assert gap == {"type": "gap", "room": "a", "epoch": epoch, "from": 11, "to": 30}
    assert offsets(joined["messages"]) == list(range(31, 51))
    assert (joined["recovered"], joined["more"], joined["offset"]) == (False, False, 50)


async def test_all_that_is_still_kept_follows_the_gap(clock: Clock) -> None:
    """However much that is, page by page; `limit` is for those who come without having been there."""
    chat = ProgramChat(clock, history={"max_messages": 400, "tail_messages": 10}, queue={"max_messages": 200})
    epoch = await filled(chat, 421)
    alice = await chat.come()
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 5}, limit=3)
    await chat.turn(3)
    gap, joined = alice.news()
    assert (gap["from"], gap["to"]) == (6, 21)
    assert (joined["recovered"], joined["more"]) == (False, True)
    rest = await page(chat, alice, epoch, joined["messages"][-1]["offset"])
    assert (rest["recovered"], rest["more"]) == (True, False)
    assert offsets([*joined["messages"], *rest["messages"]]) == list(range(22, 422))


@pytest.mark.parametrize("offset", [0, 3, 1000])
async def test_another_epoch_is_a_gap_without_bounds(chat: ProgramChat, offset: int) -> None:
    """It tells the new epoch and where that stands; then comes the newest history."""
    epoch = await filled(chat, 5)
    alice = await chat.come()
    alice.ask("join", room="a", since={"epoch": "other", "offset": offset})
    await chat.turn(3)
    gap, joined = alice.news()
    assert gap == {"type": "gap", "room": "a", "epoch": epoch, "offset": 5}
    assert (joined["epoch"], joined["recovered"], offsets(joined["messages"])) == (epoch, False, [1, 2, 3, 4, 5])


async def test_an_offset_beyond_the_newest_belongs_to_another_epoch(chat: ProgramChat) -> None:
    """Whatever the epoch says."""
    epoch = await filled(chat, 5)
    alice = await chat.come()
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 6})
    await chat.turn(3)
    gap, joined = alice.news()
    assert (gap, joined["recovered"]) == ({"type": "gap", "room": "a", "epoch": epoch, "offset": 5}, False)


async def test_a_room_in_which_nothing_was_said_can_be_caught_up_with(chat: ProgramChat) -> None:
    """Its first message has the epoch that `joined` told."""
    first = await chat.come("a")
    epoch = first.of("joined")[0]["epoch"]
    first.leave()
    await chat.turn(2)
    await chat.publish("a", "1")
    alice = await chat.come()
    joined = await page(chat, alice, epoch, 0)
    assert (joined["recovered"], offsets(joined["messages"]), joined["epoch"]) == (True, [1], epoch)


async def test_an_erasure_is_caught_up_with_like_a_message(chat: ProgramChat) -> None:
    """It has an offset of its own; its target comes without what it said."""
    epoch = await filled(chat, 5)
    _ = chat.hub.publishing.erase("a", 4)
    await chat.turn(2)
    alice = await chat.come()
    messages = (await page(chat, alice, epoch, 2))["messages"]
    assert [(each["type"], each["offset"]) for each in messages] == [
        ("message", 3),
        ("message", 4),
        ("message", 5),
        ("erased", 6),
    ]
    assert (messages[1]["erased"], messages[1].keys() & {"text", "data", "sender"}) == (True, set())
    assert messages[3]["target"] == 4


async def test_while_the_log_cannot_be_read_catching_up_is_refused(chat: ProgramChat) -> None:
    """With when to try again; the client is in no room then, and its name is free."""
    epoch = await filled(chat, 400)
    alice = await chat.come(None, "alice")
    chat.log.fail()
    alice.ask("join", room="a", id=7, since={"epoch": epoch, "offset": 1})
    await chat.turn(3)
    (error,) = alice.news()
    assert (error["id"], error["code"], error["retry_after_ms"] > 0) == (7, "unavailable", True)
    chat.log.mend()
    assert (await chat.come("a", "alice")).of("joined")[0]["name"] == "alice"
    assert (await page(chat, alice, epoch, 1))["recovered"]


async def test_a_failing_log_does_not_put_a_member_out(chat: ProgramChat) -> None:
    """Who is live stays live though it cannot be given what it asks for."""
    epoch = await filled(chat, 400)
    alice = await chat.come("a", "alice")
    chat.log.fail()
    alice.ask("join", room="a", since={"epoch": epoch, "offset": 1})
    await chat.turn(3)
    assert alice.news()[0]["code"] == "unavailable"
    chat.log.mend()
    await chat.publish("a", "401")
    assert (alice.news()[0]["text"], chat.hub.rooms["a"].members[alice.client].name) == ("401", "alice")


@pytest.mark.parametrize("before", [0, 5])
async def test_a_log_that_begins_anew_is_told_to_its_members(clock: Clock, before: int) -> None:
    """By a `gap` with the new epoch, before the first message under it."""
    chat = ProgramChat(clock, history={"max_rooms": 1})
    await filled(chat, before)
    alice = await chat.come("a")
    was = alice.of("joined")[0]["epoch"]
    await chat.publish("a", "x")
    await chat.publish("b", "pushes the other room out")
    alice.news()
    await chat.publish("a", "anew")
    gap, message = alice.news()
    assert (gap["type"], gap["offset"], message["offset"], message["text"]) == ("gap", 0, 1, "anew")
    assert gap["epoch"] != was
