"""A server that is killed at random moments, twenty times: what it acknowledged is there, and nobody sees a hole."""

import asyncio
import random
import socket
from pathlib import Path

import pytest

import aiochat
from aiochat.messages import Entry, Gap, Message
from aiochat.sdk import Backoff, ChatClient
from tests.forking import Forked
from tests.servers import running

KILLS = 20
PUBLISHERS = 4
AT_ONCE = 5  # publishes under way of each
SOON = Backoff(shortest_seconds=0.01, longest_seconds=0.2)


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_what_was_acknowledged_outlives_twenty_kills(tmp_path: Path) -> None:
    """Each acknowledged message is there once, at its offset, with no hole; subscribers hold exactly the log."""
    settings = {
        "server.port": _free_port(),
        "store.url": f"sqlite:///{tmp_path}/chat.db",
        "history.max_messages": 1_000_000,
        "limits.messages_per_second": 0,
        "limits.bytes_per_second": 0,
    }
    url = f"http://127.0.0.1:{settings['server.port']}/ws"
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        async with running(settings=settings) as server:
            people = [await _come(url, f"p{number}", "json") for number in range(PUBLISHERS)]
            subscribers = [await _come(url, f"s-{codec}", codec) for codec in ("json", "msgpack")]
            heard = [tasks.create_task(_listen(chat)) for chat in subscribers]
            publishing = [
                tasks.create_task(_publish(chat, f"{number}-{line}", acknowledged, stop))
                for number, chat in enumerate(people)
                for line in range(AT_ONCE)
            ]
            reading = [tasks.create_task(_listen(chat)) for chat in people]
            await _killed(server.process)
        for _ in range(KILLS - 1):
            async with running(settings=settings) as server:
                await _killed(server.process)
        async with running(settings=settings):
            await asyncio.sleep(random.uniform(0.2, 0.5))
            stop.set()
            await asyncio.wait(publishing)
            log = await _whole_log(people[0])
            for chat in subscribers:
                while _behind(chat, log[-1].offset):  # noqa: ASYNC110 -- no event tells of it
                    await asyncio.sleep(0.01)
            for chat in (*people, *subscribers):
                await chat.close()
            await asyncio.wait([*heard, *reading])

    texts = {entry.text: entry.offset for entry in log if isinstance(entry, Message)}
    assert [entry.offset for entry in log] == list(range(1, len(log) + 1))
    assert len(texts) == len(log), "every message is there once"
    assert acknowledged
    assert acknowledged.items() <= texts.items()
    for listening in heard:
        assert listening.result() == log


def _free_port() -> int:
    """One that clients find again after each restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _come(url: str, name: str, codec: str) -> ChatClient:
    chat = aiochat.connect(url, name=name, rooms=["lobby"], codec=codec, backoff=SOON)
    await chat.open()
    return chat


async def _publish(chat: ChatClient, label: str, acknowledged: dict[str, int], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        text, number = f"{label}-{number}", number + 1
        acknowledged[text] = (await chat.publish("lobby", text)).offset


async def _listen(chat: ChatClient) -> list[Entry]:
    entries: list[Entry] = []
    async for event in chat:
        assert not isinstance(event, Gap)
        if isinstance(event, Message):
            entries.append(event)
    return entries


async def _killed(process: asyncio.subprocess.Process | Forked) -> None:
    await asyncio.sleep(random.uniform(0.1, 0.6))  # a moment of the test's own choosing
    process.kill()
    await process.wait()


async def _whole_log(chat: ChatClient) -> list[Entry]:
    page = await chat.history("lobby", after=0, limit=300)
    log = list(page.messages)
    while page.more:
        page = await chat.history("lobby", after=log[-1].offset, limit=300)
        log += page.messages
    return log


def _behind(chat: ChatClient, newest: int) -> bool:
    position = chat.position("lobby")
    return position is None or position.offset < newest
