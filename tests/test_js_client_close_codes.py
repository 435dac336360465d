"""When the JavaScript client comes back, when at once, and when never; against a server with a script."""

import asyncio

import msgspec
import pytest

from aiochat.messages import Goodbye, Join, Ping, Pong, Publish
from tests.js_clients import ChatError, JsChat, break_off, chatting_js, needs_node, running_js, summary
from tests.scripted import Peer, Script, joined, message, welcome

pytestmark = needs_node

FINAL = [1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4429, 4499, 4500, 4999, 4003]
PASSING = [1001, 1011, 1012, 1013, 3000, 4000, 4001, 4004, 4399]
HOUR_MS = 3_600_000


async def opened(chat: JsChat, script: Script, **options: object) -> Peer:
    """A new chat in the same process, in no room."""
    await chat.ask("connect", {"url": script.url, **options})
    peer = await script.connection()
    await peer.welcome()
    await chat.next_of("state", state="online")
    return peer


async def test_after_a_final_code_it_does_not_come_back(script: Script) -> None:
    """`refused` says why, and all that waits ends with it."""
    async with running_js() as chat:
        for code in FINAL:
            peer = await opened(chat, script)
            publishing = chat.start("publish", "lobby", "one")
            await peer.hear(Publish)
            await peer.close(code, "that was it")
            refused = await chat.next_of("refused")
            assert (refused["code"], refused["reason"]) == (code, "that was it")
            for waiting in (publishing, chat.start("publish", "lobby", "two")):
                with pytest.raises(ChatError, match="that was it") as error:
                    await waiting
                assert (error.value.code, error.value.close_code) == ("closed", code)
            assert [event["state"] for event in await chat.quiet() if event["kind"] == "state"] == ["closed"]


async def test_after_any_other_code_it_comes_back(script: Script) -> None:
    """After the back-off; the page is told when and why."""
    async with running_js() as chat:
        for code in PASSING:
            peer = await opened(chat, script, waitMs=1)
            await peer.close(code, "later")
            waiting = await chat.next_of("state", state="waiting")
            assert (waiting["code"], waiting["reason"], waiting["retryInMs"]) == (code, "later", 1)
            await script.connection()
            await chat.ask("close")


async def test_a_new_token_is_shown_for_an_old_one(script: Script) -> None:
    """A function gives one for each connection, in the list of subprotocols; one that fails is asked again."""
    async with chatting_js(script, tokens=["first", None, None, "second"]) as (chat, peer):
        assert peer.request.headers["Sec-WebSocket-Protocol"] == "aiochat.v1.json,bearer.first"
        await peer.close(4003, "token expired")
        back = await script.connection()
        assert back.request.headers["Sec-WebSocket-Protocol"] == "aiochat.v1.json,bearer.second"
        assert back.request.query_string == ""
        reasons = [event["reason"] for event in await chat.quiet() if event.get("state") == "waiting"]
        assert reasons == ["token expired", *["there was no token to show: Error: no token today"] * 2]


async def test_it_stays_away_for_as_long_as_the_goodbye_asks(script: Script) -> None:
    """A server that stops spreads those who come back: nothing but the caller's own wish goes over that."""
    async with chatting_js(script) as (chat, peer):
        await peer.tell(Goodbye(code=1012, reason="restart", after_ms=12_345))
        await peer.close(1012)
        waiting = await chat.next_of("state", state="waiting")
        assert (waiting["code"], waiting["reason"], waiting["retryInMs"]) == (1012, "restart", 12_345)
        await chat.ask("fire", "online")
        assert (await chat.ask("get", "state"))["state"] == "waiting"
        await chat.ask("reconnect")
        await script.connection()


@pytest.mark.parametrize(("code", "reconnect"), [(4403, True), (1012, False)])
async def test_what_the_goodbye_says_of_coming_back_counts(script: Script, code: int, *, reconnect: bool) -> None:
    """It goes over what the code's range says."""
    async with chatting_js(script) as (chat, peer):
        await peer.tell(Goodbye(code=code, reason="so", reconnect=reconnect))
        await peer.close(code)
        ended = await chat.until(lambda event: event["kind"] == "refused" or event.get("state") == "waiting")
        assert (ended[-1]["kind"], ended[-1]["code"]) == ("state" if reconnect else "refused", code)


@pytest.mark.parametrize("sign", ["online", "visible"])
async def test_it_wakes_when_the_browser_says_so(script: Script, sign: str) -> None:
    """When there is a network again, and when somebody looks at the page; not when the page is hidden."""
    async with chatting_js(script, waitMs=HOUR_MS) as (chat, peer):
        peer.reset()
        await chat.next_of("state", state="waiting", retryInMs=HOUR_MS)
        await chat.ask("look", "hidden")
        assert (await chat.ask("get", "state"))["state"] == "waiting"
        wake = ("fire", "online") if sign == "online" else ("look", "visible")
        await chat.ask(*wake)
        (await script.connection()).reset()
        assert (await chat.next_of("failures"))["failures"] == 1  # those of before were the network's
        await chat.next_of("state", state="waiting")
        await chat.ask(*wake)
        back = await script.connection()
        await back.welcome()
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        await chat.next_of("state", state="online")


async def test_a_connection_that_stands_is_tried_when_the_browser_says_so(script: Script) -> None:
    """It may have been lost while the machine slept."""
    async with chatting_js(script) as (chat, peer):
        await chat.ask("look", "visible")
        await peer.hear(Ping)
        await peer.tell(Pong())
        await chat.ask("close")
        await chat.ask("fire", "online")
        assert (await chat.ask("get", "state"))["state"] == "closed"


async def test_a_server_that_is_silent_is_asked_and_then_left(script: Script) -> None:
    """A page does not hear pings: after an interval it asks for a sign of life, which any word is, and then it goes."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": script.url})
        peer = await script.connection()
        await peer.tell(msgspec.structs.replace(welcome(), ping_interval_ms=400))
        await chat.next_of("state", state="online")
        await peer.hear(Ping)
        await peer.tell(Pong())
        await peer.hear(Ping)
        waiting = await chat.next_of("state", state="waiting")
        assert (waiting["code"], waiting["reason"]) == (1006, "the server was silent")


async def test_the_back_off_counts_failures_in_a_row(script: Script) -> None:
    """Also connections that are refused before there is one."""
    async with chatting_js(script) as (chat, peer):
        peer.reset()
        for _ in range(2):
            (await script.connection()).reset()
        await script.connection()
        events = await chat.quiet()
        assert [event["failures"] for event in events if event["kind"] == "failures"] == [1, 2, 3]
        assert [event["attempt"] for event in events if event.get("state") == "connecting"] == [1, 2, 3]


async def test_the_back_off_is_spread(script: Script) -> None:
    """Clients that were thrown off together do not come back together."""
    async with running_js() as chat:
        for failures, bound in [(1, 1000), (2, 2000), (5, 16_000), (6, 20_000), (1000, 20_000)]:
            drawn = [await chat.ask("fullJitter", failures, random) for random in (0, 0.5, 1)]
            assert drawn == [500, (500 + bound) / 2, bound]
        drawn = await asyncio.gather(*(chat.ask("fullJitter", 3) for _ in range(20)))
        assert len(set(drawn)) > 10
        assert 500 <= min(drawn) < max(drawn) <= 4000


async def test_what_it_cannot_understand_ends_it(script: Script) -> None:
    """Coming back would bring the same."""
    async with running_js() as chat:
        for said in ("no JSON", "null", '{"type": "welcome"}', b"binary"):
            peer = await opened(chat, script)
            await (peer.socket.send_bytes(said) if isinstance(said, bytes) else peer.socket.send_str(said))
            refused = await chat.next_of("refused")
            assert refused["code"] == (1003 if isinstance(said, bytes) else 1002)


async def test_its_own_close_is_a_good_end(script: Script) -> None:
    """The server hears 1000, nothing comes any more, not even in the middle of a page, and the process may end."""
    async with chatting_js(script) as (chat, peer):
        closing = asyncio.ensure_future(peer.socket.receive())
        await chat.ask("closeOn", "message")
        await peer.tell(message(6), message(7))
        events = await chat.until(lambda event: event.get("state") == "closed")
        assert summary(events) == [6, "closed"] or summary(events) == ["closed", 6]
        assert (await closing).data == 1000


async def test_closing_during_a_break_is_a_good_end(script: Script) -> None:
    """However long the back-off would be."""
    async with chatting_js(script, waitMs=HOUR_MS) as (chat, peer):
        peer.reset()
        await chat.next_of("state", state="waiting")
        await chat.ask("close")
        assert summary(await chat.quiet()) == ["closed"]


async def test_without_a_server_it_goes_on_trying(unused_tcp_port: int) -> None:
    """A browser cannot tell a refusal from a network that is down."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": f"ws://127.0.0.1:{unused_tcp_port}/ws", "rooms": "lobby"})
        for _ in range(2):
            waiting = await chat.next_of("state", state="waiting")
            assert waiting["code"] == 1006
            assert "ECONNREFUSED" in waiting["reason"]


async def test_what_cannot_be_is_refused_before_anything_is_connected() -> None:
    """A URL that is none, a kind of event that there is not, a place without WebSocket."""
    async with running_js() as chat:
        for url in ("lobby", "127.0.0.1:8080/ws", "ftp://127.0.0.1/ws", ""):
            with pytest.raises(ChatError, match="url: expected one like wss://HOST/ws") as error:
                await chat.ask("connect", {"url": url})
            assert error.value.name == "TypeError"
        await chat.ask("connect", {"url": "ws://127.0.0.1:1/ws"})
        with pytest.raises(ChatError, match="on: expected one of state, joined"):
            await chat.ask("break", "mesage")


async def test_a_room_and_a_name_in_the_url_are_as_good(script: Script) -> None:
    """They are taken out of it, since a session cannot be resumed at such a URL."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": f"{script.url}?room=Kitchen&name=bob&x=1#lobby"})
        peer = await script.connection()
        await peer.welcome()
        join = await peer.admit()
        assert (join.room, join.name, peer.request.query_string) == ("kitchen", "bob", "x=1")


async def test_a_break_before_it_is_in_its_rooms_is_no_end(script: Script) -> None:
    """It comes into them on the next connection, and is online only then."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": script.url, "rooms": ["lobby", "Lobby", "kitchen"]})
        (await script.connection()).reset()
        peer = await script.connection()
        await peer.welcome()
        await peer.admit()
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, recovered=True, more=False))
        kitchen = await back.hear(Join)
        assert (await chat.ask("get", "state"))["state"] == "catchingup"
        await back.tell(joined(kitchen))
        await chat.next_of("state", state="online")
        assert await chat.ask("get", "joined") == ["lobby", "kitchen"]
