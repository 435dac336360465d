"""Twelve thousand clients come and go, in this process, where nothing of them can hide."""

import asyncio
import gc
import os
from collections import Counter
from types import SimpleNamespace
from typing import Any, Final, cast

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.config import load
from tests.hubs import QUIET
from tests.programs import CODECS
from tests.raw import MIB, Raw, need_descriptors, needs_proc, until
from tests.servers import Server

pytestmark = [pytest.mark.faults, needs_proc, pytest.mark.timeout(240)]

ROUND: Final = 1000
ROUNDS: Final = 12
SETTINGS: Final[dict[str, Any]] = {**QUIET, "limits": {"messages_per_second": 0}, "logging": {"connections": False}}


async def _one(server: Server, number: int) -> Raw:
    """In a room with others, on one of the three protocols; it says something."""
    subprotocol = (None, *CODECS)[number % 3]
    client = await Raw.join(server, f"/ws/room-{number % 100}", subprotocol)
    if subprotocol is None:
        await client.say("hello")
    return client


async def _round(server: Server, chat: aiochat.Chat) -> None:
    gate = asyncio.Semaphore(50)

    async def gated(number: int) -> Raw:
        async with gate:
            return await _one(server, number)

    clients = await asyncio.gather(*map(gated, range(ROUND)))
    for number, client in enumerate(clients):
        if number % 2:
            client.reset()
        else:
            client.close()
    hub, connections = chat._running, chat._handlers.connections
    await until(lambda: not hub.clients and not hub.rooms and not connections)


async def _objects(chat: aiochat.Chat) -> Counter[str]:
    """How many there are of each class of ours, once nobody's grace after a Close goes on."""
    await until(lambda: not chat._handlers.connections.keepalive._ending)
    gc.collect()
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return Counter(name for name in names if name.startswith(("aiochat.", "aiohttp.web", "uvloop.", "asyncio.")))


async def test_twelve_thousand_clients_leave_nothing_behind() -> None:
    """Objects, tasks, descriptors and memory are what they were after the first thousand."""
    need_descriptors(2 * ROUND + 200)
    app = web.Application()
    chat = aiochat.setup(app, load(flags=SETTINGS))
    async with TestServer(app) as listening:
        server = cast(Server, SimpleNamespace(port=listening.port))
        await _round(server, chat)
        objects, tasks = await _objects(chat), len(asyncio.all_tasks())
        descriptors, process = len(os.listdir("/proc/self/fd")), psutil.Process()
        before = process.memory_info().rss
        for _ in range(ROUNDS - 1):
            await _round(server, chat)
        assert await _objects(chat) - objects == Counter()
        assert len(asyncio.all_tasks()) <= tasks
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        assert process.memory_info().rss - before < 16 * MIB
