"""A page written for the Go tutorial's server, as it is, against ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from playwright.async_api import Page, expect

import aiochat
from aiochat.config import load
from tests.browser import People, needs_chromium
from tests.hubs import QUIET
from tests.servers import talking

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]

PAGE = Path(__file__).parent / "tutorial.html"


@asynccontextmanager
async def serving() -> AsyncIterator[BaseTestServer]:
    """The chat in an application that has this page beside it: what comes from one host is one origin."""

    async def page(_: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE)

    app = web.Application()
    aiochat.setup(app, load(flags=QUIET))
    app.router.add_get("/tutorial.html", page)
    async with TestServer(app) as server:
        yield server


async def tutorial(people: People, server: BaseTestServer, first_line: str) -> Page:
    """That page, in the chat: it sees what it says first."""
    url = str(server.make_url("/tutorial.html"))
    page = await people.blank(url)
    await page.goto(url)
    await page.wait_for_function("() => socket.readyState === WebSocket.OPEN")
    await say(page, first_line)
    await expect(page.locator("#log div").first).to_have_text(first_line)
    return page


async def say(page: Page, line: str) -> None:
    """Type it and press Enter."""
    await page.locator("#msg").fill(line)
    await page.locator("#msg").press("Enter")


async def test_the_tutorials_page_chats(people: People) -> None:
    """With another one and a terminal: a line comes to all, the sender included, as text, in one order, each an element
    of its own; and it is told when the server goes.
    """
    async with serving() as server, talking(str(server.make_url("/ws"))) as terminal:
        one = await tutorial(people, server, "one is here")
        two = await tutorial(people, server, "two is here")
        lines = ["  hello from one  ", "<b>bold</b> <script>alert(1)</script>", "you too", "first\nsecond", "//slash"]
        await say(one, lines[0])
        await say(one, lines[1])
        await expect(two.locator("#log div")).to_have_count(3)
        await say(two, lines[2])
        await expect(one.locator("#log div")).to_have_count(5)
        await terminal.say(lines[3])
        await terminal.say(lines[4])
        said = ["hello from one", lines[1], "you too", "first second", "/slash"]
        await expect(one.locator("#log div")).to_have_text(["one is here", "two is here", *said])
        await expect(two.locator("#log div")).to_have_text(["two is here", *said])
        assert [await terminal.hear() for _ in range(7)] == ["one is here", "two is here", *said]
        assert await one.locator("#log b, #log script").count() == 0
        closing = asyncio.create_task(server.close())
        assert await terminal.closed() == 1012
        await closing
        for page in (one, two):
            await expect(page.locator("#log div").last).to_have_text("Connection closed.")
