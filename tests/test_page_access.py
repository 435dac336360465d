"""The page for everybody: with the keyboard alone, and for screen readers."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect

import aiochat
from tests.browser import People, needs_chromium, say, texts
from tests.servers import Server

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RULES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},  # nothing else differs
}
PHONE = {"width": 360, "height": 640}
DESKTOP = {"width": 1280, "height": 800}

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is absent; `make test` installs it where there is npm")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_axe_finds_no_violation(
    people: People, chat: Server, room: str, viewport: Any, scheme: Literal["light", "dark"]
) -> None:
    """With messages of several people, notices, links, what was refused, and each part that can be opened."""
    url = f"{chat.base_url}/#{room}"
    async with aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        for text in (
            "hello",
            "see https://example.com/",
            "hello " * 2_000,
            "https://xn--e1afmkfd.example/ and https://\u0430.example/",
        ):
            await bob.publish(room, text)
        page = await people.open(url, "alice", viewport=viewport, color_scheme=scheme, before=AXE.read_text())
        await say(page, "hello bob", "/help", "/nosuchcommand", "/me waves", f"/join {room}-two", "hello")
        for number in range(3):
            await bob.publish(room, f"line {number}")
        await page.goto(url)
        await expect(texts(page).last).to_have_text("line 2")
        await bob.typing(room)
        await expect(page.locator("#_whisper")).to_contain_text("bob is typing")
        assert await _violations(page, RULES[scheme]) == []
    await page.locator("#_line").fill("/")
    await expect(page.locator("#_completions")).to_be_visible()
    assert await _violations(page, RULES[scheme]) == []
    await page.keyboard.press("Escape")
    await page.locator("#_line").fill("")
    if viewport == PHONE:
        for drawer in ("Rooms", "People"):
            await page.get_by_role("button", name=drawer).click()
            assert await _violations(page, RULES[scheme]) == []
            await page.keyboard.press("Escape")
    else:
        await page.locator("#_me").click()
        assert await _violations(page, RULES[scheme]) == []


async def _violations(page: Page, rules: dict[str, Any]) -> list[str]:
    # What is on its way in or out has another colour for a moment.
    await page.evaluate("() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished))")
    found = await page.evaluate("(rules) => axe.run(document, rules)", rules)
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


async def test_the_keyboard_alone_does_everything(people: People, chat: Server, room: str) -> None:
    """Be called something, go into a room, write, read what was said before, go to another room and back."""
    async with aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        for number in range(120):
            await bob.publish(room, f"line {number}")
        page = await people.open(chat.base_url)
        keys = page.keyboard
        await _tab_to(page, "#_me")
        await keys.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("textbox", name="Name")).to_be_focused()
        await keys.type("alice")
        await keys.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(page.locator("#_me")).to_contain_text("alice")
        await _tab_to(page, "#_joinroom")
        await keys.type(room)
        await keys.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text(room)
        await expect(page.locator("#_line")).to_be_focused()
        await keys.type("hello")
        await keys.press("Enter")
        await expect(texts(page).last).to_have_text("hello")
        await _tab_to(page, "#_timeline")
        first = page.locator("#_timeline .message[data-offset='1']")
        while not await first.count():  # each time it is at the top, older ones come
            await keys.press("Home")
            await page.evaluate("() => new Promise(requestAnimationFrame)")
        await keys.press("Home")
        await expect(first).to_be_in_viewport()
        await expect(first).to_contain_text("line 0")
        await bob.publish(room, "news")
        await _tab_to(page, "#_newest")
        await keys.press("Enter")
        await expect(texts(page).last).to_be_in_viewport()
        await expect(texts(page).last).to_have_text("news")
        await _tab_to(page, "a[href='#lobby']")
        await keys.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("lobby")


async def _tab_to(page: Page, part: str) -> None:
    for _ in range(40):
        if await page.evaluate("(part) => document.activeElement?.matches(part) ?? false", part):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not lead to {part}")


async def test_a_screen_reader_hears_what_others_say_now(people: People, chat: Server, room: str) -> None:
    """Who says what, as it comes; neither the history nor what one says oneself."""
    async with aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        await bob.publish(room, "history")
        page = await people.open(f"{chat.base_url}/#{room}", "alice")
        announced = page.locator("#_announce")
        await expect(announced).to_have_attribute("aria-live", "polite")
        await say(page, "hello")
        await expect(page.locator("#_timeline .message.own")).to_have_attribute("data-state", "sent")
        await bob.publish(room, "hi alice")
        await expect(announced).to_contain_text("bob: hi alice")
        await expect(announced).not_to_contain_text("hello")
        await expect(announced).not_to_contain_text("history")
