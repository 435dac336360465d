"""How the JavaScript client comes back after a break: sessions, pages, gaps; against a server with a script."""

import pytest

from aiochat.messages import Erased, Gap, Join, Left, Rename, Renamed, Resume, Session
from tests.js_clients import break_off, chatting_js, needs_node, summary, told
from tests.scripted import Script, joined, message, messages, position, refused

pytestmark = needs_node


async def test_after_a_break_it_resumes_where_it_was(script: Script) -> None:
    """With the session's token, not that of the new connection, and what it has of each room; and it tells so."""
    async with chatting_js(script) as (chat, peer):
        await peer.tell(*messages(6, 7), Session("t2", 600_000))
        await chat.until(lambda event: told([event]) == [7])
        back = await break_off(chat, peer, script)
        resume = await back.take_back(joined(None, *messages(7, 9), recovered=True, more=False), message(10))
        assert (resume.token, resume.rooms) == ("t2", {"lobby": position(7)})
        events = await chat.until(lambda event: event.get("state") == "online")
        assert summary(events) == ["connecting", "catchingup", 8, 9, "caughtup 2", 10, "online"]
        assert (events[1]["client"], events[1]["resumed"], events[-1]["missed"]) == ("c1", True, 2)
        assert await chat.ask("position", "Lobby") == {"epoch": "e", "offset": 10}


async def test_it_asks_on_while_there_are_more_pages(script: Script) -> None:
    """Also after a first answer without messages, and when told to wait; what the caller asks does not wait."""
    async with chatting_js(script) as (chat, peer):
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, offset=9, recovered=True, more=True))
        first = await back.hear(Join)
        await back.tell(refused(first, "rate_limited", retry_after_ms=1))
        again = await back.hear(Join)
        publishing = chat.start("publish", "lobby", "meanwhile")
        await back.acknowledge(10)
        await publishing
        await back.tell(joined(again, *messages(6, 8), recovered=True, more=True))
        last = await back.hear(Join)
        await back.tell(joined(last, message(9), recovered=True, more=False))
        events = await chat.until(lambda event: event.get("state") == "online")
        assert [join.since for join in (first, again, last)] == [position(5), position(5), position(8)]
        assert (told(events), events[-1]["missed"]) == ([6, 7, 8, 9], 4)


async def test_several_rooms_are_caught_up_with_page_by_page(script: Script) -> None:
    """One page is under way at a time, so that the server's queue does not overflow, and each room has its turn."""
    async with chatting_js(script) as (chat, peer):
        kitchen = chat.start("join", "kitchen")
        await peer.admit(offset=5)
        await kitchen
        back = await break_off(chat, peer, script)
        behind = joined(None, offset=8, recovered=True, more=True)
        await back.take_back(behind, joined(Join(room="kitchen"), offset=6, recovered=True, more=True))
        first = await back.hear(Join)
        await back.hears_nothing()
        await back.tell(joined(first, *messages(6, 7), offset=8, recovered=True, more=True))
        second = await back.hear(Join)
        await back.tell(joined(second, message(6, "kitchen"), recovered=True, more=False))
        last = await back.hear(Join)
        await back.tell(joined(last, message(8), recovered=True, more=False))
        events = await chat.until(lambda event: event.get("state") == "online")
        assert [join.room for join in (first, second, last)] == ["lobby", "kitchen", "lobby"]
        assert summary(events)[2:] == [6, 7, 6, "caughtup 1", 8, "caughtup 3", "online"]
        assert events[-1]["missed"] == 4


async def test_a_lost_session_is_begun_anew_in_all_rooms(script: Script) -> None:
    """Under the name that was asked for last, from where it was; and the new session is the one it resumes next."""
    async with chatting_js(script) as (chat, peer):
        renaming = chat.start("rename", "al")
        await peer.tell(Renamed(id=(await peer.hear(Rename)).id, room="lobby", name="al-2"))
        assert [renamed["name"] for renamed in await renaming] == ["al-2"]
        assert await chat.ask("nameIn", "lobby") == "al-2"
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        assert (join.room, join.name, join.since) == ("lobby", "al", position(5))
        await back.tell(joined(join, message(6), recovered=True, more=False))
        events = await chat.until(lambda event: event.get("state") == "online")
        assert summary(events) == ["connecting", "catchingup", 6, "caughtup 1", "online"]
        assert (events[-1]["client"], events[-1]["resumed"]) == ("provisional", False)
        back = await break_off(chat, back, script)
        assert (await back.hear(Resume)).token == "token of the provisional session"


async def test_a_room_that_is_refused_on_the_way_back_is_left(script: Script) -> None:
    """The page is told why, and goes on in the others."""
    async with chatting_js(script) as (chat, peer):
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(refused(await back.hear(Join), "forbidden", "banned here"))
        error = await chat.next_of("error")
        assert (error["room"], error["code"], error["reason"]) == ("lobby", "forbidden", "banned here")
        assert (await chat.next_of("left"))["reason"] == "forbidden"
        assert await chat.ask("get", "joined") == []


@pytest.mark.parametrize("reason", ["bad_room", "unavailable"])
async def test_a_room_that_is_not_there_when_resuming(script: Script, reason: str) -> None:
    """It is left, or asked for again where the log cannot be read now; what is published there waits for that."""
    async with chatting_js(script) as (chat, peer):
        back = await break_off(chat, peer, script)
        publishing = chat.start("publish", "lobby", "one")
        await back.take_back(Left(room="lobby", reason=reason))
        if reason == "unavailable":
            join = await back.hear(Join)
            assert (join.name, join.since) == ("alice", position(5))
            await back.hears_nothing()
            await back.tell(joined(join, message(6), recovered=True, more=False))
        else:
            assert (await chat.next_of("left"))["reason"] == "bad_room"
        await back.acknowledge(7)
        await publishing


async def test_who_is_taken_out_as_stalled_comes_in_again(script: Script) -> None:
    """From where it was; the page notices nothing."""
    async with chatting_js(script) as (chat, peer):
        await peer.tell(Left(room="lobby", reason="stalled"))
        join = await peer.hear(Join)
        await peer.tell(joined(join, message(6), recovered=True, more=False), message(7))
        events = await chat.until(lambda event: told([event]) == [7])
        assert (join.since, summary(events)) == (position(5), [6, 7])


async def test_gaps_are_told_before_what_follows_them(script: Script) -> None:
    """Those that the server tells, and holes of which it says nothing; and it asks on for what the log still holds."""
    async with chatting_js(script) as (chat, peer):
        back = await break_off(chat, peer, script)
        gap = Gap(room="lobby", epoch="e", from_=6, to=40)
        await back.take_back(gap, joined(None, *messages(41, 42), offset=45, recovered=False, more=True))
        join = await back.hear(Join)
        assert join.since == position(42)
        await back.tell(joined(join, *messages(43, 45), recovered=True, more=False), message(46), message(49))
        events = await chat.until(lambda event: told([event]) == [49])
        expected = ["catchingup", "gap 6-40", 41, 42, 43, 44, 45, "caughtup 5", 46, "gap 47-48", 49]
        assert [said for said in summary(events) if said not in {"connecting", "online"}] == expected


async def test_a_log_that_began_anew_is_told_from_its_beginning(script: Script) -> None:
    """Its offsets are smaller than those of before; while away, and once more while it is here."""
    async with chatting_js(script) as (chat, peer):
        back = await break_off(chat, peer, script)
        page = joined(None, *messages(2, 3), epoch="other", recovered=False, more=False)
        await back.take_back(Gap(room="lobby", epoch="other", offset=3), page, message(4))
        await back.tell(Gap(room="lobby", epoch="third", offset=0), message(1))
        events = await chat.until(lambda event: told([event]) == [1])
        expected = ["gap to other", 2, 3, "caughtup 2", 4, "online", "gap to third", 1]
        assert summary(events)[2:] == expected
        assert await chat.ask("position", "lobby") == {"epoch": "third", "offset": 1}


async def test_what_was_seen_is_not_told_again(script: Script) -> None:
    """An entry is known by its offset; an erasure is an entry as well."""
    async with chatting_js(script) as (chat, peer):
        erased = Erased("lobby", 7, 1, 6)
        await peer.tell(message(5), message(6), message(6), erased, erased, message(8))
        assert summary(await chat.until(lambda event: told([event]) == [8])) == [6, "erased 6", 8]


async def test_a_join_from_a_position_catches_up(script: Script) -> None:
    """So a program goes on after its own restart: it keeps `position` itself."""
    async with chatting_js(script, rooms=[]) as (chat, peer):
        joining = chat.start("join", "lobby", {"since": {"epoch": "e", "offset": 2}})
        page = joined(await peer.hear(Join), message(4), offset=5, recovered=False, more=True)
        await peer.tell(Gap(room="lobby", epoch="e", from_=3, to=3), page)
        assert (await joining)["recovered"] is False
        join = await peer.hear(Join)
        await peer.tell(joined(join, message(5), recovered=True, more=False))
        events = await chat.until(lambda event: event["kind"] == "caughtup")
        assert (events[0]["kind"], events[0]["messages"]) == ("joined", [])
        assert summary(events)[1:] == ["gap 3-3", 4, 5, "caughtup 2"]
