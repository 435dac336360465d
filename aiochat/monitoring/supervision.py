"""Parts that run as long as the chat: when one dies the chat ends, for one that is up and deaf is worse than none."""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

import structlog

_LOOK_SECONDS: Final = 1.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Supervision:
    """Calls `end` with one line as soon as a part is over."""

    def __init__(self, end: Callable[[str], None]) -> None:
        self._end = end
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    def watch(self, task: asyncio.Task[None]) -> None:
        """A part, under the name that it is called in the line."""
        task.add_done_callback(self._is_over)
        self._tasks.append(task)

    def stand_down(self) -> None:
        """The chat is being stopped: from now on its parts may end."""
        self._is_ending = True

    async def stop(self) -> None:
        """End all parts."""
        self.stand_down()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _is_over(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._is_ending:
            return
        name = task.get_name()
        _log.critical("part_died", part=name, exc_info=error)
        self._end(f"{name} has died" + (f" ({type(error).__name__})" if error else ""))


class Listening(Protocol):
    """A socket, or what an event loop gives out for one."""

    def fileno(self) -> int: ...


async def still_open(sockets: Iterable[Listening]) -> None:
    """Ends when the descriptor of a listening socket was closed, or is another file's; looked at once a second.

    uvloop closes a listener for good when the kernel has no memory or no files left for a connection.
    """
    descriptors = {listening.fileno() for listening in sockets}
    were = {descriptor: _identity(descriptor) for descriptor in descriptors}
    while None not in were.values() and were == {descriptor: _identity(descriptor) for descriptor in were}:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)


def _identity(descriptor: int) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    return None
