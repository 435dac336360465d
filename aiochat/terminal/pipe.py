"""Lines of standard input to a room, lines of the room to standard output."""

import asyncio
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import Semaphore, Thread
from typing import Final

from aiochat.messages import Joined, Presence
from aiochat.sdk import ChatEvent
from aiochat.terminal.lines import Line
from aiochat.terminal.talk import Talk

_MOST_SECONDS: Final = 60.0  # for one line, over all breaks


class Pipe:
    """Who has no name is not greeted and not told who comes and goes, as with the text codec."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._taken = Semaphore()  # one line waits, the rest stays in the pipe

    def heard(self, event: ChatEvent) -> bool:
        return self._talk.name is not None or not isinstance(event, Joined | Presence)

    def show(self, shown: Iterable[Line]) -> None:
        sys.stdout.writelines(f"{line.text}\n" for line in shown)
        sys.stdout.flush()

    async def finish(self) -> None:
        """It has been, line by line."""

    async def type(self) -> int:
        Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True).start()
        while (line := await self._typed.get()) is not None:
            self._taken.release()
            command = self._talk.understood(line)
            try:
                async with asyncio.timeout(_MOST_SECONDS):
                    if command is not None and not await self._talk.do(command):
                        break
            except TimeoutError:
                self.show([Line(f"! perhaps not sent: no answer within {_MOST_SECONDS:g} seconds")])
                return 1
        return 0

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, since a pipe and a file are read alike only so."""
        typed = open(sys.stdin.fileno(), errors="replace", closefd=False)  # noqa: SIM115 - to the end
        with suppress(RuntimeError):  # the chat is over, and its loop closed
            for line in typed:
                self._taken.acquire()
                loop.call_soon_threadsafe(self._typed.put_nowait, line)
            loop.call_soon_threadsafe(self._typed.put_nowait, None)
