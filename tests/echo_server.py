"""A chat with one more route, /echo, for a conformance test suite: `python -m tests.echo_server` prints its port.

The socket is taken over like any other. Only the codec, and the inbox that answers in the place of the hub, are ours.
"""

import asyncio
import sys
from typing import Any, Final

from aiohttp import web

import aiochat
from aiochat.auth.identity import ANYBODY
from aiochat.client import Client
from aiochat.errors import Close, Disconnect, Reply
from aiochat.frames import BINARY, TEXT, frame
from aiochat.http.admission import Admitted
from aiochat.inbox import Inbox
from aiochat.messages import Command, Entry, Event
from aiochat.outbox import Batch
from aiochat.takeover import Upgrade

MIB: Final = 1 << 20
SETTINGS: Final[dict[str, Any]] = {  # the suite sends 16 MiB at once, and as much in fragments of 64 bytes
    "limits": {"max_message_bytes": 16 * MIB, "messages_per_second": 0, "bytes_per_second": 0},
    "queue": {"max_bytes": 64 * MIB, "stall_seconds": 60},
    "store": {"url": "memory:"},
}


class Echo(Command, frozen=True):
    payload: bytes
    is_binary: bool


class EchoCodec:
    """A message is its own answer."""

    subprotocol: Final = "echo"
    is_text: Final = True  # and so it is not greeted

    def decode(self, payload: bytes, is_binary: bool) -> list[Command]:
        if not is_binary:
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise Disconnect(Close.NOT_UTF8, "not UTF-8") from None
        return [Echo(payload, is_binary)]

    def encode_entry(self, entry: Entry) -> bytes:
        raise NotImplementedError

    def encode_event(self, event: Event) -> list[bytes]:
        return []

    def frame(self, payloads: list[bytes]) -> bytes:
        return b"".join(payloads)


class EchoInbox(Inbox):
    """In the place of the hub: the answer goes out at once, behind the pongs to the pings that came before."""

    def submit(self, client: Client, command: Command | Reply, size: int) -> None:
        assert isinstance(command, Echo)
        client.outbox._owner._pong()  # type: ignore[attr-defined]
        data = frame(BINARY if command.is_binary else TEXT, command.payload)
        client.outbox.send(Batch(data, 1))


async def _serve() -> None:
    app = web.Application()
    chat = aiochat.setup(app, aiochat.load(flags=SETTINGS))
    codec = EchoCodec()

    async def upgrade(request: web.Request) -> web.StreamResponse:
        response = Upgrade((codec.subprotocol,))
        await response.prepare(request)
        response.take_over(request, chat._handlers.connections, codec, Admitted(ANYBODY, None, None))
        return response

    app.router.add_get("/echo", upgrade)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    chat._running.inbox = EchoInbox(chat.config.hub, lambda: None)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _main(loop: str) -> None:
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415

        uvloop.run(_serve())
    else:
        asyncio.run(_serve())


if __name__ == "__main__":
    _main(sys.argv[1])
