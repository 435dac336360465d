"""The JavaScript client in a Node.js process of its own, driven from the tests by `js_driver.mjs`."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from aiochat.messages import Limits
from tests.scripted import LIMITS, Peer, Script

HERE: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
_WS: Final = HERE / "node_modules" / "ws"

needs_node: Final = pytest.mark.skipif(
    NODE is None or not _WS.exists(),
    reason="Node.js or its package ws is absent; `make test` installs ws where there is npm",
)
Event = dict[str, Any]


class ChatError(Exception):
    """What a promise was rejected with."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields["message"])
        self.name = fields["name"]
        self.code = fields.get("code")
        self.field = fields.get("field")
        self.retry_after_ms = fields.get("retryAfterMs")
        self.close_code = fields.get("closeCode")


class JsChat:
    """One chat. Its events are dicts with their `kind`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    def start(self, call: str, *given: Any) -> "asyncio.Future[Any]":
        """Call it now; what it gives, or a `ChatError`, comes later."""
        id = len(self._answers)
        future = self._answers[id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": id, "call": call, "given": given}).encode() + b"\n")
        return future

    async def ask(self, call: str, *given: Any) -> Any:
        """Call it, and wait for what it gives."""
        return await self.start(call, *given)

    async def until(self, wanted: Callable[[Event], bool]) -> list[Event]:
        """What happens, up to and with the first event that is wanted."""
        heard = []
        while True:
            heard.append(await self._events.get())
            if wanted(heard[-1]):
                return heard

    async def next_of(self, kind: str, **fields: Any) -> Event:
        """The next event of this kind with these fields; what comes before it is skipped."""
        return (await self.until(lambda event: {"kind": kind, **fields}.items() <= event.items()))[-1]

    async def quiet(self) -> list[Event]:
        """What has happened until now."""
        await self.ask("get", "state")
        return [self._events.get_nowait() for _ in range(self._events.qsize())]

    async def ended(self) -> str:
        """Let it end; what it complained of."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stderr is not None
        complaints = await self._process.stderr.read()
        await self._reading
        assert await self._process.wait() == 0, complaints.decode()
        return complaints.decode()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "kind" in said:
                self._events.put_nowait(said)
            elif "failed" in said:
                self._answers[said["id"]].set_exception(ChatError(said["failed"]))
            else:
                self._answers[said["id"]].set_result(said.get("gave"))


@asynccontextmanager
async def running_js() -> AsyncIterator[JsChat]:
    """A process without a chat yet; it may complain of nothing."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        *(NODE, str(HERE / "js_driver.mjs")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    chat = JsChat(process)
    try:
        yield chat
        assert await chat.ended() == ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for future in chat._answers.values():
            if not future.done():
                future.cancel()
            elif not future.cancelled():
                future.exception()  # whoever asked may not want to know


@asynccontextmanager
async def chatting_js(script: Script, *, limits: Limits = LIMITS, **options: Any) -> AsyncIterator[tuple[JsChat, Peer]]:
    """A client in the lobby, where offset 5 is the newest, with the server's end of it."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": script.url, "name": "alice", "rooms": ["lobby"], **options})
        peer = await script.connection()
        await peer.welcome(limits=limits)
        if options.get("rooms", True):
            await peer.admit(offset=5)
        await chat.next_of("state", state="online")
        yield chat, peer
        script.end()


async def break_off(chat: JsChat, peer: Peer, script: Script, limits: Limits = LIMITS) -> Peer:
    """Cut the connection; the server's end of the next one, where the client was welcomed."""
    peer.reset()
    await chat.next_of("state", state="waiting")
    peer = await script.connection()
    await peer.welcome("provisional", "token of the provisional session", limits=limits)
    return peer


def told(events: list[Event]) -> list[int]:
    """The offsets of the messages among the events."""
    return [event["offset"] for event in events if event["kind"] == "message"]


def summary(events: list[Event]) -> list[int | str]:
    """The events in short: the offsets of messages, the other ones in a word or two."""
    return [_short(event) for event in events if event["kind"] != "failures"]


def _short(event: Event) -> int | str:
    kind = event["kind"]
    if kind == "message":
        return int(event["offset"])
    if kind == "gap":
        return f"gap {event['from']}-{event['to']}" if "from" in event else f"gap to {event['epoch']}"
    words = {"state": "state", "caughtup": "messages", "erased": "target", "left": "reason"}
    return f"{kind} {event.get(words.get(kind, 'type'))}".removeprefix("state ")
