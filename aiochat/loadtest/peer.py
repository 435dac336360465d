"""The reference peer: a bare picows broadcast server. One send per message and member, as soon as the message is read.

Ours is held against it: a ratio of the two says more than a time, of which each machine has its own.
"""

import argparse
from collections import defaultdict

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

Room = set[WSTransport]


class Client(WSListener):
    def __init__(self, room: Room) -> None:
        self.room = room

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.room.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.room.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for member in self.room:
                member.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


async def serve(port: int) -> None:
    rooms: defaultdict[bytes, Room] = defaultdict(set)

    def upgraded(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        offered = request.headers.get("Sec-WebSocket-Protocol")
        chosen = {"Sec-WebSocket-Protocol": offered} if offered else None
        response = WSUpgradeResponse.create_101_response(chosen)
        return WSUpgradeResponseWithListener(response, Client(rooms[bytes(request.path)]))

    server = await ws_create_server(upgraded, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvloop.run(serve(options.parse_args().port))
