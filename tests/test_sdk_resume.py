"""How the Python client comes back after a break: sessions, pages, gaps; against a server with a script."""

import asyncio

import msgspec
import pytest

from aiochat.messages import Erased, Gap, Join, Left, Resume, Session
from aiochat.sdk import CaughtUp, Connected
from tests.scripted import (
    Script,
    break_off,
    chatting,
    events_until,
    joined,
    message,
    messages,
    next_of,
    position,
    refused,
    told,
)


async def test_after_a_break_it_resumes_where_it_was(script: Script) -> None:
    """With the session's token, not that of the new connection, and what it has of each room; and it tells so."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(*messages(6, 7), Session("t2", 600_000))
        await events_until(chat, lambda event: told([event]) == [7])
        back = await break_off(chat, peer, script)
        missed = joined(None, *messages(7, 9), recovered=True, more=False)
        resume = await back.take_back(missed, message(10))
        assert (resume.token, resume.rooms) == ("t2", {"lobby": position(7)})
        events = await events_until(chat, lambda event: told([event]) == [10])
        assert events == [Connected("c1", resumed=True), *messages(8, 9), CaughtUp("lobby", 2), message(10)]
        assert chat.position("lobby") == position(10)


async def test_a_client_that_saw_nothing_yet_resumes(script: Script) -> None:
    """From the offset at which it came in."""
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        resume = await back.take_back(joined(None, offset=5, recovered=True, more=False))
        assert resume.rooms == {"lobby": position(5)}
        assert await next_of(chat, CaughtUp) == CaughtUp("lobby", 0)


async def test_it_asks_on_while_there_are_more_pages(script: Script) -> None:
    """Also after a first answer without messages, and also when told to wait."""
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, offset=9, recovered=True, more=True))
        first = await back.hear(Join)
        await back.tell(refused(first, "rate_limited", retry_after_ms=1))
        again = await back.hear(Join)
        await back.tell(joined(again, *messages(6, 8), recovered=True, more=True))
        last = await back.hear(Join)
        await back.tell(joined(last, message(9), recovered=True, more=False))
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert [join.since for join in (first, again, last)] == [position(5), position(5), position(8)]
        assert (told(events), events[-1]) == ([6, 7, 8, 9], CaughtUp("lobby", 4))


async def test_a_lost_session_is_begun_anew_in_all_rooms(script: Script) -> None:
    """Under the names that were asked for, from where it was; and the new session is the one it resumes next."""
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        assert (join.room, join.name, join.since) == ("lobby", "alice", position(5))
        await back.tell(joined(join, message(6), recovered=True, more=False))
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert events == [Connected("provisional", resumed=False), message(6), CaughtUp("lobby", 1)]
        back = await break_off(chat, back, script)
        assert (await back.hear(Resume)).token == "token of the provisional session"


async def test_a_room_that_is_refused_on_the_way_back_is_left(script: Script) -> None:
    """The caller is told, and goes on in the others."""
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(refused(await back.hear(Join), "forbidden"))
        assert await next_of(chat, Left) == Left(room="lobby", reason="forbidden")
        assert chat.rooms == ()


async def test_a_room_that_the_log_cannot_give_now_is_asked_for_again(script: Script) -> None:
    """`left` with `unavailable` in the answer to `resume` is not the end of it; what is published there waits."""
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await back.take_back(Left(room="lobby", reason="unavailable"))
        join = await back.hear(Join)
        assert (join.name, join.since) == ("alice", position(5))
        await back.hears_nothing()
        await back.tell(joined(join, message(6), recovered=True, more=False))
        assert await next_of(chat, CaughtUp) == CaughtUp("lobby", 1)
        await back.acknowledge(7)
        await publishing


@pytest.mark.parametrize("reason", ["bad_room", "forbidden", "too_many_rooms"])
async def test_a_room_that_is_refused_when_resuming_is_left(script: Script, reason: str) -> None:
    """It counts as told: what is asked does not wait for it, and it is not asked for again."""
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        back = await break_off(chat, peer, script)
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await back.take_back(Left(room="lobby", reason=reason))
        assert await next_of(chat, Left) == Left(room="lobby", reason=reason)
        assert chat.rooms == ()
        await back.acknowledge(7)
        await publishing


async def test_who_is_taken_out_as_stalled_comes_in_again(script: Script) -> None:
    """From where it was; the caller notices nothing."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(Left(room="lobby", reason="stalled"))
        join = await peer.hear(Join)
        await peer.tell(joined(join, message(6), recovered=True, more=False), message(7))
        events = await events_until(chat, lambda event: told([event]) == [7])
        assert (join.since, told(events)) == (position(5), [6, 7])
        assert not [event for event in events if isinstance(event, Left | Gap)]


async def test_a_gap_is_told_before_what_follows_it(script: Script) -> None:
    """Messages 6 to 40 are gone for good."""
    gap = Gap(room="lobby", epoch="e", from_=6, to=40)
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        await back.take_back(gap, joined(None, *messages(41, 42), recovered=False, more=False))
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert events[1:] == [gap, *messages(41, 42), CaughtUp("lobby", 2)]


async def test_after_a_gap_it_asks_on_for_what_the_log_still_holds(script: Script) -> None:
    """The gap comes first, then page after page without another."""
    gap = Gap(room="lobby", epoch="e", from_=6, to=40)
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        back = await break_off(chat, peer, script)
        await back.take_back(gap, joined(None, *messages(41, 42), offset=45, recovered=False, more=True))
        join = await back.hear(Join)
        assert join.since == position(42)
        await back.tell(joined(join, *messages(43, 45), recovered=True, more=False), message(46))
        events = await events_until(chat, lambda event: told([event]) == [46])
        assert events[1:] == [gap, *messages(41, 45), CaughtUp("lobby", 5), message(46)]


async def test_after_a_gap_without_a_page_it_asks_on_as_well(script: Script) -> None:
    """From where the gap ends: `resume` has had no room for a page."""
    gap = Gap(room="lobby", epoch="e", from_=6, to=40)
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        back = await break_off(chat, peer, script)
        await back.take_back(gap, joined(None, offset=42, recovered=False, more=True))
        join = await back.hear(Join)
        assert join.since == position(40)
        await back.tell(joined(join, *messages(41, 42), recovered=True, more=False))
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert events[1:] == [gap, *messages(41, 42), CaughtUp("lobby", 2)]


async def test_a_join_from_a_position_asks_on_after_a_gap(script: Script) -> None:
    """As after a break."""
    gap = Gap(room="lobby", epoch="e", from_=3, to=3)
    async with chatting(script, rooms=[]) as (chat, peer, _), asyncio.timeout(5):
        joining = asyncio.create_task(chat.join("lobby", since=position(2)))
        page = joined(await peer.hear(Join), message(4), offset=5, recovered=False, more=True)
        await peer.tell(gap, page)
        await joining
        join = await peer.hear(Join)
        await peer.tell(joined(join, message(5), recovered=True, more=False))
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert events[2:] == [gap, *messages(4, 5), CaughtUp("lobby", 2)]


async def test_a_log_that_began_anew_is_told_from_its_beginning(script: Script) -> None:
    """Its offsets are smaller than those of before, and nothing of it was seen."""
    gap = Gap(room="lobby", epoch="other", offset=3)
    async with chatting(script) as (chat, peer, _):
        back = await break_off(chat, peer, script)
        page = joined(None, *messages(2, 3), epoch="other", recovered=False, more=False)
        await back.take_back(gap, page, message(4))
        events = await events_until(chat, lambda event: told([event]) == [4])
        assert events[1:] == [gap, *messages(2, 3), CaughtUp("lobby", 2), message(4)]
        assert chat.position("lobby") == position(4, "other")


async def test_a_log_that_begins_anew_under_way_goes_on(script: Script) -> None:
    """A gap with the new epoch, then what is live in it."""
    gap = Gap(room="lobby", epoch="other", offset=2)
    async with chatting(script) as (chat, peer, _):
        await peer.tell(gap, message(3))
        assert (await events_until(chat, lambda event: told([event]) == [3]))[-2:] == [gap, message(3)]


async def test_a_hole_that_the_server_says_nothing_of_is_told(script: Script) -> None:
    """Nobody sees a hole without being told."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(message(6), message(9))
        events = await events_until(chat, lambda event: told([event]) == [9])
        assert events[-3:] == [message(6), Gap(room="lobby", epoch="e", from_=7, to=8), message(9)]


async def test_what_was_seen_is_not_told_again(script: Script) -> None:
    """An entry is known by its offset; an erasure is an entry as well."""
    async with chatting(script) as (chat, peer, _):
        erased = Erased("lobby", 7, 1, 6)
        await peer.tell(message(5), message(6), message(6), erased, erased, message(8))
        events = await events_until(chat, lambda event: told([event]) == [8])
        assert events[2:] == [message(6), erased, message(8)]


async def test_a_join_from_a_position_catches_up(script: Script) -> None:
    """So a program goes on after its own restart: it keeps `position` itself."""
    async with chatting(script, rooms=[]) as (chat, peer, _):
        joining = asyncio.create_task(chat.join("lobby", since=position(2)))
        join = await peer.hear(Join)
        page = joined(join, *messages(4, 5), recovered=False, more=False)
        await peer.tell(Gap(room="lobby", epoch="e", from_=3, to=3), page)
        assert (await joining).recovered is False
        events = await events_until(chat, lambda event: isinstance(event, CaughtUp))
        gap = Gap(room="lobby", epoch="e", from_=3, to=3)
        came_in = msgspec.structs.replace(page, messages=())
        assert events[1:] == [came_in, gap, *messages(4, 5), CaughtUp("lobby", 2)]
