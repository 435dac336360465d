"""What presence costs: server CPU for named programs that join at 2,000 a second, with presence and without it.

`.venv/bin/python -m benchmarks.presence [CLIENTS]`; the joins are slower where client and server share too few cores.
"""

import asyncio
import sys
import time

import psutil

from benchmarks.servers import AIOCHAT, Cores, running

JOINS_PER_SECOND = 2000
AT_ONCE = 100
QUIET_SECONDS = 3.0  # after the last join, for the last events
HANDSHAKE = (
    "GET /ws/room-{room}?name=name-{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: aiochat.v1.json\r\n\r\n"
)


class Reader(asyncio.Protocol):
    """Joins, and forgets what it is told."""

    def __init__(self, number: int, rooms: int) -> None:
        self.request = HANDSHAKE.format(room=number % rooms, number=number).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(self.request)


async def join_all(port: int, clients: int, rooms: int) -> list[asyncio.Transport]:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    transports: list[asyncio.Transport] = []
    for start in range(0, clients, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, clients))
        coming = [loop.create_connection(lambda n=n: Reader(n, rooms), "127.0.0.1", port) for n in numbers]  # type: ignore[misc]
        transports += [transport for transport, _ in await asyncio.gather(*coming)]
        await asyncio.sleep(max(0.0, began + (start + AT_ONCE) / JOINS_PER_SECOND - time.perf_counter()))
    return transports


async def measure(clients: int, rooms: int, interval_ms: int) -> None:
    environment = {"AIOCHAT_PRESENCE__INTERVAL_MS": str(interval_ms), "AIOCHAT_LOGGING__CONNECTIONS": "false"}
    cores = Cores.of_this_machine()
    with running(AIOCHAT, cores, environment) as server:
        process = psutil.Process(server.pid)
        before, began = process.cpu_times(), time.perf_counter()
        transports = await join_all(server.port, clients, rooms)
        took = time.perf_counter() - began
        await asyncio.sleep(QUIET_SECONDS)
        after = process.cpu_times()
        for transport in transports:
            transport.abort()
    seconds = after.user + after.system - before.user - before.system
    kind = f"every {interval_ms} ms" if interval_ms else "off"
    print(f"{clients} joins to {rooms} rooms in {took:.1f} s, presence {kind}: {seconds:.2f} s of CPU")


async def main() -> None:
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for rooms in (1, 50):
        for interval_ms in (500, 0):
            await measure(clients, rooms, interval_ms)


if __name__ == "__main__":
    asyncio.run(main())
