"""The Python client against a server that says what each test tells it to: breaks, refusals, gaps, and its bounds."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.errors import Reply
from aiochat.messages import (
    Ack,
    Call,
    Command,
    Direct,
    Erased,
    Error,
    Gap,
    Goodbye,
    History,
    HistoryPage,
    Join,
    Joined,
    Left,
    Limits,
    Message,
    Ping,
    Pong,
    Presence,
    Publish,
    Resume,
    Session,
    Typing,
)
from aiochat.sdk import Backoff, CaughtUp, ChatClient, ChatClosed, ChatEvent, Connected, Disconnected, Interrupted
from tests.scripted import (
    LIMITS,
    Naps,
    Peer,
    Script,
    events_until,
    joined,
    message,
    messages,
    next_of,
    position,
    scripted,
    welcome,
)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """A server without words of its own."""
    async with scripted() as script:
        yield script


@asynccontextmanager
async def chatting(
    script: Script, *, limits: Limits = LIMITS, **options: Any
) -> AsyncIterator[tuple[ChatClient, Peer, Naps]]:
    """A client in the lobby, where offset 5 is the newest, with the server's end of it."""
    naps = Naps()
    chat = aiochat.connect(script.url, **{"name": "alice", "rooms": ["lobby"], "backoff": naps.backoff, **options})
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.welcome(limits=limits)
    if options.get("rooms", True):
        await peer.admit(offset=5)
    await opening
    try:
        yield chat, peer, naps
    finally:
        script.end()
        await chat.close()


async def break_off(chat: ChatClient, peer: Peer, script: Script, limits: Limits = LIMITS) -> Peer:
    """Cut the connection; the server's end of the next one, where the client was welcomed."""
    peer.reset()
    await next_of(chat, Disconnected)
    peer = await script.connection()
    await peer.welcome("provisional", "token of the provisional session", limits=limits)
    return peer


async def until_heard(chat: ChatClient, peer: Peer) -> None:
    """Wait until the client has heard what the server told it."""
    pinging = asyncio.create_task(chat.ping())
    await peer.tell(Pong(id=(await peer.hear(Ping)).id))
    await pinging


def refused(asked: Command, code: str, reason: str = "no", **more: Any) -> Error:
    """The error that answers a command."""
    return Error(id=asked.id, code=code, reason=reason, **more)


def told(events: list[ChatEvent]) -> list[int]:
    """The offsets of the messages among the events."""
    return [event.offset for event in events if isinstance(event, Message)]


async def test_it_is_in_its_rooms_when_it_is_open(script: Script) -> None:
    """So that the first `publish` cannot come too early, and the history is told first."""
    async with chatting(script) as (chat, _, _):
        assert (chat.client, chat.rooms, chat.limits) == ("c1", ("lobby",), LIMITS)
        first, second = await anext(chat), await anext(chat)
        assert first == Connected("c1", resumed=False)
        assert isinstance(second, Joined)
        assert second.offset == 5


async def test_a_room_and_a_name_in_the_url_are_as_good(script: Script) -> None:
    """They are taken out of it, since a session cannot be resumed at such a URL."""
    chat = aiochat.connect(f"{script.url}?room=Kitchen&name=bob&x=1")
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.welcome()
    join = await peer.admit()
    await opening
    assert (join.room, join.name, peer.request.query_string) == ("kitchen", "bob", "x=1")
    await chat.close()


async def test_a_refused_room_ends_the_opening(script: Script) -> None:
    """As the `Reply` that the server gave."""
    opening = asyncio.create_task(aiochat.connect(script.url, rooms=["lobby"]).open())
    peer = await script.connection()
    await peer.welcome()
    await peer.tell(refused(await peer.hear(Join), "forbidden", "banned here"))
    with pytest.raises(Reply, match="banned here"):
        await opening


@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
async def test_a_refused_connection_ends_the_opening(script: Script, status: int) -> None:
    """Whatever the status: whoever starts a program wants to know."""
    script.refusals.append(web.Response(status=status))
    with pytest.raises(ChatClosed) as closed:
        await aiochat.connect(script.url).open()
    assert closed.value.code == status


async def test_a_close_before_the_welcome_ends_the_opening(script: Script) -> None:
    """With the goodbye's words: so a server refuses whoever offers its subprotocol."""
    opening = asyncio.create_task(aiochat.connect(script.url).open())
    peer = await script.connection()
    await peer.tell(Goodbye(code=4400, reason="bad token"))
    await peer.close(4400, "bad")
    with pytest.raises(ChatClosed) as closed:
        await opening
    assert (closed.value.code, closed.value.reason) == (4400, "bad token")


async def test_a_server_that_speaks_something_else_ends_the_opening() -> None:
    """An echo server is no chat."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/ws", echo)
    async with TestServer(app) as server:
        with pytest.raises(ChatClosed, match=r"does not speak aiochat\.v1\.msgpack"):
            await aiochat.connect(server.make_url("/ws"), codec="msgpack").open()


async def test_no_server_ends_the_opening(unused_tcp_port: int) -> None:
    """And what it raises is a ConnectionError, as everywhere."""
    with pytest.raises(ConnectionError, match="Cannot connect"):
        await aiochat.connect(f"ws://127.0.0.1:{unused_tcp_port}/ws").open()


async def test_the_token_is_shown_anew_on_each_connection(script: Script) -> None:
    """A function gives one for each; it is in no URL."""
    tokens = iter(["first", "second"])

    async def token() -> str:
        return next(tokens)

    async with chatting(script, token=token) as (_, peer, _):
        assert peer.request.headers["Authorization"] == "Bearer first"
        await peer.close(4003, "token expired")
        back = await script.connection()
        assert back.request.headers["Authorization"] == "Bearer second"
        assert back.request.query_string == ""


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


async def test_a_publish_is_acknowledged_under_its_key(script: Script) -> None:
    """Each has a key of its own, and ids count up."""
    async with chatting(script) as (chat, peer, _):
        both = asyncio.gather(chat.publish("Lobby", "one"), chat.publish("lobby", data={"two": 2}))
        first, second = await peer.acknowledge(6), await peer.acknowledge(7)
        acks = await both
        assert [ack.offset for ack in acks] == [6, 7]
        assert (first.room, first.text, second.data) == ("lobby", "one", {"two": 2})
        assert isinstance(first.id, int)
        assert isinstance(second.id, int)
        assert first.id < second.id
        assert first.key is not None
        assert len({first.key, second.key}) == 2


async def test_what_was_not_acknowledged_is_sent_again_once_the_rooms_are_back(script: Script) -> None:
    """In its order and under the same keys, and before what was published meanwhile."""
    async with chatting(script) as (chat, peer, _):
        publishing = [asyncio.create_task(chat.publish("lobby", text)) for text in ("one", "two")]
        before = [await peer.hear(Publish), await peer.hear(Publish)]
        back = await break_off(chat, peer, script)
        publishing.append(asyncio.create_task(chat.publish("lobby", "three")))
        await back.take_back()
        await back.hears_nothing()
        await back.tell(joined(None, offset=5, recovered=True, more=False))
        again = [await back.acknowledge(offset) for offset in (6, 7, 8)]
        assert [publish.text for publish in again] == ["one", "two", "three"]
        assert [publish.key for publish in again[:2]] == [publish.key for publish in before]
        assert [ack.offset for ack in await asyncio.gather(*publishing)] == [6, 7, 8]


async def test_after_a_lost_session_a_publish_that_is_in_the_log_is_not_sent_again(script: Script) -> None:
    """The new session has no keys: what was caught up with tells which of them got there."""
    async with chatting(script) as (chat, peer, _):
        publishing = [asyncio.create_task(chat.publish("lobby", text)) for text in ("one", "two")]
        first, second = await peer.hear(Publish), await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        await back.tell(joined(join, message(6, key=first.key), recovered=True, more=False))
        again = await back.acknowledge(7)
        assert (again.text, again.key) == ("two", second.key)
        assert [ack.offset for ack in await asyncio.gather(*publishing)] == [6, 7]


async def test_after_a_lost_session_and_a_gap_nobody_knows(script: Script) -> None:
    """It is not sent again: it might be there twice."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        await back.tell(Gap(room="lobby", epoch="x", offset=0), joined(join, epoch="x", recovered=False, more=False))
        with pytest.raises(Interrupted):
            await publishing


async def test_a_key_that_the_server_has_forgotten_is_not_sent_again(script: Script) -> None:
    """After `key_ms` the same key would make a second message."""
    limits = msgspec.structs.replace(LIMITS, key_ms=1)
    async with chatting(script, limits=limits) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        await asyncio.sleep(0.002)  # of the clock that is asked
        back = await break_off(chat, peer, script, limits)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        with pytest.raises(Interrupted):
            await publishing


async def test_what_has_no_key_is_not_sent_twice(script: Script) -> None:
    """A direct message and a call: whoever asked is told that it may have been done."""
    async with chatting(script) as (chat, peer, _):
        sending, calling = asyncio.create_task(chat.direct("psst", client="c2")), asyncio.create_task(chat.call("pay"))
        await peer.hear(Direct)
        await peer.hear(Call)
        await break_off(chat, peer, script)
        for task in (sending, calling):
            with pytest.raises(Interrupted):
                await task


async def test_what_only_reads_is_asked_again_after_a_break(script: Script) -> None:
    """Whoever waits for it does not notice."""
    async with chatting(script) as (chat, peer, _):
        asking = asyncio.create_task(chat.history("lobby", limit=3))
        await peer.hear(History)
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        again = await back.hear(History)
        await back.tell(HistoryPage(id=again.id, room="lobby", epoch="e", messages=messages(3, 5), more=True))
        assert (await asking).messages == messages(3, 5)


@pytest.mark.parametrize("code", ["rate_limited", "unavailable"])
async def test_what_is_refused_for_now_is_sent_again(script: Script, code: str) -> None:
    """Under the same key, after the time that the server asks for."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        first = await peer.hear(Publish)
        await peer.tell(refused(first, code, retry_after_ms=100))
        await peer.hears_nothing()
        assert (await peer.acknowledge(6)).key == first.key
        assert (await publishing).offset == 6


async def test_what_is_refused_for_too_long_is_told(script: Script) -> None:
    """As the server's last refusal."""
    async with chatting(script, retry_seconds=1.0) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.tell(refused(await peer.hear(Publish), "unavailable", retry_after_ms=1001))
        with pytest.raises(Reply) as reply:
            await publishing
        assert (reply.value.code, reply.value.retry_after_ms) == ("unavailable", 1001)


async def test_a_refusal_for_good_is_told_at_once(script: Script) -> None:
    """With the field that was wrong."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.tell(refused(await peer.hear(Publish), "bad_message", field="text"))
        with pytest.raises(Reply) as reply:
            await publishing
        assert (reply.value.code, reply.value.field) == ("bad_message", "text")


async def test_what_is_too_long_is_not_even_sent(script: Script) -> None:
    """The server would end the chat for it (1009)."""
    limits = msgspec.structs.replace(LIMITS, message_bytes=200)
    async with chatting(script, limits=limits) as (chat, peer, _):
        with pytest.raises(Reply, match="more than the 200") as reply:
            await chat.publish("lobby", "x" * 200)
        assert reply.value.code == "too_long"
        publishing = asyncio.create_task(chat.publish("lobby", "x"))
        assert (await peer.acknowledge(6)).text == "x"
        await publishing


async def test_a_publish_that_is_given_up_is_not_sent_again(script: Script) -> None:
    """A deadline of the caller's takes it back."""
    async with chatting(script) as (chat, peer, _):
        given_up = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        given_up.cancel()
        back = await break_off(chat, peer, script)
        publishing = asyncio.create_task(chat.publish("lobby", "two"))
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        assert (await back.acknowledge(6)).text == "two"
        await publishing


async def test_only_so_many_commands_are_under_way(script: Script) -> None:
    """The others wait for an answer to one of them."""
    async with chatting(script, max_unanswered=2) as (chat, peer, _):
        publishing = [asyncio.create_task(chat.publish("lobby", str(number))) for number in range(3)]
        first = await peer.hear(Publish)
        await peer.hear(Publish)
        await peer.hears_nothing()
        await peer.tell(Ack(id=first.id, room="lobby", offset=6, ts=1))
        await publishing[0]
        chat_closed = asyncio.gather(*publishing[1:], return_exceptions=True)
        await chat.close()
        assert {type(result) for result in await chat_closed} == {ChatClosed}


async def test_it_keeps_to_the_rate_that_the_server_allows(script: Script) -> None:
    """It sends a burst, and then waits, rather than be refused."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=20.0, burst_messages=5)
    async with chatting(script, limits=limits) as (chat, peer, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        publishing = asyncio.gather(*(chat.publish("lobby", str(number)) for number in range(8)))
        for offset in range(6, 14):
            await peer.acknowledge(offset)
        await publishing
        assert loop.time() - began >= 0.15


FINAL = [1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4429, 4499, 4500, 4999, 4003]


@pytest.mark.parametrize("code", FINAL)
async def test_after_a_final_code_it_does_not_come_back(script: Script, code: int) -> None:
    """The iteration and all that waits end with the code and the reason."""
    async with chatting(script) as (chat, peer, naps):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        await peer.close(code, "that was it")
        with pytest.raises(ChatClosed) as closed:
            await next_of(chat, Disconnected)
        assert (closed.value.code, closed.value.reason) == (code, "that was it")
        for waiting in (publishing, chat.publish("lobby", "two")):
            with pytest.raises(ChatClosed, match="that was it"):
                await waiting
        assert naps.seconds == []


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 3000, 4000, 4001, 4004, 4399])
async def test_after_any_other_code_it_comes_back(script: Script, code: int) -> None:
    """After the first step of the back-off; whoever iterates is told when."""
    async with chatting(script) as (chat, peer, naps):
        await peer.close(code, "later")
        assert await next_of(chat, Disconnected) == Disconnected(code, "later", 1.0)
        await script.connection()
        assert naps.seconds == [1.0]


async def test_it_stays_away_for_as_long_as_the_goodbye_asks(script: Script) -> None:
    """A server that stops spreads those who come back."""
    async with chatting(script) as (chat, peer, naps):
        await peer.tell(Goodbye(code=1012, reason="restart", after_ms=12_345))
        await peer.close(1012)
        assert await next_of(chat, Disconnected) == Disconnected(1012, "restart", 12.345)
        await script.connection()
        assert naps.seconds == [12.345]


@pytest.mark.parametrize(("code", "reconnect"), [(4403, True), (1012, False)])
async def test_what_the_goodbye_says_of_coming_back_counts(script: Script, code: int, *, reconnect: bool) -> None:
    """It goes over what the code's range says."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(Goodbye(code=code, reason="so", reconnect=reconnect))
        await peer.close(code)
        if reconnect:
            assert (await next_of(chat, Disconnected)).code == code
        else:
            with pytest.raises(ChatClosed, match="so"):
                await next_of(chat, Disconnected)


def test_the_back_off_is_spread() -> None:
    """Clients that were thrown off together do not come back together."""
    backoff = Backoff()
    for failures, bound in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 20.0), (1000, 20.0)]:
        delays = [backoff.delay(failures) for _ in range(1000)]
        assert 0.5 <= min(delays) < 0.5 + 0.1 * bound
        assert 0.9 * bound < max(delays) <= bound


async def test_a_connection_that_held_ends_the_row_of_failures(script: Script) -> None:
    """The next break is a first one again; one that broke at once is one more."""
    naps = Naps()
    backoff = dataclasses.replace(naps.backoff, steady_seconds=1.0)
    async with chatting(script, backoff=backoff) as (_, peer, _):
        last = peer
        for held_seconds in (0, 0, 1.01):
            await asyncio.sleep(held_seconds)
            last.reset()
            last = await script.connection()
        assert naps.seconds == [1.0, 2.0, 1.0]


async def test_the_back_off_doubles_up_to_its_bound(script: Script) -> None:
    """Refusals that may pass count as failures, `Retry-After` goes over it, and the caller is told once."""
    async with chatting(script) as (chat, peer, naps):
        refusals = [web.Response(status=status) for status in (502, 503, 404, 429, 500, 503)]
        script.refusals = [*refusals, web.Response(status=503, headers={"Retry-After": "7"})]
        peer.reset()
        await script.connection()
        assert naps.seconds == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 7.0]
        events = await events_until(chat, lambda event: isinstance(event, Disconnected))
        assert sum(isinstance(event, Disconnected) for event in events) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_status_that_refuses_for_good_ends_it(script: Script, status: int) -> None:
    """Also on the way back."""
    async with chatting(script) as (chat, peer, _):
        script.refusals = [web.Response(status=status)]
        peer.reset()
        with pytest.raises(ChatClosed) as closed:
            await events_until(chat, lambda event: False)
        assert closed.value.code == status


async def test_a_server_that_is_silent_is_left(script: Script) -> None:
    """No byte for two of its ping intervals, not even a ping."""
    naps = Naps()
    chat = aiochat.connect(script.url, backoff=naps.backoff)
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.tell(msgspec.structs.replace(welcome(), ping_interval_ms=20))
    await opening
    disconnected = await next_of(chat, Disconnected)
    assert (disconnected.code, disconnected.reason) == (1006, "the server was silent for 0.04 seconds")
    await chat.close()


async def test_pings_are_life_enough(script: Script) -> None:
    """They are answered, too."""
    chat = aiochat.connect(script.url)
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.tell(msgspec.structs.replace(welcome(), ping_interval_ms=100))
    await opening
    for _ in range(10):
        await peer.socket.ping()
        assert (await peer.socket.receive()).type is WSMsgType.PONG
        await asyncio.sleep(0.05)
    await peer.tell(message(1), Presence(room="lobby", members=3))
    assert (await next_of(chat, Presence)).members == 3
    await chat.close()


async def test_what_it_cannot_understand_ends_it(script: Script) -> None:
    """Coming back would bring the same."""
    async with chatting(script) as (chat, peer, _):
        await peer.socket.send_str('{"type": "message", "room": 5}')
        closing = asyncio.create_task(peer.socket.receive())
        with pytest.raises(ChatClosed, match="does not understand"):
            await events_until(chat, lambda event: False)
        assert (await closing).type is WSMsgType.CLOSE


async def test_events_that_it_does_not_know_are_left_out(script: Script) -> None:
    """A newer server is no reason to end."""
    async with chatting(script) as (chat, peer, _):
        await peer.socket.send_str('{"type": "reaction", "room": "lobby"}')
        await peer.tell(message(6))
        assert (await next_of(chat, Message)).offset == 6


async def test_who_never_takes_an_event_can_publish_for_ever(script: Script) -> None:
    """What does not fit is left out, and the acks come through: a publisher need not iterate."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        for offset in range(6, 106):
            publishing = asyncio.create_task(chat.publish("lobby", "one"))
            publish = await peer.hear(Publish)
            await peer.tell(message(offset), Ack(id=publish.id, room="lobby", offset=offset, ts=1))
            assert (await publishing).offset == offset


async def test_what_did_not_fit_is_asked_for_when_there_is_room(script: Script) -> None:
    """The caller gets all of it, in order and once, a page larger than the bounds too, and is not told of it."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*messages(6, 30))
        await until_heard(chat, peer)
        events = [await anext(chat) for _ in range(5)]
        join = await peer.hear(Join)
        assert (join.since, join.limit) == (position(13), None)
        await peer.tell(message(99), joined(join, *messages(14, 99), recovered=True, more=False), message(100))
        events += await events_until(chat, lambda event: told([event]) == [99])
        assert told(events) == list(range(6, 100))
        again = await peer.hear(Join)
        assert again.since == position(99)
        await peer.tell(joined(again, message(100), recovered=True, more=False), message(101))
        events = await events_until(chat, lambda event: told([event]) == [101])
        assert events == [message(100), message(101)]


async def test_who_cannot_catch_up_yet_stays_in_the_room(script: Script) -> None:
    """The server takes out who does not ask on: so it comes in without what it missed, and asks for that later."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*messages(6, 30))
        peer.reset()
        back = await script.connection()
        await back.welcome()
        await back.take_back(joined(None, *messages(14, 20), offset=30, recovered=True, more=True))
        live = await back.hear(Join)
        assert (live.since, live.limit) == (None, 0)
        await back.tell(joined(live, offset=30))
        events = [await anext(chat) for _ in range(7)]
        join = await back.hear(Join)
        assert join.since == position(13)
        await back.tell(joined(join, *messages(14, 30), recovered=True, more=False))
        events += await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert told(events) == list(range(6, 31))


async def test_what_is_in_no_log_is_dropped_far_beyond_the_bounds(script: Script) -> None:
    """Nobody fills the memory of who does not look: twice as many events as were allowed, and no more."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*(Presence(room="lobby", members=number) for number in range(100)))
        await until_heard(chat, peer)
        await chat.close()
        assert len([event async for event in chat]) == 20


async def test_the_bound_holds_in_bytes_too(script: Script) -> None:
    """A few large messages are as many as a lot of small ones."""
    async with chatting(script, max_bytes=10_000) as (chat, peer, _):
        await peer.tell(*(Message("lobby", offset, 1, None, "x" * 3000) for offset in range(6, 20)))
        await until_heard(chat, peer)
        await chat.close()
        assert told([event async for event in chat]) == [6, 7, 8, 9]


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


async def test_its_own_close_is_a_good_end(script: Script) -> None:
    """The server hears 1000, what came can still be taken, and the iteration just ends."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(message(6))
        await events_until(chat, lambda event: isinstance(event, Message))
        closing = asyncio.create_task(chat.close())
        close = await peer.socket.receive()
        await closing
        assert (close.type, close.data) == (WSMsgType.CLOSE, 1000)
        assert [event async for event in chat] == []
        with pytest.raises(ChatClosed, match="this client"):
            await chat.publish("lobby", "late")


async def test_closing_during_a_break_is_a_good_end(script: Script) -> None:
    """However long the back-off would be."""
    naps = Naps()
    backoff = dataclasses.replace(naps.backoff, sleep=lambda seconds: asyncio.sleep(3600))
    async with chatting(script, backoff=backoff) as (chat, peer, _):
        peer.reset()
        await next_of(chat, Disconnected)
        await chat.close()
        assert [event async for event in chat] == []


async def test_it_leaves_nothing_behind(script: Script) -> None:
    """No task, no timer and no open session, after breaks and with work under way."""
    before = asyncio.all_tasks()
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        await back.hear(Publish)
        await chat.close()
        with pytest.raises(ChatClosed):
            await publishing
        ours = {task for task in asyncio.all_tasks() - before if "aiochat/sdk" in repr(task)}
        assert ours == set()


async def test_an_http_session_of_the_callers_is_used_and_left_open(script: Script) -> None:
    """With its headers; it may serve others."""
    async with ClientSession(headers={"X-Team": "blue"}) as session:
        async with chatting(script, session=session) as (_, peer, _):
            assert peer.request.headers["X-Team"] == "blue"
        assert not session.closed


async def test_what_cannot_be_is_refused_before_anything_is_connected() -> None:
    """A codec that there is not, and a room's name that cannot be one."""
    with pytest.raises(ValueError, match="codec: got 'xml', takes 'json' or 'msgpack'"):
        aiochat.connect("ws://127.0.0.1:1/ws", codec="xml")
    with pytest.raises(Reply, match="begins with"):
        aiochat.connect("ws://127.0.0.1:1/ws", rooms=["!"])
    with pytest.raises(RuntimeError, match="not open"):
        await aiochat.connect("ws://127.0.0.1:1/ws").publish("lobby", "hi")


async def test_typing_is_told_without_waiting(script: Script) -> None:
    """There is no answer to it; during a break it is left."""
    async with chatting(script) as (chat, peer, _):
        await chat.typing("lobby")
        assert (await peer.hear(Typing)).room == "lobby"
        peer.reset()
        await next_of(chat, Disconnected)
        await chat.typing("lobby")
