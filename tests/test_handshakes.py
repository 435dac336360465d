"""Connections that are no WebSocket (yet): how many there may be, and which of them goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import web

from aiochat.http.handshakes import HEAD_BYTES, Handshakes
from tests.raw import handshake
from tests.servers import running, talking
from tests.sockets import connected

OTHER: Final = "127.0.0.2"
HALF: Final = handshake()[:40]


class Caller:
    """A connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def get(self, path: str = "/") -> str:
        """The body of the answer."""
        await self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await self._reader.readuntil(b"\r\n\r\n")
        return (await self._reader.readexactly(2)).decode()

    async def dropped(self) -> bool:
        """Wait for the end of it."""
        try:
            return not await self._reader.read()
        except ConnectionError:
            return True

    @property
    def is_open(self) -> bool:
        return not self._reader.at_eof() and self._reader.exception() is None

    def close(self) -> None:
        self._writer.close()


class Site(Handshakes):
    """An application that answers at once, but for /slow, behind a listener that takes so many connections."""

    def __init__(self, most: int) -> None:
        super().__init__(lambda: most, {"access_log": None, "keepalive_timeout": 60})
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.port = 0
        self._came: asyncio.Queue[None] = asyncio.Queue()
        self._callers: list[Caller] = []

    def came(self, http: Any, transport: asyncio.BaseTransport) -> None:
        super().came(http, transport)
        self._came.put_nowait(None)

    async def quick(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def slow(self, request: web.Request) -> web.Response:
        self.is_asked.set()
        await self.may_answer.wait()
        return web.Response(text="ok")

    async def dial(self, source: str = "127.0.0.1") -> Caller:
        """A connection that the listener knows of."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0)))
        self._callers.append(caller)
        await self._came.get()
        return caller

    def hang_up(self) -> None:
        for caller in self._callers:
            caller.close()


@asynccontextmanager
async def listening(most: int) -> AsyncIterator[Site]:
    """The site on a free port; nothing of it is left at the end."""
    site = Site(most)
    app = web.Application(middlewares=[site.middleware])
    app.add_routes([web.get("/", site.quick), web.get("/slow", site.slow)])
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    site.server = runner.server
    server = await asyncio.get_running_loop().create_server(site, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        site.hang_up()
        server.close()
        await runner.cleanup()
    assert not len(site)


async def test_at_the_bound_the_one_idle_for_longest_goes() -> None:
    """An answer makes one young again; who comes is always let in."""
    async with listening(3) as site:
        first, second, third = [await site.dial(f"127.0.0.{number}") for number in (3, 4, 5)]
        assert await first.get() == "ok"
        fourth = await site.dial("127.0.0.6")
        assert await second.dropped()
        assert [await caller.get() for caller in (first, third, fourth)] == ["ok"] * 3
        assert len(site) == 3


async def test_an_address_with_more_than_its_part_pays_for_itself() -> None:
    """A tenth of all: its flood drives nobody else out, who came before and idles for longer."""
    async with listening(20) as site:
        idle = await site.dial()
        flood = [await site.dial(OTHER) for _ in range(19)]
        newer = [await site.dial(OTHER) for _ in range(30)]
        assert all([await caller.dropped() for caller in (*flood, *newer[:11])])
        assert [await caller.get() for caller in (idle, *newer[11:])] == ["ok"] * 20


async def test_who_is_being_answered_stays() -> None:
    """However long that takes, and however many others come."""
    async with listening(2) as site:
        slow = await site.dial()
        asking = asyncio.create_task(slow.get("/slow"))
        await site.is_asked.wait()
        others = [await site.dial(OTHER) for _ in range(4)]
        assert all([await other.dropped() for other in others[:3]])
        site.may_answer.set()
        assert (await asking, await others[3].get()) == ("ok", "ok")


async def test_a_request_of_too_many_bytes_is_cut_off() -> None:
    """Before it is whole: aiohttp alone would keep a megabyte of headers. What is whole may follow on the same line."""
    async with listening(5) as site:
        caller = await site.dial()
        for _ in range(3 * HEAD_BYTES // 40):
            assert await caller.get() == "ok"
        await caller.send(b"GET / HTTP/1.1\r\n")
        with suppress(ConnectionError):
            await caller.send((b"X-Long: " + b"x" * 8000 + b"\r\n") * 100)
        assert await caller.dropped()


async def test_half_handshakes_keep_nobody_out(uvloop: bool) -> None:
    """Of the server itself: more of them than it may have, and the page, its kept connection and a chat go on."""
    async with running(settings={"limits.max_http_connections": 50}, uvloop=uvloop) as server:
        half = [await asyncio.open_connection("127.0.0.1", server.port, local_addr=(OTHER, 0)) for _ in range(120)]
        for _, writer in half:
            writer.write(HALF)
        async with connected(server) as (reader, writer), talking(server.ws_url) as talker:
            page = Caller(reader, writer)
            for number in range(3):
                await page.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
                await talker.say(f"{number}")
                assert await talker.hear() == f"{number}"
        assert all([await Caller(*ends).dropped() for ends in half[:60]])
        assert len(await server.logged("http_connection_dropped", count=5)) == 5
        for _, writer in half:
            writer.close()
