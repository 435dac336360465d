"""Every answer of the chat has the request's id, which its log lines have too; what others answer is left alone."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
import structlog
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

import aiochat
from aiochat.config import load
from aiochat.http.request_ids import REQUEST_ID, identified
from tests.apis import TOKEN
from tests.hubs import QUIET
from tests.servers import Server
from tests.sockets import asked, handshake, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ours(request: web.Request) -> web.Response:
    """What the application itself serves."""
    return web.Response(text="ours")


@pytest_asyncio.fixture(loop_scope="session")
async def mounted() -> AsyncIterator[BaseTestServer]:
    """A chat with an API in somebody else's application."""
    app = web.Application()
    aiochat.setup(app, load(flags={**QUIET, "security": {"admin_token": TOKEN}}), prefix="/chat")
    app.add_routes([web.get("/", ours)])
    async with TestServer(app) as server:
        yield server


async def test_in_an_application_the_chats_own_answers_have_an_id(mounted: BaseTestServer) -> None:
    """Page, files, health and API; not what is the application's, nor what is nobody's."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(mounted.make_url("/"), headers=headers) as http:
        for path, status in (("/chat/", 200), ("/chat/web/nothing.js", 404), ("/chat/healthz", 200), ("/chat/ws", 400)):
            answer = await http.get(path)
            assert (answer.status, REQUEST_ID in answer.headers) == (status, True)
        answer = await http.get("/chat/api/v1/rooms")
        assert (answer.status, await answer.json(), REQUEST_ID in answer.headers) == (200, {"rooms": []}, True)
        for path, status in (("/", 200), ("/api/v1/rooms", 404)):
            answer = await http.get(path)
            assert (answer.status, REQUEST_ID in answer.headers) == (status, False)
        described = await (await http.get("/chat/api/v1/openapi.json")).json()
        assert described["servers"] == [{"url": "/chat/api/v1"}]


async def test_a_connection_has_the_id_of_its_request(shared: Server) -> None:
    """In the 101, and where the log says that it was opened."""
    async with wired(shared, headers={REQUEST_ID: "a.b-c_1"}) as wire:
        assert wire.headers[REQUEST_ID.lower()] == "a.b-c_1"
        await shared.logged("connection_opened", request_id="a.b-c_1")


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", 'a"b'])
async def test_an_id_that_is_none_is_replaced(shared: Server, given: str) -> None:
    """Nothing that a client sends gets into the log like that."""
    answer = await asked(shared, handshake(headers={REQUEST_ID: given, "Upgrade": None, "Connection": "close"}))
    assert answer.headers[REQUEST_ID.lower()].isalnum()
    assert answer.headers[REQUEST_ID.lower()] != given


async def test_whatever_is_not_there_has_an_id_too(shared: Server) -> None:
    """On a server of its own."""
    async with aiohttp.ClientSession(shared.base_url) as http:
        for method, path, status in (("GET", "/nowhere", 404), ("POST", "/healthz", 405)):
            answer = await http.request(method, path, headers={REQUEST_ID: "mine"})
            assert (answer.status, answer.headers[REQUEST_ID]) == (status, "mine")


async def test_a_defect_is_one_line_and_an_answer_with_its_id() -> None:
    """Not a traceback for the client."""

    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("secret")

    app = web.Application()
    app.add_routes(identified([web.get("/", broken)]))
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as http:
            answer = await http.get("/", headers={REQUEST_ID: "mine"})
            said = await answer.json()
    assert (answer.status, said) == (
        500,
        {"code": "internal_error", "reason": "internal error", "request_id": "mine"},
    )
    assert [(line["event"], line["request_id"]) for line in lines] == [("request_failed", "mine")]
