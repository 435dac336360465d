"""What Redis tells the node of its own accord: one connection that is subscribed to channels, and made anew when lost.

It reads on only while what it has given is taken, so that what waits is Redis's, which bounds it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from aiochat.roomlog.redis.connections import Connect, Connection, ResponseError, pack
from aiochat.roomlog.redis.pipeline import reason_of

_CONFIRM_SECONDS: Final = 4.0  # for the first channel; a connection that does not confirm it is deaf
_BACKOFF_SECONDS: Final = (0.0, 0.05, 0.1, 0.2, 0.5)
_HEARD_AT_ONCE: Final = 64  # messages, before others have their turn

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class Subscription:
    """`hear` is called with a channel and what came there, `stand` with each channel once it is subscribed to.

    That is so anew after each lost connection, from which something may have been missed.
    """

    def __init__(
        self, connect: Connect, own: bytes, hear: Callable[[bytes, bytes], None], stand: Callable[[bytes], None]
    ) -> None:
        self._connect = connect
        self._own = own
        self._hear = hear
        self._stand = stand
        self._channels: dict[bytes, None] = {own: None}
        self._asked: list[tuple[bytes, bytes]] = []  # commands and channels that were not sent yet
        self._unconfirmed: Counter[bytes] = Counter()
        self._is_asked = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._reading: asyncio.Task[None] | None = None
        self._failures = 0
        self.connections = 0  # that there were so far

    def subscribe(self, channel: bytes) -> None:
        self._channels[channel] = None
        self._ask(b"SSUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        del self._channels[channel]
        self._ask(b"SUNSUBSCRIBE", channel)

    def pause(self) -> None:
        self._may_read.clear()

    def resume(self) -> None:
        self._may_read.set()

    def rebuild(self) -> None:
        """Make another connection: the one there is, is of no use."""
        if self._reading is not None:
            self._reading.cancel()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._live()
            except Exception as error:
                if self._failures == 0:
                    _logger.warning("redis_subscription_lost", reason=reason_of(error))
                await asyncio.sleep(_BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)])
                self._failures += 1

    async def _live(self) -> None:
        connection = self._connect()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await connection.connect()
                self._ask_again()
                await self._write(connection)
                await self._read(connection)  # that of our own channel
            self.connections += 1
            self._failures = 0
            self._reading = asyncio.create_task(self._read_on(connection))
            tasks = [self._reading, asyncio.create_task(self._write_on(connection))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            raise ConnectionAbortedError("it had gone deaf")
        finally:
            self._reading = None
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await connection.close()

    def _ask_again(self) -> None:
        self._unconfirmed.clear()
        self._asked = []
        for channel in self._channels:
            self._ask(b"SSUBSCRIBE", channel)

    def _ask(self, command: bytes, channel: bytes) -> None:
        self._asked.append((command, channel))
        self._is_asked.set()

    async def _write_on(self, connection: Connection) -> None:
        while True:
            await self._is_asked.wait()
            await self._write(connection)

    async def _write(self, connection: Connection) -> None:
        asked, self._asked = self._asked, []
        self._is_asked.clear()
        for command, channel in asked:
            if command == b"SSUBSCRIBE":
                self._unconfirmed[channel] += 1
        if asked:
            await connection.send(map(pack, asked))

    async def _read_on(self, connection: Connection) -> None:
        heard = 0
        while True:
            await self._may_read.wait()
            await self._read(connection)
            heard += 1
            if heard % _HEARD_AT_ONCE == 0:  # what has arrived already is read without a pause
                await asyncio.sleep(0)

    async def _read(self, connection: Connection) -> None:
        said = await connection.reply()
        if isinstance(said, ResponseError):
            raise said
        kind, channel, content = said
        if kind == b"smessage":
            self._hear(channel, content)
        elif kind == b"ssubscribe" and channel in self._unconfirmed:
            self._unconfirmed[channel] -= 1
            if not self._unconfirmed[channel]:  # else it was left and asked for again meanwhile
                del self._unconfirmed[channel]
                if channel in self._channels:
                    self._stand(channel)
