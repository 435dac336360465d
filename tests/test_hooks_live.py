"""Hooks of an application that mounts the chat: cookies, the whole request, and clients of every kind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from structlog.testing import capture_logs

import aiochat
from aiochat.config import load
from aiochat.messages import Message
from tests.hubs import QUIET
from tests.js_clients import needs_node, running_js
from tests.programs import JSON, Program
from tests.servers import talking

USER = web.RequestKey("user", str)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """As session libraries do it: what the cookie stands for is in the request."""
    if "session" in request.cookies:
        request[USER] = request.cookies["session"]
    return await handler(request)


@asynccontextmanager
async def mounted(application: aiochat.Hooks, **settings: dict[str, Any]) -> AsyncIterator[BaseTestServer]:
    """An application with the chat at /chat, on a real socket."""
    app = web.Application(middlewares=[session])
    aiochat.setup(app, load(flags={**QUIET, **settings}), prefix="/chat", hooks=application)
    async with TestServer(app) as server:
        yield server


@asynccontextmanager
async def visiting(server: BaseTestServer, query: str = "", **options: Any) -> AsyncIterator[Program]:
    """A program whose connection is open; `options` are those of aiohttp's session."""
    url = server.make_url(f"/chat/ws{query}")
    async with aiohttp.ClientSession(**options) as http, http.ws_connect(url, protocols=(JSON,)) as socket:
        yield Program(socket)


def ws(server: BaseTestServer, path: str = "/chat/ws") -> str:
    """The URL of a WebSocket."""
    return str(server.make_url(path))


def who() -> aiochat.Hooks:
    """Who has a session comes in as that user."""
    hooks = aiochat.Hooks()

    @hooks.on_connect
    async def who_is_it(request: web.Request) -> aiochat.Identity | None:
        user = request.get(USER)
        if user == "mallory":
            raise aiochat.Refused("no_trust", "we know you", close=4507)
        return None if user is None else aiochat.Identity(user=user, rooms=("Team",), join=("team", f"{user}-*"))

    return hooks


async def test_a_cookie_says_who_it_is() -> None:
    """User, name, rooms and rights are those of the site's session; names of rooms may be written as people do."""
    async with mounted(who()) as server, visiting(server, cookies={"session": "alice"}) as alice:
        assert (await alice.next("welcome"))["user"] == "alice"
        joined = await alice.next("joined")
        assert (joined["room"], joined["name"]) == ("team", "alice")
        assert (await alice.ask("join", room="alice-1"))["type"] == "joined"
        assert await alice.refusal("join", room="lobby") == ("forbidden", "room")
        await alice.ask("publish", room="team", text="hi")
        message = await alice.next("message")
        assert message["sender"] == {"client": alice.client, "user": "alice", "name": "alice"}


async def test_who_has_none_is_whoever_it_would_be() -> None:
    """Anonymous, and shown as a guest, so that nobody passes for a user by what they say."""
    async with mounted(who()) as server, talking(ws(server)) as guest, talking(ws(server, "/chat/ws?name=bob")) as bob:
        await bob.hear()
        await guest.say("alice: trust me")
        assert (await bob.hear()).startswith("guest-")


async def test_a_browser_sees_why_it_was_refused() -> None:
    """By a close code of the application's own, after `goodbye`; whoever speaks no subprotocol sees the status."""
    async with mounted(who()) as server:
        async with visiting(server, cookies={"session": "mallory"}) as mallory:
            code, goodbye = await mallory.closed()
        assert (code, goodbye["code"], goodbye["reason"]) == (4507, 4507, "no_trust: we know you")
        async with aiohttp.ClientSession(cookies={"session": "mallory"}) as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(ws(server))
        assert refused.value.status == 403


@pytest.mark.parametrize(
    ("error", "status", "close"),
    [
        (aiochat.Refused("unauthorized", "log in", close=4401), 401, 4401),
        (aiochat.Refused("forbidden", "no"), 403, 4403),
        (web.HTTPUnauthorized(), 401, 4401),
        (web.HTTPForbidden(), 403, 4403),
    ],
)
async def test_what_login_libraries_raise_is_understood(error: Exception, status: int, close: int) -> None:
    """As `Refused` is, with the code that means the same."""
    hooks = aiochat.Hooks()

    @hooks.on_connect
    async def nobody(request: web.Request) -> None:
        raise error

    async with mounted(hooks) as server:
        async with visiting(server) as client:
            assert (await client.closed())[0] == close
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(ws(server))
        assert refused.value.status == status


@pytest.mark.parametrize(
    ("answer", "event", "error"),
    [
        (ValueError("secret"), "hook_failed", "ValueError"),
        (SystemExit("secret"), "hook_failed", "SystemExit"),
        ("alice", "hook_failed", "it returns an aiochat.Identity or None"),
        (aiochat.Identity(user=" "), "hook_failed", "a user is 1 to 255 characters"),
        (aiochat.Identity(user=5), "hook_failed", "Expected `str | null`, got `int` - at `$.user`"),  # type: ignore[arg-type]
        (aiochat.Identity(rooms="team"), "hook_failed", "got `str` - at `$.rooms`"),  # type: ignore[arg-type]
        (aiochat.Identity(rooms=("no room",)), "hook_failed", "a room's name"),
        (aiochat.Identity(expires=float("inf")), "hook_failed", "expires is in seconds since 1970"),
        (aiochat.Identity(expires=float("nan")), "hook_failed", "expires is in seconds since 1970"),
        (aiochat.Identity(join=("a/*",)), "hook_failed", "a room's name"),
        (None, "hook_late", ""),
    ],
)
async def test_a_defect_is_unavailable(answer: Any, event: str, error: str) -> None:
    """A 503, also for browsers, who are to come back; the log says which hook, without the error's own text."""
    hooks = aiochat.Hooks()

    @hooks.on_connect
    async def broken(request: web.Request) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer or await asyncio.get_running_loop().create_future()

    with capture_logs() as logged:
        async with mounted(hooks, hooks={"timeout_seconds": 0.1}) as server, aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(ws(server), protocols=(JSON,))
    assert refused.value.status == 503
    (line,) = [line for line in logged if line["event"].startswith("hook_")]
    assert (line["event"], line["hook"]) == (event, "on_connect")
    assert error in line.get("error", "")
    assert "secret" not in str(logged)


async def test_so_many_connect_at_once() -> None:
    """One more waits until another has been answered."""
    hooks, running, most = aiochat.Hooks(), 0, 0

    @hooks.on_connect
    async def slow(request: web.Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async def connect() -> None:
        async with visiting(server) as client:
            await client.next("welcome")

    async with mounted(hooks, hooks={"max_running": 2}) as server:
        await asyncio.gather(*(connect() for _ in range(8)))
    assert most == 2


async def test_the_hook_knows_what_the_token_says() -> None:
    """It is asked once the token was verified, and may say otherwise; where one is required, it may stand in for it."""
    hooks, known = aiochat.Hooks(), []

    @hooks.on_connect
    async def look(request: web.Request) -> aiochat.Identity | None:
        known.append(request[aiochat.IDENTITY].user)
        user = request.get(USER)
        return None if user is None else aiochat.Identity(user=user)

    key = "k" * 32
    token = jwt.encode({"sub": "alice", "exp": 10**10}, key, "HS256")
    security = {"mode": "required", "token_key": key}
    async with mounted(hooks, security=security) as server:
        async with visiting(server, f"?token={token}") as alice:
            assert (await alice.next("welcome"))["user"] == "alice"
        async with visiting(server, f"?token={token}", cookies={"session": "bob"}) as bob:
            assert (await bob.next("welcome"))["user"] == "bob"
        async with visiting(server, cookies={"session": "carol"}) as carol:
            assert (await carol.next("welcome"))["user"] == "carol"
        async with visiting(server) as nobody:
            assert (await nobody.closed())[0] == 4401
    assert known == ["alice", "alice", None, None]


async def test_no_token_goes_over_what_the_hook_said() -> None:
    """A `refresh` gives nobody rights that the application kept back; without its word the token counts."""
    hooks, key = aiochat.Hooks(), "k" * 32

    @hooks.on_connect
    async def narrow(request: web.Request) -> aiochat.Identity | None:
        known = request[aiochat.IDENTITY]
        return aiochat.Identity(user=known.user, join=("lobby",)) if known.user == "alice" else None

    def token(user: str) -> str:
        return jwt.encode({"sub": user, "exp": 10**10}, key, "HS256")

    async with mounted(hooks, security={"mode": "optional", "token_key": key}) as server:
        async with visiting(server, f"?token={token('alice')}") as alice:
            assert await alice.refusal("refresh", token=token("alice")) == ("forbidden", "token")
            assert await alice.refusal("join", room="team") == ("forbidden", "room")
        async with visiting(server, f"?token={token('bob')}") as bob:
            assert (await bob.ask("refresh", token=token("bob")))["type"] == "refreshed"


async def test_the_python_client_calls_and_is_refused() -> None:
    """`call` gives what the method returns, or raises with the application's code; publish likewise."""
    hooks = aiochat.Hooks()

    @hooks.method("add")
    async def add(client: aiochat.ClientInfo, data: Any) -> Any:
        if not data:
            raise aiochat.Refused("nothing", "what shall I add?")
        return sum(data)

    @hooks.on_publish
    async def lower(client: aiochat.ClientInfo, message: aiochat.Publication) -> aiochat.Publication:
        if message.text == "NO":
            raise aiochat.Refused("no_shouting", "not so loud")
        return message.replace(text=(message.text or "").lower())

    async with mounted(hooks) as server, aiochat.connect(ws(server), name="alice", rooms=["lobby"]) as chat:
        assert await chat.call("add", [1, 2]) == 3
        with pytest.raises(aiochat.Reply) as refused:
            await chat.call("add", [])
        assert refused.value.code == "nothing"
        with pytest.raises(aiochat.Reply) as refused:
            await chat.publish("lobby", "NO")
        assert refused.value.code == "no_shouting"
        await chat.publish("lobby", "HELLO")
        assert await anext(event.text async for event in chat if isinstance(event, Message)) == "hello"


@needs_node
async def test_the_page_s_client_calls() -> None:
    """aiochat.js: the promise has what the method returned, or is rejected with its code."""
    hooks = aiochat.Hooks()

    @hooks.method("echo")
    async def echo(client: aiochat.ClientInfo, data: Any) -> Any:
        if data is None:
            raise aiochat.Refused("silence", "say something")
        return [client.name, data]

    async with mounted(hooks) as server, running_js() as chat:
        await chat.ask("connect", {"url": ws(server), "name": "alice", "rooms": ["lobby"]})
        await chat.next_of("state", state="online")
        assert await chat.ask("call", "echo", {"a": 1}) == ["alice", {"a": 1}]
        with pytest.raises(Exception, match="say something") as refused:
            await chat.ask("call", "echo")
        assert getattr(refused.value, "code", None) == "silence"
        await chat.ask("close")


async def test_the_application_hears_of_everybody_before_it_ends() -> None:
    """Whoever is there at the end has left and gone before the application's own clean-up."""
    hooks, told = aiochat.Hooks(), []

    @hooks.on_leave
    async def leave(client: aiochat.ClientInfo, room: str) -> None:
        await asyncio.sleep(0.1)  # as a database takes
        told.append(f"{client.name} left {room}")

    @hooks.on_disconnect
    async def gone(client: aiochat.ClientInfo) -> None:
        told.append(f"{client.name} is gone")

    async with mounted(hooks) as server, talking(ws(server, "/chat/ws/a?name=bob")) as bob:
        await bob.hear()
        closing = asyncio.create_task(server.close())
        assert await bob.closed() == 1012
        await closing
        assert told == ["bob left a", "bob is gone"]
