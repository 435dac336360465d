"""uWebSockets through socketify, in its own idiom: each socket subscribes to its room, and C++ does the fan-out."""

import argparse

from socketify import App, OpCode, Request, Response, WebSocket

MAX_BACKPRESSURE_BYTES = 1 << 20  # its default of 64 KiB leaves messages out under load


def upgrade(response: Response, request: Request, context: object) -> None:
    offered = [request.get_header(f"sec-websocket-{name}") for name in ("key", "protocol", "extensions")]
    response.upgrade(*offered, context, user_data=request.get_url())


def joined(ws: WebSocket) -> None:
    ws.subscribe(ws.get_user_data())


def heard(ws: WebSocket, message: str, opcode: OpCode) -> None:
    ws.publish(ws.get_user_data(), message, opcode)  # socketify's publish reaches the sender too


def main(port: int) -> None:
    app = App(lifespan=False)
    app.ws(
        "/*",
        {
            "upgrade": upgrade,
            "open": joined,
            "message": heard,
            "max_payload_length": 65536,
            "max_backpressure": MAX_BACKPRESSURE_BYTES,
        },
    )
    app.listen({"port": port, "host": "127.0.0.1"})
    app.loop.uv_loop.run()  # libuv alone: App.run() also spins asyncio, which this server does not use


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    main(options.parse_args().port)
