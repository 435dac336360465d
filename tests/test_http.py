"""What is plain HTTP: health, and what is refused; test_assets has the page."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def http(shared: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser."""
    async with aiohttp.ClientSession(shared.base_url) as session:
        yield session


async def test_health(http: aiohttp.ClientSession) -> None:
    """The process answers."""
    answer = await http.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/", "/healthz", "/web/aiochat.js"])
async def test_head_is_get_without_the_body(http: aiohttp.ClientSession, path: str) -> None:
    """The same status, type and length."""
    got, head = await http.get(path), await http.head(path)
    assert head.status == 200
    assert (head.content_type, head.content_length) == (got.content_type, got.content_length)
    assert await head.read() == b""


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/web/", "/web/nothing.js", "/web/..%2fapp.py", "/web/%2e%2e/app.py", "/web/__init__.py", "/ws/a/b"],
)
async def test_an_unknown_path_is_not_found(http: aiohttp.ClientSession, path: str) -> None:
    """Neither what never was, nor what lies beside the page's files."""
    assert (await http.get(URL(path, encoded=True))).status == 404


@pytest.mark.parametrize("path", ["/", "/healthz", "/ws", "/web/aiochat.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed_over_http(http: aiohttp.ClientSession, path: str, method: str) -> None:
    """There is nothing to write to: 405, with what is allowed."""
    answer = await http.request(method, path, data=b"x")
    assert answer.status == 405
    assert answer.headers["Allow"].split(",")[0] == "GET"


@pytest.mark.parametrize("path", ["/ws", "/ws/lobby"])
async def test_a_browser_that_opens_the_websocket_is_told_what_it_is(http: aiohttp.ClientSession, path: str) -> None:
    """A plain GET gets JSON with a code, a sentence and a request id; HEAD the same without the body."""
    answer = await http.get(path)
    assert answer.status == 400
    assert answer.content_type == "application/json"
    assert await answer.json() == {
        "code": "bad_request",
        "reason": "this is a WebSocket: connect with a client such as wscat",
    }
    assert answer.headers["X-Request-ID"]
    assert (await http.head(path)).status == 400


async def test_every_refusal_has_an_id_of_its_own(http: aiohttp.ClientSession) -> None:
    """So that the log line of one can be found."""
    ids = {(await http.get("/ws")).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
