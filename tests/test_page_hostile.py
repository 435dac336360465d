"""The page and people who mean no good: what they type is text, and neither breaks the page nor looks like it."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest
from playwright.async_api import Page, expect

import aiochat
from tests.browser import People, needs_chromium, texts
from tests.hostile import ADDRESSES, LONG, NAMES, TEXTS
from tests.servers import Server

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]

PHONE = {"width": 360, "height": 640}
# By how much two pictures differ at most, of 255: what scrolls below a shadow or a round corner shows through a little.
_DIFFERENCE = """async (pictures) => {
    const [before, after] = await Promise.all(pictures.map(async (picture) => {
        const image = new Image();
        image.src = `data:image/png;base64,${picture}`;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
        canvas.drawImage(image, 0, 0);
        return canvas.getImageData(0, 0, image.width, image.height).data;
    }));
    return before.reduce((most, level, at) => Math.max(most, Math.abs(level - after[at])), 0);
}"""
# Everything but what is shown as links, and what the page itself makes of a text.
FOREIGN = "#_timeline .text :not(a[href^='http'][target=_blank], a > small)"


async def test_hostile_texts_are_shown_as_text(people: People, chat: Server, room: str) -> None:
    """Each as it was typed, or without what is invisible; nothing of it is an element, runs, or leads anywhere."""
    async with aiochat.connect(chat.ws_url, name="eve", rooms=[room]) as eve:
        await asyncio.gather(*(eve.publish(room, text) for text in list(TEXTS)[:30]))
        page = await people.open(f"{chat.base_url}/#{room}", "alice")
        await asyncio.gather(*(eve.publish(room, text) for text in list(TEXTS)[30:]))
    await expect(texts(page)).to_have_count(len(TEXTS))
    assert await texts(page).evaluate_all("(all) => all.map((text) => text.textContent)") == list(TEXTS.values())
    assert await page.locator(FOREIGN).evaluate_all("(all) => all.map((element) => element.outerHTML)") == []
    await expect(page.locator("#_timeline .notice")).to_have_count(0)
    assert set(await page.locator("#_timeline .message .name").all_text_contents()) <= {"eve"}
    await _is_whole(page, f"{chat.base_url}/#{room}", room)


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desktop"])
async def test_hostile_texts_stay_in_their_place(people: People, chat: Server, room: str, viewport: Any) -> None:
    """However wide, high or long: what is around the messages looks the same, nothing scrolls sideways."""
    page = await people.open(f"{chat.base_url}/#{room}", "alice", viewport=viewport)
    await expect(page.locator("#_timeline .empty")).to_be_visible()
    async with aiochat.connect(chat.ws_url, name="eve", rooms=[room]) as eve:
        await expect(page.locator("#_people")).to_contain_text("eve")
        await eve.publish(room, "hello")
        await expect(texts(page)).to_have_text(["hello"])
        await expect(page.locator("#_whisper")).to_be_empty()
        frame = Frame(page, await people.blank("about:blank"))
        await frame.remember()
        await asyncio.gather(*(eve.publish(room, text) for text in (*list(TEXTS)[-30:], *LONG)))
        await eve.publish(room, "the end")
        await expect(texts(page).last).to_have_text("the end")
        await frame.is_as_before()
        unfold = page.get_by_role("button", name="Show all")
        assert await unfold.count() >= len(LONG)
        await unfold.evaluate_all("(all) => all.forEach((button) => button.click())")
        await frame.is_as_before()
    assert await page.evaluate(
        """() => [...document.querySelectorAll("#_timeline article, #_timeline article *")].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 1 && (box.left < -1 || box.right > innerWidth + 1);
        }).length"""
    ) == 0  # fmt: skip


async def test_a_long_line_is_shown_in_full_when_asked(people: People, chat: Server, room: str) -> None:
    """It is folded at first, so that it hides nobody else's; nothing of it is lost."""
    text = "a long line, " * 5_000
    async with aiochat.connect(chat.ws_url, name="eve", rooms=[room]) as eve:
        await eve.publish(room, text)
    page = await people.open(f"{chat.base_url}/#{room}", "alice")
    await expect(texts(page)).to_contain_text(["a long line, a long line"])
    assert len(await texts(page).inner_text()) < 3_000
    await page.get_by_role("button", name="Show all").click()
    assert (await texts(page).text_content() or "").strip() == text.strip()


async def test_hostile_names_are_shown_as_text(people: People, chat: Server, room: str) -> None:
    """Over a message, among the people, while somebody types and when somebody comes; none of them widens the page."""
    page = await people.open(f"{chat.base_url}/#{room}", "alice", viewport=PHONE)
    async with aiochat.connect(chat.ws_url, rooms=[room]) as eve:
        for name, shown in NAMES.items():
            assert (await eve.rename(room, name)).name == name
            await eve.publish(room, "hello")
            await expect(page.locator("#_timeline .message .name").last).to_have_text(shown)
            await eve.typing(room)
            await expect(page.locator("#_people")).to_contain_text(shown)
    await expect(texts(page)).to_have_text(["hello"] * len(NAMES))
    assert await page.locator(".name *, #_whisper :not(bdi, .name)").count() == 0
    await _is_whole(page, f"{chat.base_url}/#{room}", room)


async def test_hostile_addresses_lead_nowhere(people: People, chat: Server) -> None:
    """What stands after the # is a room's name or is refused; it is never markup, and the page goes on."""
    page = await people.open(chat.base_url, "alice")
    elements = "img, script, iframe, object, embed, base, meta, link, style"
    count = await page.locator(elements).count()
    for address in ADDRESSES:
        await page.goto(f"{chat.base_url}/#{address}")
        await expect(page.get_by_role("heading", level=1)).not_to_be_empty()
        assert await page.evaluate("location.origin") == chat.base_url
    assert await page.locator(elements).count() == count
    await page.goto(f"{chat.base_url}/#lobby")
    await expect(page.get_by_role("heading", level=1)).to_have_text("lobby")


async def _is_whole(page: Page, url: str, room: str) -> None:
    assert page.url == url
    assert await page.title() == f"{room} · aiochat"
    assert len(page.context.pages) == 1
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(page.locator("#_state")).to_be_visible()
    await expect(page.locator("#_line")).to_be_visible()


class Frame:
    """What is around the messages: where it is, and how it looks."""

    def __init__(self, page: Page, canvas: Page) -> None:
        self._canvas = canvas
        self._page = page
        self._parts = [page.locator("h1"), page.locator("#_composer")]
        self._before: tuple[list[Any], list[str]]

    async def remember(self) -> None:
        self._before = await self._now()

    async def is_as_before(self) -> None:
        boxes, pictures = self._before
        now_boxes, now_pictures = await self._now()
        assert now_boxes == boxes
        for picture, now in zip(pictures, now_pictures, strict=True):
            assert await self._canvas.evaluate(_DIFFERENCE, [picture, now]) < 16

    async def _now(self) -> tuple[list[Any], list[str]]:
        await self._page.locator("#_line").focus()
        size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight, scrollX, scrollY]"
        boxes = [await self._page.evaluate(size), *[await part.bounding_box() for part in self._parts]]
        return boxes, [b64encode(await part.screenshot()).decode() for part in self._parts]
