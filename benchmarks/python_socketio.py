"""python-socketio on uvicorn, websocket transport alone, with rooms and emit() as its documentation has them."""

import argparse
from typing import Any
from urllib.parse import parse_qs

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


async def connect(sid: str, environ: dict[str, Any]) -> None:
    room = parse_qs(environ["QUERY_STRING"])["room"][0]
    await server.save_session(sid, room)
    await server.enter_room(sid, room)


async def message(sid: str, text: str) -> None:
    await server.emit("message", text, room=await server.get_session(sid))


server.on("connect", connect)
server.on("message", message)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvicorn.run(
        socketio.ASGIApp(server),
        port=options.parse_args().port,
        loop="uvloop",
        backlog=1024,
        log_level="warning",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Engine.IO has pings of its own
    )
