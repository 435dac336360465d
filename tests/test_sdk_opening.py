"""How the Python client begins and ends: refused, closed, nothing left behind; against a server with a script."""

import asyncio
import dataclasses

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.errors import Reply
from aiochat.messages import Goodbye, Join, Joined, Message, Publish
from aiochat.sdk import ChatClosed, Connected, Disconnected
from tests.scripted import (
    LIMITS,
    Naps,
    Script,
    break_off,
    chatting,
    events_until,
    joined,
    message,
    next_of,
    refused,
)


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


async def test_a_token_that_cannot_be_had_ends_the_opening(script: Script) -> None:
    """As what its function raised."""

    async def token() -> str:
        raise LookupError("no token today")

    with pytest.raises(LookupError, match="no token today"):
        await aiochat.connect(script.url, token=token).open()


async def test_a_token_that_cannot_be_had_now_is_a_break(script: Script) -> None:
    """Once the chat has begun: it backs off, and asks again."""
    tokens: list[str | Exception] = ["third", LookupError("no token today"), LookupError("nor now"), "first"]

    async def token() -> str:
        shown = tokens.pop()
        if isinstance(shown, Exception):
            raise shown
        return shown

    async with chatting(script, token=token) as (chat, peer, naps), asyncio.timeout(5):
        back = await break_off(chat, peer, script)
        assert back.request.headers["Authorization"] == "Bearer third"
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        assert (await next_of(chat, Connected)).resumed
        assert naps.seconds == [1.0, 2.0, 4.0]


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


@pytest.mark.parametrize("url", ["lobby", "127.0.0.1:8080/ws", "localhost:8080", "ftp://127.0.0.1/ws", "ws:///ws", ""])
async def test_a_url_that_is_none_is_told_what_one_looks_like(url: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match="url: expected one like ws://HOST:PORT/ws"):
        aiochat.connect(url)


@pytest.mark.parametrize("status", [200, 404, 426])
async def test_where_there_is_no_web_socket_one_is_told_what_a_url_looks_like(script: Script, status: int) -> None:
    """The path is easily forgotten."""
    script.refusals.append(web.Response(status=status))
    with pytest.raises(ChatClosed, match=rf"a chat's URL is like ws://HOST:PORT/ws \({status}\)"):
        await aiochat.connect(script.url).open()


async def test_one_room_needs_no_list(script: Script) -> None:
    """Its letters are no rooms."""
    async with chatting(script, rooms="lobby") as (chat, _, _):
        assert chat.rooms == ("lobby",)


async def test_what_cannot_be_is_refused_before_anything_is_connected() -> None:
    """A codec that there is not, and a room's name that cannot be one."""
    with pytest.raises(ValueError, match="codec: got 'xml', takes 'json' or 'msgpack'"):
        aiochat.connect("ws://127.0.0.1:1/ws", codec="xml")
    with pytest.raises(Reply, match="begins with"):
        aiochat.connect("ws://127.0.0.1:1/ws", rooms=["!"])
    with pytest.raises(RuntimeError, match="not open"):
        await aiochat.connect("ws://127.0.0.1:1/ws").publish("lobby", "hi")
