"""A pytest plugin: people at the page, in one Chromium for all tests of a worker. Whatever the browser complains of
(an error in the console, a broken policy, a dialog) fails the test that it was shown in."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Dialog, Error, Locator, Page, async_playwright, expect

from tests.servers import Server, running

CHROMIUM: Final = shutil.which("chromium")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is absent; `sudo make parts` installs it")
_TIMEOUT_MS: Final = 30_000
# A server that is gone is no fault of the page, and Chromium says so in the console whatever the page does.
_BREAK: Final = re.compile(
    r"^WebSocket connection to '.*' failed: (?!.*BLOCKED)|^Failed to load resource: net::ERR_CONN"
)


class People:
    """Who is at the page in one test. `complaints` is what their browsers said."""

    def __init__(self, browser: Browser, stack: AsyncExitStack) -> None:
        self.complaints: list[str] = []
        self._browser = browser
        self._stack = stack

    async def open(self, url: str, name: str | None = None, **options: Any) -> Page:
        """The page at this address, online."""
        page = await self.blank(url, name, **options)
        await page.goto(url)
        await until_online(page)
        return page

    async def blank(self, url: str, name: str | None = None, *, before: str = "", **options: Any) -> Page:
        """A browser of its own that has yet to open `url`, and knows `name` from an earlier visit there.

        `before` is a script that runs before the page's own.
        """
        if name is not None:
            options["storage_state"] = _remembered(url, name)
        context = await self._browser.new_context(locale="en-GB", timezone_id="UTC", **options)
        self._stack.push_async_callback(context.close)
        if before:
            await context.add_init_script(before)
        context.on("page", self._watch)
        page = await context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        return page

    def _watch(self, page: Page) -> None:
        page.on("console", self._note_console)
        page.on("pageerror", self._note_error)
        page.on("dialog", self._note_dialog)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _BREAK.search(message.text):
            self.complaints.append(f"{message.type}: {message.text}")

    def _note_error(self, error: Error) -> None:
        self.complaints.append(f"uncaught: {error.message}")

    async def _note_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


def _remembered(url: str, name: str) -> dict[str, Any]:
    origin = "/".join(url.split("/")[:3])
    item = {"name": "aiochat", "value": json.dumps({"name": name})}
    return {"cookies": [], "origins": [{"origin": origin, "localStorage": [item]}]}


async def until_online(page: Page) -> None:
    """Wait until all its rooms are live."""
    await expect(page.locator("#_state")).to_have_attribute("data-state", "online")


def texts(page: Page) -> Locator:
    """What the messages say that the page shows."""
    return page.locator("#_timeline .message .text")


async def say(page: Page, *lines: str) -> None:
    """Write each and send it."""
    for line in lines:
        await page.locator("#_line").fill(line)
        await page.locator("#_line").press("Enter")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium."""
    expect.set_options(timeout=_TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chat() -> AsyncIterator[Server]:
    """A server that tells of presence and types as fast as tests do."""
    settings = {"presence.interval_ms": 50, "limits.messages_per_second": 0, "limits.bytes_per_second": 0}
    async with running(settings=settings) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def people(browser: Browser) -> AsyncIterator[People]:
    """Nobody yet; at the end no browser has complained."""
    async with AsyncExitStack() as stack:
        people = People(browser, stack)
        yield people
    assert people.complaints == []
