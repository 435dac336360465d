"""A prompt at the foot of the terminal; what comes is shown above it, and never tears the line being typed."""

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import Final
from zlib import crc32

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input import create_input
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import CompleteStyle

from aiochat.messages import Command, Quit
from aiochat.names import fold
from aiochat.sdk import ChatEvent, Connected, Disconnected
from aiochat.terminal.completion import TalkCompleter
from aiochat.terminal.lines import Line
from aiochat.terminal.talk import Talk

_INTERRUPTED: Final = 130  # what a shell expects of a program that Ctrl-C ended
_MOST_WAITING: Final = 64
_LAST_SECONDS: Final = 3.0  # for what was typed before the end
_COLOURS: Final = (
    "ansired", "ansigreen", "ansiyellow", "ansiblue", "ansimagenta", "ansicyan",
    "ansibrightred", "ansibrightgreen", "ansibrightyellow", "ansibrightblue", "ansibrightmagenta", "ansibrightcyan",
)  # fmt: skip
_STYLES: Final = {"*": "ansibrightblack", "!": "ansired"}


class Screen:
    """What is typed while the connection is down waits, and the prompt says so."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._completer = TalkCompleter(talk)
        keyboard = create_input()
        # While a line is shown the terminal must not echo what is typed just then: it would stand within that line.
        setattr(keyboard, "cooked_mode", nullcontext)  # noqa: B010 -- mypy knows that it is a method
        self._prompt: PromptSession[str] = PromptSession(
            self._prompt_text,
            input=keyboard,
            completer=self._completer,
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            erase_when_done=True,  # the line comes back from the room
        )
        self._is_connected = True
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(_MOST_WAITING)
        self._lines: list[Line] = []
        self._printing: asyncio.Task[None] | None = None

    def heard(self, event: ChatEvent) -> bool:
        self._completer.heard(event)
        if isinstance(event, Connected | Disconnected):
            self._is_connected = isinstance(event, Connected)
        self._prompt.app.invalidate()
        return True

    def show(self, shown: Iterable[Line]) -> None:
        self._lines += shown
        if self._lines and self._printing is None:
            self._printing = asyncio.create_task(self._print())

    async def finish(self) -> None:
        if self._printing is not None:
            await self._printing

    async def _print(self) -> None:
        """All that has come at once: the prompt is drawn anew only once for them."""
        try:
            while self._lines:
                await run_in_terminal(self._print_lines)
        finally:
            self._printing = None

    def _print_lines(self) -> None:
        taken, self._lines = self._lines, []
        pieces = [piece for line in taken for piece in (*_pieces(line), ("", "\n"))]
        print_formatted_text(FormattedText(pieces), end="")

    async def type(self) -> int:
        doing = asyncio.create_task(self._do())
        try:
            with patch_stdout():
                code = await self._read()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._waiting.join()
            return code
        finally:
            doing.cancel()
            await asyncio.wait({doing})

    async def _read(self) -> int:
        while True:
            try:
                line = await self._prompt.prompt_async()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                return _INTERRUPTED
            command = self._talk.understood(line)
            if isinstance(command, Quit):
                return 0
            if command is not None and self._waiting.full():
                self.show([Line("! not sent: too much is waiting already")])
            elif command is not None:
                self._waiting.put_nowait(command)

    async def _do(self) -> None:
        """One after the other: what is said after `/join` is said there."""
        while True:
            command = await self._waiting.get()
            await self._talk.do(command)
            self._waiting.task_done()
            self._prompt.app.invalidate()

    def _prompt_text(self) -> str:
        if self._is_connected:
            return f"{self._talk.room}> "
        waiting = self._waiting.qsize()
        return f"{self._talk.room} (not connected{f', {waiting} waiting' if waiting else ''})> "


def _pieces(line: Line) -> list[tuple[str, str]]:
    if line.name is None:
        return [(_STYLES.get(line.text[:1], ""), line.text)]
    return [(f"bold {colour(line.name)}", line.name), ("", line.text[len(line.name) :])]


def colour(name: str) -> str:
    """The same for a name wherever and whenever it is shown."""
    return _COLOURS[crc32(fold(name).encode()) % len(_COLOURS)]
