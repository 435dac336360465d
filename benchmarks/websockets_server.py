"""websockets with its own broadcast(), on uvloop, without the compression and keepalive that cost memory and CPU."""

import argparse
import asyncio
from collections import defaultdict

import uvloop
from websockets import ConnectionClosedError
from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def chat(connection: ServerConnection) -> None:
    assert connection.request is not None
    room = rooms[connection.request.path]
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, message)
    except ConnectionClosedError:
        pass
    finally:
        room.discard(connection)


async def main(port: int) -> None:
    async with serve(chat, "127.0.0.1", port, compression=None, ping_interval=None, backlog=1024):
        await asyncio.Future()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvloop.run(main(options.parse_args().port))
