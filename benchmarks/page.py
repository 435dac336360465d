"""What the page costs in a headless Chromium: how soon it shows something, how busy it is.

.venv/bin/python -m benchmarks.page      # after `make test`, which installs playwright
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Final

from playwright.async_api import Browser, CDPSession, Page, async_playwright

import aiochat
from tests.browser import CHROMIUM, FLAGS, until_online
from tests.servers import Server, running

OPENINGS: Final = 15
HISTORY: Final = 1_000
MANY: Final = 10_000
RATE: Final = 100  # messages a second
SECONDS: Final = 10
SETTINGS: Final = {"limits.messages_per_second": 0, "limits.bytes_per_second": 0, "presence.interval_ms": 500}
# Notes when the first message has been painted, what moved by itself, and what kept the page busy for over 50 ms.
OBSERVE: Final = """
    globalThis.seen = { first: 0, shift: 0, long: [], keys: new Map() };
    const told = (type, take, options) =>
        new PerformanceObserver((list) => list.getEntries().forEach(take))
            .observe({ type, buffered: true, ...options });
    told("layout-shift", (entry) => { if (!entry.hadRecentInput) seen.shift += entry.value; });
    told("longtask", ({ duration }) => seen.long.push(duration));
    told("event", ({ interactionId: id, duration }) => {
        if (id) seen.keys.set(id, Math.max(duration, seen.keys.get(id) ?? 0));
    }, { durationThreshold: 16 });
    new MutationObserver((_, observer) => {
        if (!document.querySelector("#_timeline .message")) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => { seen.first = performance.now(); }));
    }).observe(document, { subtree: true, childList: true });
"""


@asynccontextmanager
async def opened(browser: Browser, url: str) -> AsyncIterator[tuple[Page, CDPSession]]:
    """The page in a browser that has nothing of it yet; its first message is on the screen."""
    context = await browser.new_context()
    await context.add_init_script(OBSERVE)
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    await page.goto(url)
    await until_online(page)
    await page.wait_for_function("() => seen.first > 0")
    yield page, devtools
    await context.close()


async def fill(server: Server, room: str, count: int) -> None:
    """Have so much said in it."""
    async with aiochat.connect(server.ws_url, name="bob", rooms=[room]) as bob:
        for first in range(0, count, 500):
            await asyncio.gather(
                *(bob.publish(room, f"line {number}, and some more words") for number in range(first, first + 500))
            )


async def opening(browser: Browser, server: Server) -> None:
    """The page of a room with a history, opened again and again in a new browser."""
    await fill(server, "lobby", HISTORY)
    first, busy, shifts, longest = [], [], [], []
    for _ in range(OPENINGS):
        async with opened(browser, server.base_url) as (page, devtools):
            busy.append(await busy_seconds(devtools))
            await page.wait_for_timeout(300)  # for what still moves
            seen = await page.evaluate("({ ...seen, long: Math.max(0, ...seen.long) })")
            sizes = await page.evaluate("performance.getEntries().map(({ transferSize }) => transferSize ?? 0)")
        first.append(seen["first"])
        shifts.append(seen["shift"])
        longest.append(seen["long"])
    tell("first message on screen", f"{median(first):.0f} ms", f"longest of {OPENINGS}: {max(first):.0f} ms")
    tell("of it, CPU of the page's main thread", f"{1e3 * median(busy):.0f} ms")
    tell("layout shift", f"{median(shifts):.4f}", f"largest: {max(shifts):.4f}")
    tell("longest task while opening", _long(median(longest)), f"longest of {OPENINGS}: {_long(max(longest))}")
    tell("fetched", f"{sum(sizes) / 1000:.1f} kB", f"in {sum(size > 0 for size in sizes)} requests")


async def under_load(browser: Browser, server: Server) -> None:
    """The page while others talk, and a person types."""
    async with (
        opened(browser, server.base_url) as (page, devtools),
        aiochat.connect(server.ws_url, rooms="lobby") as bob,
    ):
        await page.evaluate("seen.long = []; seen.keys.clear(); seen.shift = 0")
        before = await busy_seconds(devtools)
        typing = asyncio.create_task(page.locator("#_line").press_sequentially("x" * 5 * SECONDS, delay=180))
        for number in range(SECONDS):
            started = asyncio.get_running_loop().time()
            for nth in range(RATE):
                await bob.publish("lobby", f"line {number} and some words, https://example.com/ too")
                await asyncio.sleep(max(0, started + nth / RATE - asyncio.get_running_loop().time()))
        await typing
        seen = await page.evaluate("({ long: seen.long, shift: seen.shift, keys: [...seen.keys.values()] })")
        busy = await busy_seconds(devtools) - before
    tell(
        f"tasks over 50 ms at {RATE} messages/s",
        str(len(seen["long"])),
        f"longest: {_long(max(seen['long'], default=0))}",
    )
    tell(
        "CPU of the main thread meanwhile",
        f"{100 * busy / SECONDS:.0f} %",
        f"{1e3 * busy / SECONDS / RATE:.1f} ms a message",
    )
    tell(
        "from a key to its picture meanwhile",
        _key(seen["keys"], 5 * SECONDS),
        f"longest: {max(seen['keys'], default=0):.0f} ms",
    )


async def many(browser: Browser, server: Server) -> None:
    """The page with many messages in its room, all of which came while it was open."""
    async with opened(browser, server.base_url) as (page, _):
        await fill(server, "lobby", MANY)
        await page.wait_for_timeout(500)
        await page.evaluate("seen.keys.clear()")
        await page.locator("#_line").press_sequentially("x" * 30, delay=100)
        keys = await page.evaluate("[...seen.keys.values()]")
        shown = await page.locator("#_timeline .message").count()
        memory = await page.evaluate("performance.memory.usedJSHeapSize")
    tell(
        f"from a key to its picture, after {MANY:,} messages", _key(keys, 30), f"longest: {max(keys, default=0):.0f} ms"
    )
    tell("messages in the document", str(shown), f"JavaScript's memory: {memory / 1e6:.0f} MB")


async def busy_seconds(devtools: CDPSession) -> float:
    """The CPU time of the page's main thread."""
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def tell(what: str, figure: str, more: str = "") -> None:
    print(f"{what:<52} {figure:>12}   {more}", flush=True)


def _long(ms: float) -> str:
    return f"{ms:.0f} ms" if ms else "under 50 ms"


def _key(told: list[float], count: int) -> str:
    """The median; what took less than 16 ms is not told."""
    ms = median([*told, *([0.0] * (count - len(told)))])
    return f"{ms:.0f} ms" if ms else "under 16 ms"


async def main() -> None:
    if CHROMIUM is None:
        sys.exit("chromium is absent; `sudo make parts` installs it")
    async with async_playwright() as playwright, running(settings=SETTINGS) as server:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for measure in (opening, under_load, many):
            await measure(browser, server)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
