"""What must run as long as the server does: when it dies, so does the server, and says so in its last line."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

import aiochat
from aiochat.config import load
from aiochat.monitoring.lag import Lag
from aiochat.roomlog.process import WriterProcess
from aiochat.roomlog.redis.subscription import Subscription
from tests.hubs import QUIET
from tests.raw import needs_proc
from tests.roomlogs import opened, url_of
from tests.servers import Server, running, talking
from tests.test_sqlite_log import open_log, writer_of

# A cancellation that comes out of a command or a tick is what no `except Exception` stops.
_DIE: Final = "import asyncio, {module}; exec('def die(*given): raise asyncio.CancelledError'); {module}.{what} = die"
HUB: Final = "import aiochat.messages; " + _DIE.format(
    module="aiochat.commands", what="COMMANDS[aiochat.messages.Publish]"
)
KEEPALIVE: Final = _DIE.format(module="aiochat.connections", what="Connections._every_second")
LISTENER: Final = (
    "import asyncio, os, aiochat.serve; still_open = aiochat.serve.still_open; "
    "exec('def lose(sockets): asyncio.get_running_loop().call_later(0.1, "
    "os.dup2, os.open(os.devnull, os.O_RDONLY), sockets[0].fileno()); return still_open(sockets)'); "
    "aiochat.serve.still_open = lose"
)


async def end_of(server: Server) -> tuple[int, str, list[str]]:
    """Its exit code, its last line, and the parts whose death it logged, once it has ended by itself."""
    code = await server.process.wait()
    await server._reading
    parts = [line["part"] for line in server.log if line["event"] == "part_died"]
    return code, str(server.log[-1].get("line")), parts


async def test_the_hub_dies(uvloop: bool) -> None:
    """In the middle of a turn: who is there is told to come back, without a wait for a hub that turns no more."""
    settings = {"server.drain_seconds": 1000}
    async with running(settings=settings, uvloop=uvloop, before=HUB) as server, talking(server.ws_url) as talker:
        await talker.say("the last words")
        assert await talker.closed() == 1012
        assert await end_of(server) == (1, "aiochat: the hub has died (CancelledError)", ["the hub"])


async def test_the_keepalive_dies(uvloop: bool) -> None:
    """At its first second: silent clients would be kept for ever, and late messages never refused."""
    async with running(uvloop=uvloop, before=KEEPALIVE) as server:
        assert await end_of(server) == (1, "aiochat: the keepalive has died (CancelledError)", ["the keepalive"])


async def test_the_listener_dies(uvloop: bool) -> None:
    """Its descriptor is another file's now: nobody could connect, and those there are told to come back."""
    async with running(uvloop=uvloop, before=LISTENER) as server:
        with suppress(aiohttp.ClientError):
            async with talking(server.ws_url):
                pass
        assert await end_of(server) == (1, "aiochat: the listener has died", ["the listener"])


@needs_proc
async def test_the_writer_dies_twice(tmp_path: Path) -> None:
    """SIGKILL: it is started again, and what was acknowledged is there; the second time the server ends."""
    file = tmp_path / "chat.db"
    async with running(settings={"store.url": f"sqlite:///{file}"}) as server, talking(server.ws_url) as talker:
        await talker.say("kept")
        assert await talker.hear() == "kept"
        psutil.Process(server.pid).children()[0].kill()
        await server.logged("store_writer_restarted")
        async with aiohttp.ClientSession(server.base_url) as session:
            assert (await session.get("/readyz")).status == 200
        psutil.Process(server.pid).children()[0].kill()
        assert await talker.closed() == 1012
        line = f"aiochat: the process that writes {file} died twice within a minute"
        assert await end_of(server) == (1, line, [])


async def test_a_writer_that_cannot_be_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops it, such as a lack of descriptors, is told to the server: nobody would ever try again."""
    file = tmp_path / "log.db"

    async def start(on_lost: Callable[[WriterProcess], None]) -> WriterProcess:
        raise OSError(24, "Too many open files")

    async with open_log(file) as log:
        monkeypatch.setattr(WriterProcess, "start", start)
        writer_of(log).kill()
        assert await log.ended == f"the process that writes {file} cannot be started again (OSError)"


async def test_a_part_of_the_log_on_redis_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a defect that it does not expect of itself: the server is told, for nothing would be heard any more."""

    async def run(subscription: Subscription) -> None:
        raise RecursionError

    monkeypatch.setattr(Subscription, "run", run)
    async with opened(url_of("redis", tmp_path)) as log:
        assert await log.ended == "the subscription in Redis has died (RecursionError)"


async def test_a_mounted_chat_leaves_it_to_the_application() -> None:
    """`ended` says why; it is neither alive nor ready, takes nobody and nothing, and all else goes on."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    def die() -> None:
        raise asyncio.CancelledError

    app = web.Application()
    app.add_routes([web.get("/hello", hello)])
    chat = aiochat.setup(app, load(flags=QUIET), prefix="/chat")
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        assert chat.ended is not None
        chat.in_turn(die)
        waiting = asyncio.create_task(chat.publish("lobby", text="hi"))
        assert await chat.ended == "the hub has died (CancelledError)"
        for publishing in (waiting, chat.publish("lobby", text="hi")):
            with pytest.raises(aiochat.Reply) as refused:
                await publishing
            assert refused.value.code == "unavailable"
        for path in ("/chat/healthz", "/chat/readyz"):
            answer = await session.get(path)
            assert (answer.status, (await answer.json())["status"]) == (503, "ended")
        with pytest.raises(aiohttp.WSServerHandshakeError) as unavailable:
            await session.ws_connect("/chat/ws")
        assert unavailable.value.status == 503
        assert await (await session.get("/hello")).text() == "hello"


# The event loop's lag


def ticked(lag: Lag, *late: float) -> list[dict[str, Any]]:
    """What is logged of ticks a second apart, each so much too late."""
    with capture_logs() as events:
        for number, seconds in enumerate(late):
            lag.tick(number, number + seconds)
    return [dict(event) for event in events]


def test_lag_is_logged_once_when_it_is_over() -> None:
    """With how long it took in all and how late the latest tick was; less than the limit is only counted."""
    lag = Lag(0.5)
    assert ticked(lag, 0, 0.4, 0.5, 0.9, 0.7) == []
    assert ticked(Lag(0.5), 0, 0.4, 0.5, 0.9, 0.7, 0.1, 0) == [
        {"event": "loop_lagged", "log_level": "warning", "seconds": 3, "worst_seconds": 0.9}
    ]
    assert lag.seconds.buckets()[-1] == ("+Inf", 5)
    assert lag.seconds.sum == pytest.approx(2.5)


def test_each_lag_is_logged_anew() -> None:
    """One does not count for the next; a tick that comes early, as clocks are read, is no lag."""
    lag = Lag(0.5)
    assert [event["worst_seconds"] for event in ticked(lag, 0.8, -0.1, 0.6, 0)] == [0.8, 0.6]


async def test_a_loop_that_stands_still_is_noticed() -> None:
    """Something in this process computes for a third of a second."""
    flags: dict[str, Any] = {"logging": {"lag_seconds": 0.1}, "keepalive": {"ping_interval_seconds": 0.2}}
    app = web.Application()
    chat = aiochat.setup(app, load(flags={**QUIET, **flags}))
    with capture_logs() as events:
        async with TestServer(app):
            keepalive = chat._handlers.connections.keepalive
            ticks = keepalive.ticks
            while keepalive.ticks == ticks:  # noqa: ASYNC110 - each of its ticks is an event of its own
                await asyncio.sleep(keepalive.tick_seconds)
            time.sleep(0.3)  # noqa: ASYNC251 - this is what must not be done
            while not any(event["event"] == "loop_lagged" for event in events):  # noqa: ASYNC110
                await asyncio.sleep(keepalive.tick_seconds)
    (lagged,) = [event for event in events if event["event"] == "loop_lagged"]
    assert lagged["worst_seconds"] > 0.2
