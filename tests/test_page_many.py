"""The page in a room of 10,000 messages: it answers as in a new one, and does not grow."""

from statistics import median

import pytest
from playwright.async_api import Page, expect

from tests.browser import People, needs_chromium, texts
from tests.servers import Server, Talker, talking

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]

MANY = 10_000
MOST_SHOWN = 1_000
# For each letter: how long the page's main thread is busy with it, layout and all.
_KEYS = """
    globalThis.keys = [];
    let began = 0;
    addEventListener("keydown", () => { began = performance.now(); }, true);
    addEventListener("input", () => {
        void document.querySelector("#_timeline").scrollHeight;
        keys.push(performance.now() - began);
    });
"""


async def test_ten_thousand_messages_slow_nothing_down(people: People, chat: Server, room: str) -> None:
    """Typing is answered within 50 ms; the document holds a part of them; what left it comes back as one scrolls."""
    page = await people.open(f"{chat.base_url}/#{room}", "alice", before=_KEYS)
    async with talking(f"{chat.ws_url}/{room}?name=bob") as bob:
        await bob.hear()
        for first in range(0, MANY, 500):
            await _say_all(bob, [f"line {number} of many, and some more words" for number in range(first, first + 500)])
    await expect(texts(page).last).to_have_text("line 9999 of many, and some more words")
    assert await texts(page).count() <= MOST_SHOWN
    assert await _key_ms(page) <= 50
    log = page.locator("#_timeline")
    for _ in range(5):
        oldest = await page.locator("#_timeline .message").first.get_attribute("data-offset")
        await log.evaluate("(log) => log.scrollTo(0, 0)")
        await expect(page.locator("#_timeline .message").first).not_to_have_attribute("data-offset", oldest or "")
        assert await texts(page).count() <= MOST_SHOWN
    assert await _key_ms(page) <= 50
    offsets = await page.locator("#_timeline .message").evaluate_all(
        "(all) => all.map(({ dataset }) => +dataset.offset)"
    )
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    await page.locator("#_newest").click()
    await expect(texts(page).last).to_have_text("line 9999 of many, and some more words")
    await expect(texts(page).last).to_be_in_viewport()


async def _say_all(bob: Talker, lines: list[str]) -> None:
    for line in lines:
        await bob.say(line)
    while not (await bob.hear()).endswith(lines[-1]):
        pass


async def _key_ms(page: Page) -> float:
    """What the median of 15 letters takes."""
    await page.evaluate("keys.length = 0")
    await page.locator("#_line").press_sequentially("fifteen letters")
    times: list[float] = await page.evaluate("keys")
    await page.locator("#_line").fill("")
    assert len(times) == 15
    return median(times)
