"""`aiochat config` prints the largest memory that the settings allow; here every client does its worst at once."""

import asyncio
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]
import pytest

from tests.raw import BINARY, KIB, MIB, PING, TINY, Raw, joined, masked, needs_proc, until
from tests.servers import Server, environment, running

pytestmark = needs_proc

_LARGEST: Final = 64 * KIB
_GIB: Final = 1 << 30
_PRINTED: Final = re.compile(r"largest memory that these settings allow: ([\d.]+) GiB")

_CROWD: Final = 8  # of each kind but the worst
_WORST: Final = 110
_JSON: Final = "aiochat.v1.json"
_MSGPACK: Final = "aiochat.v1.msgpack"


def _program(command: dict[str, object], times: int) -> bytes:
    """So many commands in one MessagePack message."""
    return masked(msgpack.packb(command) * times, BINARY)


# What a text client sends over and over while it reads nothing; each is in a room of its own.
_LINES: Final = {
    "pings": masked(b"p" * 125, PING) * 2_000,
    "short": masked(b"x") * 30_000,
    "refused": masked(b"/x") * 30_000,
    "members": masked(b"/who") * 20_000,
    "rooms": masked(b"/rooms") * 20_000,
    "ascii": masked(b"x" * _LARGEST) * 4,
    "emoji": masked("\N{GRINNING FACE}".ljust(_LARGEST - 3, "x").encode()) * 4,  # four bytes a character in memory
    "control": masked(b"\0" * _LARGEST) * 4,  # three bytes a character on its way out
}
# And what programs send, in one message.
_COMMANDS: Final = {
    "pings": (_MSGPACK, _program({"type": "ping"}, 5_900)),
    "lists": (_MSGPACK, _program({"type": "rooms"}, 5_000)),
    "rubbish": (_MSGPACK, masked(b"\xc0" * _LARGEST, BINARY)),
    "pages": (_JSON, masked(b"\n".join([b'{"type":"history","room":"said","limit":300}'] * 60))),
    "values": (_MSGPACK, _program({"type": "publish", "room": "elsewhere", "data": [{}] * (_LARGEST - 60)}, 1)),
}
_SETTINGS: Final[dict[str, Any]] = {
    "limits.max_clients": 220,
    "limits.max_rooms_per_client": 4,
    "limits.messages_per_second": 100_000,
    "limits.bytes_per_second": 0,
    "limits.max_http_connections": 50,
    "hub.inbox_bytes": 4 * MIB,
    "queue.max_messages": 1_000,
    "queue.max_bytes": 512 * KIB,
    "queue.total_bytes": 8 * MIB,
    "store.pending_messages": 1_000,
    "store.pending_bytes": 4 * MIB,
    "history.max_messages": 2_000,
    "history.max_bytes": 8 * MIB,
    "history.max_rooms": 1_000,
    "history.tail_bytes": 8 * MIB,
    "store.max_keys": 10_000,
}


async def _printed_bytes(settings: Mapping[str, Any]) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "config"), env=environment(settings), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    (gib,) = _PRINTED.findall(output.decode())
    return int(float(gib) * _GIB)


async def _leave_unfinished(clients: list[Raw]) -> None:
    """Each begins a message of the largest size, byte by byte at first, and never ends it."""
    start = masked(b"x" * _LARGEST)
    for client in clients:
        await client.send(start[:20])
    for _ in range(1_000):
        for client in clients:
            await client.send(b"xxxx")
        await asyncio.sleep(0)
    for client in clients:
        await client.send(b"x" * (_LARGEST - 5_000))


async def _tell(teller: Raw, reader: Raw) -> None:
    """Lines for whole pages."""
    for number in range(8):
        await teller.say(f"{number}".ljust(_LARGEST, "x"))
        await reader.hear()


class _Flooder:
    """One that comes again whenever it was dropped."""

    def __init__(self, path: str, flood: bytes, subprotocol: str | None = None) -> None:
        self.path = path
        self.flood = flood
        self.subprotocol = subprotocol
        self.client: Raw | None = None

    async def come(self, server: Server) -> None:
        if self.client is None:
            with suppress(AssertionError, ConnectionError):  # no place yet: those who were dropped have their grace
                self.client = await Raw.join(server, self.path, self.subprotocol, receive_buffer=TINY)

    def push(self) -> None:
        """A program's flood is one message: what it costs is to be read at all."""
        times = 1 << 30 if self.subprotocol is None else 1
        if self.client is not None and not self.client.push(self.flood, times):
            self.go()

    def go(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


async def _flood_at_once(server: Server, flooders: list[_Flooder], talker: Raw) -> None:
    """Stopped meanwhile, the server finds all that its sockets can hold in its next turn; then it chats on."""
    for flooder in flooders:
        await flooder.come(server)
    server.process.send_signal(signal.SIGSTOP)
    for flooder in flooders:
        flooder.push()
    server.process.send_signal(signal.SIGCONT)
    for number in range(3):
        await talker.say(f"{number}")
        assert await talker.hear() == f"{number}"


async def _hold(uvloop: bool, rounds: int) -> None:
    largest = await _printed_bytes(_SETTINGS)
    async with running(settings=_SETTINGS, uvloop=uvloop) as server, joined(server, ["/ws"]) as (talker,):
        descriptors = server.descriptors()
        flooders = [_Flooder(f"/ws/{kind}-{n}", flood) for kind, flood in _LINES.items() for n in range(_CROWD)]
        for kind, (subprotocol, flood) in _COMMANDS.items():
            path = "/ws/said" if kind == "pages" else "/ws"
            flooders += [_Flooder(path, flood, subprotocol) for _ in range(_WORST if kind == "values" else _CROWD)]
        async with (
            joined(server, ["/ws/said", "/ws/said"]) as (teller, reader),
            joined(server, ["/ws/unfinished"] * _CROWD) as unfinished,
        ):
            await _tell(teller, reader)
            await _leave_unfinished(unfinished)
            for _ in range(rounds):
                await _flood_at_once(server, flooders, talker)
            for flooder in flooders:
                flooder.go()
        assert server.peak_bytes() < largest
        assert server.peak_bytes() > largest / 4, "a bound that nothing comes near tells nobody anything"
        await until(lambda: server.descriptors() == descriptors)


@pytest.mark.faults
async def test_the_server_keeps_below_the_memory_that_config_prints() -> None:
    """With floods of all kinds from those who never read, and messages that never end."""
    await _hold(uvloop=True, rounds=2)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_the_server_keeps_below_the_memory_that_config_prints_for_long(uvloop: bool) -> None:
    """However often it is tried, and on both loops."""
    await _hold(uvloop, rounds=40)
