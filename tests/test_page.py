"""The page in a real Chromium: it chats, shows what it is sent as text alone, and comes back after a break."""

import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.servers import Server, running, talking

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is absent; `sudo make parts` installs it")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A new page of a headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = await browser.new_page()
        page.set_default_timeout(30_000)
        yield page
        await browser.close()


async def _say(page: Page, line: str) -> None:
    await page.fill("#line", line)
    await page.press("#line", "Enter")


async def test_page_and_terminal_chat_with_each_other(server: Server, page: Page) -> None:
    """What is typed in the page is heard elsewhere, and the other way round."""
    async with talking(server.ws_url + "?name=bob") as bob:
        await bob.hear()
        await page.goto(server.base_url + "/?name=alice")
        await expect(page.locator("#state")).to_have_text("connected")
        await _say(page, "hello")
        assert await bob.hear() == "alice: hello"
        await bob.say("hi alice")
        await expect(page.locator("#log")).to_contain_text("hi alice")


async def test_what_others_send_is_never_markup(server: Server, page: Page) -> None:
    """Markup in a line, or in a name, is shown as it was written and does nothing."""
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    async with talking(server.ws_url + "?name=<b>eve") as eve:
        await eve.hear()
        await page.goto(server.base_url + "/")
        await expect(page.locator("#state")).to_have_text("connected")
        await eve.say(hostile)
        await expect(page.locator("#log")).to_contain_text(hostile)
        await expect(page.locator("#log")).to_contain_text("<b>eve")
        assert await page.locator("#log img, #log script").count() == 0
        assert await page.title() == "lobby · aiochat"


async def test_a_refused_name_is_told_and_not_tried_for_ever(server: Server, page: Page) -> None:
    """A name the server refuses ends in its reason on the page, not in a loop of reconnects."""
    await page.goto(server.base_url + "/?name=a:b")
    await expect(page.locator("body")).to_contain_text("bad_name")


async def test_the_page_comes_back_after_a_restart() -> None:
    """A server that went down and up again is found by the page itself."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = await browser.new_page()
        async with running() as first:
            port = first.port
            await page.goto(first.base_url + "/")
            await expect(page.locator("#state")).to_have_text("connected")
        await expect(page.locator("#state")).not_to_have_text("connected", timeout=30_000)
        async with running(settings={"server.port": port}):
            await expect(page.locator("#state")).to_have_text("connected", timeout=45_000)
        await browser.close()
