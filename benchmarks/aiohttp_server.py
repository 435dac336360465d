"""Plain aiohttp, as most people write a chat with it: a WebSocketResponse for each client, send_str to each in turn."""

import argparse
import asyncio
import sys
from collections import defaultdict

import uvloop
from aiohttp import WSMsgType, web

rooms: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)


async def chat(request: web.Request) -> web.WebSocketResponse:
    # A send above writer_limit waits for the member, and the whole room with it; without the limit none ever waits.
    socket = web.WebSocketResponse(compress=False, writer_limit=sys.maxsize)
    await socket.prepare(request)
    room = rooms[request.path]
    room.add(socket)
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await broadcast(room, message.data)
    finally:
        room.discard(socket)
    return socket


async def broadcast(room: set[web.WebSocketResponse], text: str) -> None:
    for member in room:
        try:  # noqa: SIM105 - in this loop suppress() would cost
            await member.send_str(text)
        except ConnectionError:  # it is closing, and its own handler will take it out
            pass


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/{room:.+}", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Future()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvloop.run(main(options.parse_args().port))
