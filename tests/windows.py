"""A terminal of 24 lines and 80 columns with `aiochat chat` in it: keys in, a screen to look at out."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pexpect
import pyte

from tests.servers import environment

LINES: Final = 24
COLUMNS: Final = 80
TAB: Final = "\t"
ENTER: Final = "\r"
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
CTRL_U: Final = "\x15"


class _Screen(pyte.Screen):
    """Answers where its cursor is, as a terminal does."""

    def __init__(self, answer: Callable[[bytes], object]) -> None:
        super().__init__(COLUMNS, LINES)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())


class Window:
    """What stands on the screen, and the keyboard in front of it."""

    def __init__(self, child: "pexpect.spawn[str]") -> None:
        self.child = child
        self._fd = child.child_fd
        self._screen = _Screen(self._write)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    @property
    def lines(self) -> list[str]:
        """The screen down to its last line that is not empty, without what trails."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and line, from 0."""
        return self._screen.cursor.x, self._screen.cursor.y

    def colour(self, line: str) -> str:
        """The colour in which a line that is on the screen begins."""
        row = next(row for row, shown in enumerate(self.lines) if shown == line)
        return str(self._screen.buffer[row][0].fg)

    def type(self, keys: str) -> None:
        """Press keys."""
        self._write(keys.encode())

    async def until(self, wanted: Callable[[list[str]], bool]) -> None:
        """Wait until the screen is as wanted; the error shows how it is."""
        try:
            async with asyncio.timeout(15):
                while not wanted(self.lines):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError("the screen is:\n" + "\n".join(self.lines)) from None

    async def shows(self, *last: str) -> None:
        """Wait until these are the last lines of the screen."""
        await self.until(lambda lines: tuple(lines[-len(last) :]) == last)

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        while self.child.isalive():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 15)
        assert self.child.exitstatus is not None
        return int(self.child.exitstatus)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self.child.close(force=True)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other end of the terminal is closed
            data = b""
        if data:
            self._stream.feed(data)
        else:
            asyncio.get_running_loop().remove_reader(self._fd)
            self.child.wait()
        self._changed.set()

    def _write(self, data: bytes) -> None:
        os.write(self._fd, data)


@asynccontextmanager
async def window(url: str, *arguments: str) -> AsyncIterator[Window]:
    """`aiochat chat` at `url`, ended whatever happens."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "aiochat", "chat", url, *arguments],
        env={**environment({}), "TERM": "xterm-256color"},
        dimensions=(LINES, COLUMNS),
        timeout=15,
    )
    opened = Window(child)
    try:
        yield opened
    finally:
        opened.close()
