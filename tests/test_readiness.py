"""/readyz and /healthz: what they prove, what they say of each part, and that asking cannot be abuse."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.config import Config, load
from aiochat.errors import StoreError
from aiochat.http import health
from aiochat.hub import Hub
from aiochat.roomlog import Answer, Appended, Draft
from tests.fakes import SlowLog
from tests.hubs import QUIET
from tests.servers import Server, running

AWAY = StoreError("away")


class OwnLog(SlowLog):
    """A log that answers when told to, and tells when it was asked."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.was_asked = asyncio.Event()

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        super().append(batch, answer)
        self.was_asked.set()


class SharedLog(OwnLog):
    """One that other nodes use, too."""

    is_shared = True


class Mounted:
    """A chat in an application, on a log that answers when the test says so."""

    def __init__(self, session: aiohttp.ClientSession, chat: aiochat.Chat) -> None:
        self.session = session
        self.chat = chat
        assert isinstance(chat._log, OwnLog)
        self.log = chat._log

    @property
    def hub(self) -> Hub:
        """It runs."""
        assert self.chat._hub is not None
        return self.chat._hub

    async def get(self, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
        """The status and what the body says."""
        answer = await self.session.get(path)
        return answer.status, await answer.json()

    async def ready(self, error: StoreError | None = None) -> tuple[int, dict[str, Any]]:
        """The same, while the log answers one call; what was found out before is forgotten."""
        self.chat._health._proof = None
        asking = asyncio.create_task(self.get())
        await self.asked()
        self.log.answer(error)
        return await asking

    async def hub_turn(self) -> None:
        """What is there to do now is done by a turn."""
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self.hub.later, partial(turned.set_result, None))
        await turned

    async def asked(self) -> None:
        """The log was asked for something."""
        await self.log.was_asked.wait()
        self.log.was_asked.clear()


@pytest.fixture
async def make_mounted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Makes a chat on this log."""
    opened: list[Any] = []

    async def make(log: Callable[[Config], OwnLog] = OwnLog) -> Mounted:
        monkeypatch.setattr("aiochat.app.make_log", log)
        app = web.Application()
        chat = aiochat.setup(app, load(flags={**QUIET, "server": {"drain_seconds": 0.1}}))
        server = TestServer(app)
        await server.start_server()
        session = aiohttp.ClientSession(server.make_url("/"))
        opened.extend((session, server))
        return Mounted(session, chat)

    yield make
    for each in opened:
        await each.close()


@pytest.fixture
async def mounted(make_mounted: Callable[..., Any]) -> Mounted:
    """A chat on a log of its own."""
    made = await make_mounted()
    assert isinstance(made, Mounted)
    return made


@pytest.mark.asyncio(loop_scope="session")
async def test_a_server_that_is_up_is_ready(shared: Server) -> None:
    """And says so of each part."""
    async with aiohttp.ClientSession(shared.base_url) as session:
        answer = await session.get("/readyz")
        assert answer.status == 200
        assert await answer.json() == {"status": "ok", "hub": "ok", "store": "ok", "draining": False}


async def test_many_who_ask_are_one_question(mounted: Mounted) -> None:
    """One append at a time, and what it proved counts for a second."""
    asking = [asyncio.create_task(mounted.get()) for _ in range(50)]
    await mounted.asked()
    await mounted.get("/healthz")
    assert len(mounted.log.calls) == 1
    mounted.log.answer()
    assert {status for status, _ in await asyncio.gather(*asking)} == {200}
    assert (await mounted.get())[0] == 200
    assert not mounted.log.calls
    mounted.chat._health._proof_began -= 1
    asked_again = asyncio.create_task(mounted.get())
    await mounted.asked()
    mounted.log.answer()
    assert (await asked_again)[0] == 200
    assert mounted.log.batches == [{}, {}]


async def test_an_append_under_way_proves_as_much(mounted: Mounted) -> None:
    """No empty one is added to it."""
    publishing = asyncio.create_task(mounted.chat.publish("lobby", text="hi"))
    await mounted.asked()
    proving = asyncio.create_task(health._prove(mounted.hub))
    await mounted.hub_turn()
    mounted.log.answer()
    assert await proving == ("ok", "ok")
    assert await publishing == 1
    assert len(mounted.log.batches) == 1


async def test_a_store_of_its_own_that_fails_makes_the_server_unready(mounted: Mounted) -> None:
    """It stays alive, and is ready again after the first append that works."""
    parts = {"hub": "ok", "store": "away", "draining": False}
    assert await mounted.ready(AWAY) == (503, {"status": "store unavailable", **parts})
    assert (await mounted.get("/healthz"))[0] == 200
    assert not mounted.chat._health.is_ready
    assert (await mounted.ready())[0] == 200
    assert mounted.chat._health.is_ready


async def test_a_shared_store_that_is_away_makes_no_node_unready(make_mounted: Callable[..., Any]) -> None:
    """All of them would be at once; each says that it is degraded."""
    mounted = await make_mounted(SharedLog)
    parts = {"hub": "ok", "store": "away", "draining": False}
    assert await mounted.ready(AWAY) == (200, {"status": "degraded", **parts})
    assert mounted.chat._health.is_ready


async def test_who_hears_no_other_node_is_deaf(make_mounted: Callable[..., Any]) -> None:
    """The store answers, so the others are well, and this one's clients would miss what is said there."""

    class DeafLog(SharedLog):
        is_deaf = True

    mounted = await make_mounted(DeafLog)
    parts = {"hub": "ok", "store": "deaf", "draining": False}
    assert await mounted.ready() == (503, {"status": "deaf", **parts})
    assert not mounted.chat._health.is_ready
    assert (await mounted.get("/healthz"))[0] == 200
    assert (await mounted.ready(AWAY))[0] == 200  # it could not hear them in any case


@pytest.mark.parametrize("log", [OwnLog, SharedLog])
async def test_a_store_that_takes_long_is_degraded(
    make_mounted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, log: type[OwnLog]
) -> None:
    """Until it is late for publishers, too; the answer comes before a probe gives up."""
    monkeypatch.setattr(health, "_PROOF_SECONDS", 0.01)
    mounted = await make_mounted(log)
    assert await mounted.get() == (200, {"status": "degraded", "hub": "ok", "store": "late", "draining": False})


async def test_a_hub_that_hangs_is_deaf(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unready at once, and not alive after ten seconds' checks that it has not seen."""
    monkeypatch.setattr(health, "_PROOF_SECONDS", 0.01)
    never = asyncio.get_running_loop().create_future()

    async def hang() -> None:
        await never

    monkeypatch.setattr(mounted.hub, "turn", hang)
    mounted.hub.later(lambda: None)
    await asyncio.sleep(0)
    assert await mounted.get() == (503, {"status": "deaf", "hub": "deaf", "store": "unknown", "draining": False})
    for _ in range(9):
        mounted.hub.check()
    assert await mounted.get("/healthz") == (200, {"status": "ok"})
    mounted.hub.check()
    assert await mounted.get("/healthz") == (503, {"status": "deaf"})
    assert len(mounted.hub._items) < 10


async def test_who_leaves_is_unready_without_being_asked_twice(mounted: Mounted) -> None:
    """However fresh the last answer was; who comes all the same is still let in."""
    assert (await mounted.ready())[0] == 200
    mounted.chat.leave()
    parts = {"hub": "unknown", "store": "unknown", "draining": True}
    assert await mounted.get() == (503, {"status": "draining", **parts})
    assert (await mounted.get("/healthz"))[0] == 200
    async with mounted.session.ws_connect("/ws"):
        pass


@pytest.mark.faults
async def test_a_writer_that_hangs_is_seen(tmp_path: Path) -> None:
    """The process that writes the SQLite file is stopped: degraded, then unready, and ready again once it goes on."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "store.wait_seconds": 1.0}
    async with running(settings=settings) as server, aiohttp.ClientSession(server.base_url) as session:

        async def until(code: int, **parts: str) -> None:
            while True:
                answer = await session.get("/readyz")
                if answer.status == code and parts.items() <= (await answer.json()).items():
                    return

        await until(200, store="ok")
        (writer,) = psutil.Process(server.pid).children()
        writer.suspend()
        await until(200, status="degraded", store="late")
        await until(503, status="store unavailable", store="away")
        writer.resume()
        await until(200, status="ok", store="ok")
