"""A TCP proxy that does to connections what networks do: cuts them in the middle of a frame, stalls, forgets them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

_CHUNK: Final = 65536


class Proxy:
    """Forwards to `port`, which may change. `budget` says after how many bytes each new connection is cut.

    `cuts` counts those that were, `connections` all. Whatever the server says comes `late_seconds` later.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = ""
        self.cuts = 0
        self.connections = 0
        self.late_seconds = 0.0
        self.budget: Callable[[], int | None] = lambda: None
        self._through = asyncio.Event()
        self._through.set()
        self._half_open: list[asyncio.StreamWriter] = []
        self._open: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    def stall(self) -> None:
        """From now on nothing goes through, on no connection."""
        self._through.clear()

    def go_on(self) -> None:
        """Let through again what comes, and what was held up."""
        self._through.set()

    def reset(self) -> None:
        """Cut all connections, on both sides."""
        for ends in self._open:
            _abort(*ends)
        _abort(*self._half_open)

    def forget(self) -> None:
        """Cut all connections on the client's side alone: the server does not notice."""
        for client, server in self._open:
            _abort(client)
            self._half_open.append(server)
        self._open = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            _abort(writer)
            return
        ends = (writer, far_writer)
        self._open.add(ends)
        left = [self.budget()]
        there = asyncio.create_task(self._forward(reader, far_writer, left))
        back = asyncio.create_task(self._forward(far_reader, writer, left, is_back=True))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        there.cancel()
        back.cancel()
        self.cuts += left[0] == 0
        if ends in self._open:
            self._open.discard(ends)
            _abort(*ends)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int | None],
        *,
        is_back: bool = False,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                await self._through.wait()
                if is_back and self.late_seconds:
                    await asyncio.sleep(self.late_seconds)
                if left[0] is not None:
                    data = data[: left[0]]
                    left[0] -= len(data)
                writer.write(data)
                await writer.drain()
                if left[0] == 0:
                    return


def _abort(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.transport.abort()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy to the server on `port`."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    try:
        yield proxy
    finally:
        server.close()
        proxy.go_on()
        proxy.reset()
