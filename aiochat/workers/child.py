"""A worker's own end: `python -m aiochat.workers.child`, a server on the sockets that its parent has opened.

Its stdin is the channel to its parent. When that ends the parent is gone, and so is the chat.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from aiochat.config import Config
from aiochat.errors import ConfigError, Ended, StartError
from aiochat.monitoring import logs
from aiochat.serve import run
from aiochat.workers.channel import Begin, Failed, Ready, Report, Turned, line

_TURN_SECONDS: Final = 1.0


def main() -> int:
    """Serve until told to stop; 2 if it cannot start, 1 if it cannot go on, and why has been told to the parent."""
    channel = socket.socket(fileno=sys.stdin.fileno())
    first = channel.makefile("rb").readline()
    if not first:
        return 2
    begin = msgspec.json.decode(first, type=Begin)
    channel.setblocking(False)
    parent = _Parent(channel, begin)
    try:
        config = Config(**begin.config)
        logs.set_up(config.logging, worker=begin.number)
        run(config, parent)
    except (ConfigError, StartError, Ended) as error:
        parent.tell(Failed(str(error)))
        return 1 if isinstance(error, Ended) else 2
    return 0


class _Parent:
    """Who has started this server: aiochat.serve.Starter says what it is told."""

    def __init__(self, channel: socket.socket, begin: Begin) -> None:
        self._channel = channel
        self.listening: Sequence[Sequence[socket.socket]] = [
            [socket.socket(fileno=descriptor) for descriptor in descriptors] for descriptors in begin.listening
        ]

    def tell(self, report: Report) -> None:
        with suppress(OSError):  # it is gone, or stopped for so long that the channel is full
            self._channel.send(line(report))

    def begin(self, on_gone: Callable[[str], None]) -> None:
        def readable() -> None:  # it says nothing any more: this is its end
            loop.remove_reader(self._channel)
            on_gone("its parent is gone")

        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, readable)

    def ready(self, port: int) -> None:
        self.tell(Ready())

    async def feed(self, in_turn: Callable[[Callable[[], object]], None], clients: Callable[[], int]) -> None:
        while True:
            in_turn(lambda: self.tell(Turned(clients())))
            await asyncio.sleep(_TURN_SECONDS)

    def stopping(self, clients: int) -> None:
        """It has said so itself, or is gone."""


if __name__ == "__main__":
    sys.exit(main())
