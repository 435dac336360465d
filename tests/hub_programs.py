"""Programs at a hub without a server: turns are taken by hand, the room log answers when told to, the clock is set."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiochat.auth.identity import Identity
from aiochat.client import Client
from aiochat.codecs import CODECS
from aiochat.config import Config, load
from aiochat.directory import LocalDirectory
from aiochat.errors import Close, StoreError
from aiochat.hooks.registry import Hooks
from aiochat.hub import Hub
from aiochat.outbox import Backlog, Outbox
from aiochat.roomlog import Answer, Appended, Deleted, Draft, Page, RoomLog
from aiochat.roomlog.memory import MemoryLog
from tests import wire
from tests.programs import Event

UNLIMITED: Final[dict[str, Any]] = {"messages_per_second": 0}
JSON: Final = CODECS["aiochat.v1.json"]
TEXT: Final = CODECS["aiochat.v1.text"]


class Clock:
    """The loop's time, which goes forward when told to, too; what was to be called by then is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        was = loop.time
        self._time: Callable[[], float] = was._time if isinstance(was, Clock) else was
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class HeldLog(RoomLog):
    """A memory log that answers when the test says so, in the order of the calls; at once unless `is_held`."""

    def __init__(self, config: Config) -> None:
        self._log = MemoryLog(config)
        self.secret, self.kept = self._log.secret, self._log.kept
        self.is_held = False
        self.calls: deque[Callable[[], None]] = deque()
        self._error: StoreError | None = None

    async def open(self, on_end: Callable[[str], None]) -> None:
        """There is nothing to open."""

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        self._call(lambda: self._log.append(batch, answer), answer)

    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        self._call(lambda: self._log.read(room, answer, limit=limit, before=before, after=after), answer)

    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        self._call(lambda: self._log.delete(room, answer), answer)

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        self._call(lambda: self._log.keep(key, value, answer), answer)

    async def close(self) -> None:
        self.answer(len(self.calls))

    def newest(self, room: str) -> int:
        """How many entries were ever in the room's log."""
        ring = self._log._rings.get(room)
        return 0 if ring is None else ring.newest

    def answer(self, count: int = 1) -> None:
        """Answer the oldest calls."""
        for _ in range(min(count, len(self.calls))):
            self.calls.popleft()()

    def fail(self) -> None:
        """Refuse what comes until `mend`."""
        self._error = StoreError("broken")

    def mend(self) -> None:
        self._error = None

    def _call(self, call: Callable[[], None], answer: Answer[Any]) -> None:
        self.calls.append(call if self._error is None else partial(answer, self._error))
        if not self.is_held:
            self.answer()


class HubProgram:
    """One connection, and what it was told."""

    def __init__(
        self,
        chat: "ProgramChat",
        id: str,
        room: str | None,
        name: str | None,
        *,
        is_text: bool,
        identity: Identity | None = None,
    ) -> None:
        self._chat = chat
        self._written = bytearray()
        self._read = 0
        self.outbox = Outbox(self, chat.backlog, self)
        self.client = Client(id, TEXT if is_text else JSON, self.outbox, identity or Identity(name=name))
        self.client.name = name or self.client.name
        self.close_code: int | None = None
        chat.hub.attach(self.client, room)

    # What the outbox calls.

    def write(self, data: bytes) -> None:
        self._written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def sealed(self, code: int, reason: str) -> None:
        """As a connection does at its end."""
        self.close_code = code
        is_final = code == Close.NORMAL or code >= Close.BAD_REQUEST
        self._chat.hub.detach(self.client, is_expected=not is_final)

    def farewell(self, code: int, reason: str) -> bytes:
        return b""

    # What a test does.

    def ask(self, command: str, **fields: Any) -> None:
        """Send a command."""
        payload = json.dumps({"type": command, **fields}).encode()
        for decoded in JSON.decode(payload, is_binary=False):
            self._chat.hub.inbox.submit(self.client, decoded, len(payload))

    def say(self, line: str) -> None:
        """Send a line, as a text client."""
        for decoded in TEXT.decode(line.encode(), is_binary=False):
            self._chat.hub.inbox.submit(self.client, decoded, len(line))

    def lose(self) -> None:
        """The connection is lost."""
        self.outbox.seal(Close.ABNORMAL, "lost")

    def leave(self) -> None:
        """The client goes for good."""
        self.outbox.seal(Close.NORMAL, "bye")

    @property
    def lines(self) -> list[str]:
        """All that was sent, by line."""
        frames = wire.frames_of(bytes(self._written))
        return [line for frame in frames if frame.opcode == wire.TEXT for line in frame.payload.decode().split("\n")]

    @property
    def told(self) -> list[Event]:
        """Every event so far."""
        return [json.loads(line) for line in self.lines]

    def of(self, kind: str) -> list[Event]:
        """Every event of this type so far."""
        return [event for event in self.told if event["type"] == kind]

    def news(self) -> list[Event]:
        """What it was told since the last call."""
        told = self.told
        news, self._read = told[self._read :], len(told)
        return news

    @property
    def token(self) -> str:
        """From the last `session`."""
        return str(self.of("session")[-1]["resume"])


class ProgramChat:
    """A hub with these settings over the default ones."""

    def __init__(self, clock: Clock | None = None, application: Hooks | None = None, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        if clock is not None:
            loop.time = clock  # type: ignore[method-assign]
        self.config = load(flags={"limits": UNLIMITED, **settings})
        self.log = HeldLog(self.config)
        self.backlog = Backlog(self.config.queue, loop.time)
        self.hub = Hub(self.config, self.log, LocalDirectory(), application)
        self._ids = 0

    def connect(
        self,
        room: str | None = None,
        name: str | None = None,
        *,
        is_text: bool = False,
        identity: Identity | None = None,
    ) -> HubProgram:
        """A client that will have come after the next turn."""
        self._ids += 1
        return HubProgram(self, f"c{self._ids}", room, name, is_text=is_text, identity=identity)

    async def come(
        self,
        room: str | None = None,
        name: str | None = None,
        *,
        is_text: bool = False,
        identity: Identity | None = None,
    ) -> HubProgram:
        """A client that has come, and was told so; `news` begins here."""
        client = self.connect(room, name, is_text=is_text, identity=identity)
        await self.turn(3)
        client._read = len(client.lines)
        return client

    async def turn(self, times: int = 1) -> None:
        """Turns, and what the loop does after each."""
        for _ in range(times):
            await self.hub.turn()
            await asyncio.sleep(0)

    def put(self, room: str, text: str) -> None:
        """A message of nobody's, for the next turn."""
        self.hub.publishing.publish(room, text, None).add_done_callback(asyncio.Future.exception)

    async def publish(self, room: str, *texts: str) -> None:
        """Messages of nobody's."""
        for text in texts:
            self.put(room, text)
        await self.turn(2)

    async def later(self, clock: Clock, seconds: float) -> None:
        """So much later, and what was to happen by then has happened."""
        await self.turn(2)
        clock.advance(seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.hub.check()
        await self.turn(2)
