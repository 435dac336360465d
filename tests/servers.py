"""A real server process for tests, on a free port, with its log at hand."""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.forking import Forked
from tests.leaks import leaks, note, texts_of

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_READY = re.compile(r"aiochat is at +(https?)://([^ /]+)/")


class Server:
    """One `aiochat serve`; `log` holds its log lines so far, as dicts."""

    def __init__(self, process: asyncio.subprocess.Process | Forked, base_url: str) -> None:
        self.process = process
        self.base_url = base_url  # http://127.0.0.1:PORT
        self.log: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._logged = asyncio.Event()
        self._reading = asyncio.create_task(self._read_log())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    @property
    def ws_url(self) -> str:
        return self.base_url + "/ws"

    def rss_bytes(self) -> int:
        """The server's resident memory."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most resident memory the server ever had."""
        return int(_PEAK.findall(Path(f"/proc/{self.pid}/status").read_text())[0]) << 10

    def descriptors(self) -> int:
        """How many files and sockets the server has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def logged(self, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """The lines of this event with these fields, once there are `count` of them."""
        while True:
            self._logged.clear()
            found = [line for line in self.log if line["event"] == event and fields.items() <= line.items()]
            if len(found) >= count:
                return found
            await self._logged.wait()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the server and wait until it is gone; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await self.process.wait()
        await self._reading
        return code

    def check_log(self) -> None:
        """Nothing stands in it that nobody may read there."""
        found = leaks("".join(self._lines), texts_of(self.port))
        assert not found, f"the server's log holds {found}"

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self._lines.append(line.decode(errors="replace"))
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": "not JSON", "line": line.decode(errors="replace").rstrip()})
            self._logged.set()


def free_port() -> int:
    """One that nobody listens on, for who must name it before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """That of a process of this checkout with `settings` such as {"limits.max_clients": 5}."""
    ours = {
        f"AIOCHAT_{key.replace('.', '__').upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
    return {**os.environ, **ours, "PYTHONPATH": str(Path(__file__).parent.parent)}


@asynccontextmanager
async def running(
    *,
    settings: Mapping[str, Any] | None = None,
    uvloop: bool = True,
    config: Path | None = None,
    descriptors: int | None = None,
    before: str = "",
) -> AsyncIterator[Server]:
    """A server with `settings` such as {"limits.max_clients": 5}; it is ended whatever happens in the block.

    `descriptors` is how many it may have; `before` is a line of Python that its process begins with.
    """
    given = {
        "server.port": 0,
        "server.host": "127.0.0.1",
        "logging.format": "json",
        "store.url": "memory:",
        "presence.interval_ms": 0,  # only tests of presence want to hear who came
        **(settings or {}),
    }
    process = await Forked.start(
        *("serve", *(("--config", str(config)) if config else ())),
        environment=environment(given),
        uvloop=uvloop,
        descriptors=descriptors,
        before=before,
    )
    try:
        first = (await process.stdout.readline()).decode()
        ready = _READY.search(first)
        assert ready, f"did not start: {first}{(await process.stderr.read()).decode()}"
        server = Server(process, f"{ready[1]}://{ready[2]}")
        try:
            yield server
        finally:
            await server.stop()
        server.check_log()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Talker:
    """A text client: says lines, hears lines."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, port: int = 0) -> None:
        self.socket = socket
        self._port = port

    async def say(self, line: str) -> None:
        note(self._port, line)
        await self.socket.send_str(line)

    async def hear(self) -> str:
        """The next line."""
        return await self.socket.receive_str()

    async def closed(self) -> int:
        """Skip what still comes; the code of the Close."""
        while (message := await self.socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            pass
        return int(message.data) if message.type is aiohttp.WSMsgType.CLOSE else int(self.socket.close_code or 0)


@asynccontextmanager
async def talking(url: str, **options: Any) -> AsyncIterator[Talker]:
    """A text client connected to `url`."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0, **options) as socket:
        yield Talker(socket, URL(url).port or 0)
