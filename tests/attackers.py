"""Ten who mean harm, each in its own way, from an address of their own: `python -m tests.attackers PORT ROOM [NAME]`.

Each goes on until the process is killed, and comes again whenever it was shut out. Every second they write how often
that was, as JSON.
"""

import asyncio
import json
import os
import socket
import struct
import sys
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.raw import CONTINUATION, MIB, PING, TINY, Raw, handshake, masked

ADDRESS: Final = "127.0.0.2"
HALF_OPEN: Final = 3_000

_PING: Final = masked(b"", PING) * 10_000
_EMPTY: Final = masked(b"", CONTINUATION, fin=False) * 10_000
_BYTES: Final = masked(b"x", CONTINUATION, fin=False) * 10_000
_TINY: Final = masked(b"x") * 9_362  # 64 KiB
_LINE: Final = masked(b"flood " * 100)
_OVERSIZE: Final = b"\x81\xff" + struct.pack("!Q", 16 * MIB) + bytes(4) + b"x" * MIB


NAMES: Final = ("pings", "empty", "fragments", "bomb", "oversize", "deaf", "tiny", "churn", "half", "publisher")
SHUT_OUT: Final = ("fragments", "bomb", "oversize", "tiny", "publisher")  # the others are slowed, or dropped unnoticed


class _Port:
    """Where the server is, as `Raw.dial` takes it."""

    def __init__(self, port: int) -> None:
        self.port = port


def _bomb() -> bytes:
    """One message of 64 MiB of nothing, in 64 KiB: RFC 7692, which was never agreed on."""
    deflate = zlib.compressobj(9, wbits=-15)
    data = b"".join(deflate.compress(bytes(MIB)) for _ in range(64)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return bytes((0xC1,)) + masked(data[:-4])[1:]


class Attackers:
    """`ends` counts, for each of them, how often the server ended its connection or refused one."""

    def __init__(self, port: int, room: str) -> None:
        self._server = _Port(port)
        self._path = f"/ws/{room}"
        self.ends: Counter[str] = Counter()

    async def attack(self, names: Collection[str]) -> None:
        """Those of these names, or all ten, at once."""
        bomb = _bomb()
        attacks: Sequence[Callable[[], Awaitable[None]]] = (
            lambda: self._flood(_PING),
            lambda: self._flood(_EMPTY, masked(b"", fin=False)),
            lambda: self._flood(_BYTES, masked(b"x", fin=False)),
            lambda: self._flood(bomb),
            lambda: self._flood(_OVERSIZE),
            self._never_read,
            lambda: self._flood(_TINY),
            self._churn,
            self._half_open,
            lambda: self._flood(_LINE),
        )
        async with asyncio.TaskGroup() as group:
            for name, attack in zip(NAMES, attacks, strict=True):
                if not names or name in names:
                    group.create_task(self._for_ever(name, attack))

    async def _for_ever(self, name: str, attack: Callable[[], Awaitable[None]]) -> None:
        while True:
            with suppress(ConnectionError, AssertionError):
                await attack()
            self.ends[name] += 1

    async def _join(self, **options: int) -> Raw:
        return await Raw.join(self._server, self._path, source=ADDRESS, **options)  # type: ignore[arg-type]

    async def _flood(self, data: bytes, first: bytes = b"") -> None:
        client = await self._join()
        reading = asyncio.create_task(client.ended())
        try:
            await client.send(first)
            await client.send_until_gone(data)
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            client.close()

    async def _never_read(self) -> None:
        client = await self._join(receive_buffer=TINY)
        try:
            while True:
                await client.send(masked(b"/who"))
                await asyncio.sleep(0.1)
        finally:
            client.close()

    async def _churn(self) -> None:
        (await self._join()).reset()
        await asyncio.sleep(0)

    async def _half_open(self) -> None:
        """Ever more of them, the oldest given up; each says a byte of its request now and then."""
        half, request = deque[socket.socket](), handshake(self._path)
        while True:
            client = await Raw.dial(self._server, source=ADDRESS)  # type: ignore[arg-type]
            await client.send(request[: 20 + len(half) % 60])
            half.append(client.socket)
            if len(half) > HALF_OPEN:
                half.popleft().close()
            with suppress(OSError):
                half[len(half) // 2].send(b"x")
            await asyncio.sleep(0)


class Siege:
    """The attackers, in processes of their own."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes
        self._ends: Counter[str] = Counter()

    async def under_way(self) -> None:
        """Wait until each of those that are to be shut out was, and the others have begun."""
        await asyncio.gather(*map(self._read, self._processes))
        while not all(self._ends[name] for name in (*SHUT_OUT, "churn")):
            await asyncio.gather(*map(self._read, self._processes))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        self._ends |= Counter(json.loads(await process.stdout.readline()))


@asynccontextmanager
async def besieging(port: int, room: str, processes: int = 1, *, nice: int = 0) -> AsyncIterator[Siege]:
    """All ten against the server on this port, shared out among so many processes; they end with the block.

    At `nice` 19 they take what others leave of their core.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    async with AsyncExitStack() as stack:
        begun = []
        for number in range(processes):
            attackers = ("-m", "tests.attackers", str(port), room, *NAMES[number::processes])
            arguments = ("nice", "-n", str(nice), sys.executable, *attackers)
            process = await asyncio.create_subprocess_exec(*arguments, env=environment, stdout=asyncio.subprocess.PIPE)
            stack.push_async_callback(process.communicate)
            stack.callback(process.kill)
            begun.append(process)
        yield Siege(begun)


async def _main(port: int, room: str, names: Collection[str]) -> None:
    attackers = Attackers(port, room)
    attacking = asyncio.create_task(attackers.attack(names))
    while not attacking.done():
        await asyncio.wait([attacking], timeout=1)
        sys.stdout.write(f"{json.dumps(attackers.ends)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
