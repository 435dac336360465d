"""Lines of standard input to a room, lines of the room to standard output."""

import asyncio
import sys
from collections.abc import Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Thread
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
        self._typed: asyncio.Queue[str | None] = asyncio.Queue(1)

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
            command = self._talk.understood(line)
            try:
                async with asyncio.timeout(_MOST_SECONDS):
                    if command is not None and not await self._talk.do(command):
                        break
            except TimeoutError:
                self.show([Line(f"! not sent: no answer within {_MOST_SECONDS:g} seconds")])
                return 1
        return 0

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, since a pipe and a file are read alike only so."""
        typed = open(sys.stdin.fileno(), errors="replace", closefd=False)  # noqa: SIM115 - to the end
        with suppress(RuntimeError, CancelledError):  # the chat is over
            for line in typed:
                asyncio.run_coroutine_threadsafe(self._typed.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(self._typed.put(None), loop).result()
