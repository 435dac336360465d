"""The chat in an aiohttp application of somebody else, beside its own routes and a session middleware."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

import aiochat
from aiochat.config import load
from tests.hubs import QUIET
from tests.servers import talking

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CHAT = web.AppKey("chat", aiochat.Chat)
CONFIG = load(flags=QUIET)


@web.middleware
async def session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """As session libraries do it: whatever was not sent yet gets a cookie."""
    response = await handler(request)
    if not response.prepared:
        response.set_cookie("session", "abc")
    return response


async def announce(request: web.Request) -> web.Response:
    """A handler of the application's own that says something in the chat."""
    try:
        offset = await request.app[CHAT].publish(request.query["room"], text=request.query["text"])
    except aiochat.Reply as reply:
        raise web.HTTPBadRequest(text=reply.code) from None
    return web.json_response({"offset": offset})


@pytest.fixture
def app() -> web.Application:
    """With a chat at /chat and routes of its own."""
    app = web.Application(middlewares=[session])
    app[CHAT] = aiochat.setup(app, CONFIG, prefix="/chat")
    app.add_routes([web.get("/", announce), web.get("/announce", announce)])
    return app


@pytest.fixture
async def server(app: web.Application) -> AsyncIterator[BaseTestServer]:
    """The application on a real socket."""
    async with TestServer(app) as server:
        yield server


@pytest.fixture
async def http(server: BaseTestServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of its visitor."""
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


def ws(server: BaseTestServer, path: str) -> str:
    """The URL of a WebSocket."""
    return str(server.make_url(path))


async def test_a_handler_publishes_into_a_room(server: BaseTestServer, http: aiohttp.ClientSession) -> None:
    """Its members hear it undecorated, among each other's lines; the handler gets the offsets, one after the other."""
    async with talking(ws(server, "/chat/ws/news")) as member, talking(ws(server, "/chat/ws?name=bob")) as other:
        await other.hear()
        for offset, text in ((1, "breaking"), (2, "news")):
            answer = await http.get("/announce", params={"room": "News", "text": text})
            assert await answer.json() == {"offset": offset}
            assert await member.hear() == text
        await member.say("thanks")
        assert await member.hear() == "thanks"
        await http.get("/announce", params={"room": "lobby", "text": "hi"})
        assert await other.hear() == "hi"
        await other.say("/join news")
        assert [await other.hear() for _ in range(3)] == ["breaking", "news", "thanks"]


async def test_publish_needs_no_members(http: aiohttp.ClientSession) -> None:
    """What is said to an empty room is in its history."""
    for offset in (1, 2):
        answer = await http.get("/announce", params={"room": "empty", "text": "anybody?"})
        assert await answer.json() == {"offset": offset}


async def test_data_is_shown_as_json(app: web.Application, server: BaseTestServer) -> None:
    """A message without text is its data, on one line; control characters in text drive nobody's terminal."""
    async with talking(ws(server, "/chat/ws")) as member:
        assert await app[CHAT].publish("lobby", data={"temperature": 21, "where": "Zürich"}) == 1
        assert await member.hear() == '{"temperature":21,"where":"Zürich"}'
        assert await app[CHAT].publish("lobby", text="two\nlines \x1b[2J") == 2
        assert await member.hear() == "two lines \ufffd[2J"


async def test_publish_refuses_a_bad_room(http: aiohttp.ClientSession) -> None:
    """With a `Reply` that says what is wrong."""
    answer = await http.get("/announce", params={"room": "no room", "text": "hi"})
    assert (answer.status, await answer.text()) == (400, "bad_room")


@pytest.mark.usefixtures("server")
async def test_publish_refuses_nothing(app: web.Application) -> None:
    """A message has text, data or both."""
    with pytest.raises(ValueError, match="text, data or both"):
        await app[CHAT].publish("lobby")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"text": 5}, "text: got int, takes a string"),
        ({"text": ""}, "text, data or both"),
        ({"text": "\ud800"}, "surrogates not allowed"),
        ({"text": "x" * 65537}, "over limits.max_message_bytes"),
        ({"data": float("nan")}, "data: takes what JSON can say"),
        ({"data": b"bytes"}, "data: takes what JSON can say"),
        ({"data": {1: 2}}, "data: takes what JSON can say"),
        ({"data": 1 << 60}, "data: takes what JSON can say"),
        ({"room": 5, "text": "hi"}, "room: got int, takes a string"),
    ],
)
async def test_publish_says_what_is_no_message(app: web.Application, said: dict[str, Any], error: str) -> None:
    """And whoever publishes beside it is not refused with it."""
    beside = asyncio.gather(*(app[CHAT].publish("lobby", text=text) for text in ("one", "two")))
    with pytest.raises((TypeError, ValueError, aiochat.Reply), match=error):
        await app[CHAT].publish(**{"room": "lobby", **said})
    assert await beside == [1, 2]


@pytest.mark.usefixtures("server")
async def test_a_message_is_taken_back_by_its_offset(app: web.Application) -> None:
    """By nothing else: what comes from a URL is a string, and no offset."""
    chat: Any = app[CHAT]
    assert await chat.publish("lobby", text="oops") == 1
    for offset in ("1", True, 1.0, None):
        with pytest.raises(TypeError, match=r"offset: got .*, takes a whole number"):
            await chat.erase("lobby", offset)
    for offset in (0, 2, 1 << 70):
        with pytest.raises(aiochat.Reply) as refused:
            await chat.erase("lobby", offset)
        assert refused.value.code == "no_such_message"
    assert await chat.erase("lobby", 1) == 2


async def test_publish_works_while_the_application_runs(app: web.Application) -> None:
    """Before its start and after its clean-up there is no chat to say anything in, and the error says so."""
    with pytest.raises(RuntimeError, match="from the application's start to its clean-up"):
        await app[CHAT].publish("lobby", text="too early")
    async with TestServer(app):
        assert await app[CHAT].publish("lobby", text="hi") == 1
    with pytest.raises(RuntimeError, match="from the application's start to its clean-up"):
        await app[CHAT].publish("lobby", text="too late")


async def test_the_middleware_wraps_everything(server: BaseTestServer, http: aiohttp.ClientSession) -> None:
    """The page gets its cookie, a refused upgrade too; the upgrade itself is none of its business."""
    assert "session" in (await http.get("/chat/")).cookies
    assert "session" in (await http.get("/chat/ws")).cookies
    async with http.ws_connect("/chat/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


async def test_the_page_is_below_the_prefix(http: aiohttp.ClientSession) -> None:
    """At /chat/, where /chat leads; what it refers to is beside it; the application keeps its own root."""
    redirect = await http.get("/chat", allow_redirects=False)
    assert (redirect.status, redirect.headers["Location"]) == (308, "/chat/")
    page = await (await http.get("/chat")).text()
    assert "<title>aiochat</title>" in page
    assert (await http.get("/chat/web/aiochat.js")).status == 200
    assert (await http.get("/chat/healthz")).status == 200
    for path in ("/healthz", "/ws", "/web/aiochat.js"):
        assert (await http.get(path)).status == 404


async def test_two_chats_do_not_mix() -> None:
    """Each prefix is a chat of its own, with its own rooms, names and offsets."""
    app = web.Application()
    chats = [aiochat.setup(app, CONFIG, prefix=prefix) for prefix in ("/one", "/two")]
    async with TestServer(app) as server:
        first, second = (talking(ws(server, f"{prefix}/ws?name=alice")) for prefix in ("/one", "/two"))
        async with first as one, second as two:
            for talker in (one, two):
                assert await talker.hear() == "* you are in lobby as alice; nobody else is here"
            assert [await chat.publish("lobby", text=f"chat {number}") for number, chat in enumerate(chats)] == [1, 1]
            assert [await one.hear(), await two.hear()] == ["chat 0", "chat 1"]
            await one.say("hello")
            await two.say("good day")
            assert [await one.hear(), await two.hear()] == ["alice: hello", "alice: good day"]


async def test_the_end_of_the_application_tells_everyone(app: web.Application, server: BaseTestServer) -> None:
    """Clients are told to come back (1012), after what was said before."""
    async with talking(ws(server, "/chat/ws")) as talker:
        await app[CHAT].publish("lobby", text="good night")
        closing = asyncio.create_task(server.close())
        assert await talker.hear() == "good night"
        assert await talker.closed() == 1012
        await closing


@pytest.mark.parametrize("prefix", ["chat", "/chat/", "/", "chat/"])
def test_a_prefix_is_a_path(prefix: str) -> None:
    """It begins with a slash and does not end with one."""
    with pytest.raises(aiochat.ConfigError, match="prefix: got"):
        aiochat.setup(web.Application(), CONFIG, prefix=prefix)


def test_nothing_else_in_the_process_is_touched() -> None:
    """In a process of its own, from the first import to the clean-up: no signal handler, no logging, no loop policy."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.embedding"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
