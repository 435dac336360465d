"""The contract of the take-over: what connection.py needs of aiohttp, tried out on this one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from aiohttp.web_protocol import RequestHandler

import aiochat
from aiochat.config import load
from aiochat.takeover import check_contract
from tests.hubs import QUIET
from tests.raw import CONTINUATION, PING, PONG, Raw, handshake, masked
from tests.servers import running, talking
from tests.sockets import Wire, connected, wired

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> trustme.CA | None:
    """Who has signed the server's certificate; None without TLS."""
    return trustme.CA() if request.param else None


@pytest.fixture
async def dial(
    uvloop: bool, tls: trustme.CA | None, tmp_path: Path
) -> AsyncIterator[Callable[[bytes], Awaitable[Wire]]]:
    """Connects to a server, plain or TLS, with these bytes in the same write as the request."""
    trusted = None
    settings: dict[str, str | int] = {"limits.bytes_per_second": 0, "limits.messages_per_second": 0}
    if tls is not None:
        tls.configure_trust(trusted := ssl.create_default_context())
        settings |= _certificate(tls, tmp_path)
    async with running(settings=settings, uvloop=uvloop) as server, AsyncExitStack() as stack:

        async def dialled(early: bytes) -> Wire:
            return await stack.enter_async_context(wired(server, early=early, tls=trusted))

        yield dialled


def _certificate(tls: trustme.CA, folder: Path) -> dict[str, str]:
    issued = tls.issue_cert("127.0.0.1")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return {"server.tls_certificate": str(certificate), "server.tls_key": str(key)}


async def test_what_comes_with_the_request_is_not_lost(dial: Callable[[bytes], Awaitable[Wire]]) -> None:
    """Frames sent before the 101 was seen, whole, cut anywhere and many, are heard once and in order."""
    nothing = await dial(b"")
    await nothing.say("hello")
    assert await nothing.hear() == "hello"

    one = await dial(masked(b"early"))
    await one.say("late")
    assert [await one.hear(), await one.hear()] == ["early", "late"]

    for cut in (1, 2, 5, 8):
        half = await dial(masked(b"in halves")[:cut])
        await half.send(masked(b"in halves")[cut:])
        assert await half.hear() == "in halves"

    several = await dial(
        masked(b"", PING) + masked(b"first") + masked(b"sec", fin=False) + masked(b"ond", CONTINUATION)
    )
    assert [await several.hear(), await several.hear()] == ["first", "second"]

    lines = [f"{number:03}".ljust(1000, ".") for number in range(100)]
    long = await dial(b"".join(masked(line.encode()) for line in lines))
    await long.hear_all(lines)
    await long.say("and on")
    assert await long.hear() == "and on"


async def test_a_large_message_and_a_close_pass(dial: Callable[[bytes], Awaitable[Wire]]) -> None:
    """The limit's worth there and back, a ping answered, and the Close to the end, over every kind of transport."""
    wire = await dial(b"")
    await wire.say("x" * 65_536)
    assert await wire.hear() == "x" * 65_536
    await wire.send(masked(b"are you there?", PING))
    assert await wire.next_of(PONG) == b"are you there?"
    await wire.say("/quit")
    assert await wire.closed() == 1000


async def test_a_tls_client_that_says_nothing_is_cut_off(tmp_path: Path) -> None:
    """The TLS handshake has the same time as the request."""
    settings = {"limits.handshake_seconds": 0.5, **_certificate(trustme.CA(), tmp_path)}
    async with running(settings=settings) as server, connected(server) as (reader, _):
        assert await reader.read() == b""


async def test_a_peer_that_resets_leaves_no_traceback(uvloop: bool) -> None:
    """Clients that are gone right after their request, or in the middle of it, are no news."""
    async with running(uvloop=uvloop) as server, talking(server.ws_url) as talker:
        for number in range(200):
            client = await Raw.dial(server)
            await client.send(handshake()[: -1 - number % 2 * 20] if number % 3 else handshake() + masked(b"hello"))
            client.reset()
        await talker.say("over")
        while await talker.hear() != "over":
            pass
        await server.stop()
    assert [line for line in server.log if "exception" in line or line["level"] in {"error", "critical"}] == []


@pytest.fixture
async def mounted() -> AsyncIterator[BaseTestServer]:
    """An application with a chat, in this process."""
    app = web.Application()
    aiochat.setup(app, load(flags=QUIET), prefix="/chat")
    async with TestServer(app) as server:
        yield server


async def test_aiohttp_has_let_go(mounted: BaseTestServer) -> None:
    """After the take-over no task, and none of aiohttp's connections, is left for a client; in the end nothing is."""
    assert mounted.runner is not None
    tasks = len(asyncio.all_tasks())
    url = str(mounted.make_url("/chat/ws"))
    async with AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(talking(url)) for _ in range(30)]
        await talkers[0].say("hello")
        assert {await talker.hear() for talker in talkers} == {"hello"}
        assert len(asyncio.all_tasks()) == tasks
        assert mounted.runner.server is not None
        assert mounted.runner.server.connections == []


async def test_a_middleware_may_wrap_the_upgrade() -> None:
    """As every application has them: the middleware sees the 101 and the chat goes on after it."""
    seen: list[int] = []

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        seen.append(response.status)
        return response

    app = web.Application(middlewares=[watch])
    aiochat.setup(app, load(flags=QUIET))
    async with TestServer(app) as server, talking(str(server.make_url("/ws"))) as talker:
        await talker.say("hello")
        assert await talker.hear() == "hello"
        assert seen == [101]


@pytest.mark.parametrize(
    ("owner", "part"),
    [
        (web.WebSocketResponse, "_post_start"),
        (RequestHandler, "set_parser"),
        (RequestHandler, "connection_lost"),
        (RequestHandler, "keep_alive"),
    ],
)
def test_an_aiohttp_that_has_changed_is_refused(monkeypatch: pytest.MonkeyPatch, owner: type, part: str) -> None:
    """A part that takes other parameters ends the start; the line names it, and versions known to work."""
    check_contract()
    monkeypatch.setattr(owner, part, lambda self, something_else: None)
    with pytest.raises(aiochat.StartError, match=rf"{part} has changed; .*aiohttp>=3\.14\.3,<3\.15"):
        aiochat.setup(web.Application(), load(flags=QUIET))


def test_an_aiohttp_that_lacks_a_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is gone is the same."""
    monkeypatch.delattr(web.WebSocketResponse, "_post_start")
    with pytest.raises(aiochat.StartError, match=r"_post_start has changed; .*aiohttp>=3\.14\.3,<3\.15"):
        aiochat.setup(web.Application(), load(flags=QUIET))
