"""How long Python takes for a turn of the hub: one message from a JSON client to all in its room, acknowledged.

`.venv/bin/python -m benchmarks.turn`. The sockets take everything at once and the log is `memory:`, so that what is
left is our own work.
"""

import asyncio
import time

from aiochat.auth.identity import ANYBODY
from aiochat.codecs import CODECS
from aiochat.config import load
from aiochat.connection import Connection
from aiochat.connections import Connections
from aiochat.directory import LocalDirectory
from aiochat.hub import Hub
from aiochat.loadtest.server import CONFIG
from aiochat.roomlog.engines import make_log

MEMBERS = (2, 102, 402)
TURNS = 1000
ROUNDS = 7
KEY = b"\x12\x34\x56\x78"


class Sink(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True


def masked(text: bytes) -> bytes:
    """As a client sends it."""
    payload = bytes(byte ^ KEY[place % 4] for place, byte in enumerate(text))
    return b"\x81\xfe" + len(text).to_bytes(2) + KEY + payload


async def microseconds(members: int) -> float:
    config = load(CONFIG, {"store": {"url": "memory:"}})
    log = make_log(config)
    hub = Hub(config, log, LocalDirectory())
    shared = Connections(config, hub)
    connections = [Connection(shared, Sink(), "", CODECS["aiochat.v1.json"], ANYBODY) for _ in range(members)]
    for connection in connections:
        hub.attach(connection.client, "room")
    while connections[-1].client.waiting:
        await hub.turn()
    frame = masked(b'{"type":"publish","room":"room","id":1,"text":"%s"}' % (b"x" * 100))
    began = time.process_time()
    for _ in range(TURNS):
        connections[0].data_received(frame)
        await hub.turn()
    return (time.process_time() - began) / TURNS * 1e6


def main() -> None:
    least = {members: min(asyncio.run(microseconds(members)) for _ in range(ROUNDS)) for members in MEMBERS}
    for members, taken in least.items():
        print(f"{members:4} in the room: {taken:6.1f} us a turn")
    few, *_, many = MEMBERS
    print(f"each of them {(least[many] - least[few]) / (many - few):6.3f} us")


if __name__ == "__main__":
    main()
