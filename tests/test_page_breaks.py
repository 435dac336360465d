"""The page when the connection breaks: nothing is lost, nothing is there twice, and people are told what goes on."""

import asyncio
import re
import signal
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

import aiochat
from aiochat.messages import Message
from tests.browser import People, needs_chromium, say, texts, until_online
from tests.proxies import proxied
from tests.servers import Server, running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]


@pytest.mark.faults
@pytest.mark.timeout(120)
async def test_a_killed_server_costs_no_line(people: People, tmp_path: Path) -> None:
    """Two talk on while it is killed and started again on the same file; both end with the same complete list."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "presence.interval_ms": 50}
    lines = {name: [f"{name} says {number}" for number in range(12)] for name in ("alice", "bob")}
    async with running(settings=settings) as first:
        pages = [await people.open(f"{first.base_url}/#news", name) for name in lines]
        talks = [asyncio.create_task(_talk(page, said)) for page, said in zip(pages, lines.values(), strict=True)]
        await expect(texts(pages[0])).to_contain_text(["bob says 2"])
        await first.stop(signal.SIGKILL)
    await expect(pages[0].locator("#_state")).to_have_attribute("data-state", "waiting")
    async with running(settings={**settings, "server.port": first.port}):
        await asyncio.gather(*talks)
        for page in pages:
            await until_online(page)
            await expect(page.locator("#_timeline .message.own:not([data-state=sent])")).to_have_count(0)
        async with aiochat.connect(first.ws_url, rooms=["news"]) as chat:
            entries = (await chat.history("news")).messages
            history = [entry.text or "" for entry in entries if isinstance(entry, Message)]
        assert sorted(history) == sorted([*lines["alice"], *lines["bob"]])
        for page in pages:
            await expect(texts(page)).to_have_text(history)


async def _talk(page: Page, lines: list[str]) -> None:
    for line in lines:
        await say(page, line)
        await asyncio.sleep(0.02)  # as people do; what one waits for is in the test


async def test_who_was_offline_has_all_of_it_afterwards(people: People, chat: Server, room: str) -> None:
    """What the others said comes in its place, what was written meanwhile is said then; the page tells how it is."""
    async with proxied(chat.port) as proxy, aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        await bob.publish(room, "before")
        alice = await people.open(f"{proxy.url.replace('ws:', 'http:').removesuffix('/ws')}/#{room}", "alice")
        await expect(texts(alice)).to_have_text(["before"])
        state = alice.locator("#_state")
        # Chromium keeps an open WebSocket when it is told to be offline, so the network goes, too.
        await alice.context.set_offline(True)
        proxy.reset()
        await expect(state).to_have_attribute("data-state", "waiting")
        await expect(state).to_contain_text("this device is offline")
        missed = [f"missed {number}" for number in range(12)]
        for line in missed:
            await bob.publish(room, line)
        await say(alice, "said meanwhile")
        own = alice.locator("#_timeline .message.own")
        await expect(own).to_have_attribute("data-state", "sending")
        await alice.context.set_offline(False)
        await expect(state).to_have_text(re.compile("caught up, 12 messages|connected"))
        await expect(own).to_have_attribute("data-state", "sent")
        await expect(texts(alice)).to_have_text(["before", *missed, "said meanwhile"])


async def test_what_is_new_since_one_was_away_is_marked(people: People, chat: Server, room: str) -> None:
    """A line stands before it when one comes back to the page, and it is what one sees."""
    url = f"{chat.base_url}/#{room}"
    async with aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        await bob.publish(room, "seen")
        alice = await people.open(url, "alice")
        await expect(texts(alice)).to_have_text(["seen"])
        await alice.goto("about:blank")
        await bob.publish(room, "not seen")
        await alice.goto(url)
        await expect(texts(alice)).to_have_text(["seen", "not seen"])
    line = alice.locator("#_timeline [role=separator].new")
    await expect(line).to_have_text("New since you were away")
    assert await line.evaluate("(line) => line.nextElementSibling.textContent.includes('not seen')")


async def test_a_page_that_waits_says_for_how_long(people: People) -> None:
    """And connects at once when asked to; to wherever the server has its WebSocket."""
    settings = {"server.path": "/talk/ws"}
    async with running(settings=settings) as first:
        alice = await people.open(first.base_url, "alice")
    await expect(alice.locator("#_state")).to_have_text(re.compile("connection lost, reconnecting"))
    async with running(settings={**settings, "server.port": first.port}):
        await alice.get_by_role("button", name="Connect now").click()
        await until_online(alice)
