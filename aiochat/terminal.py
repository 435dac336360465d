"""`aiochat chat`: lines from standard input to a room, lines of the room to standard output."""

import asyncio
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import chain
from threading import Thread

import aiohttp
from yarl import URL

from aiochat.codecs import DEFAULT_CODEC
from aiochat.codecs.text import clean
from aiochat.errors import Close, StartError


def chat(url: str, room: str, name: str | None) -> int:
    """Chat until end of input, `/quit` or the server's Close. Raises `StartError` where there is no chat at `url`."""
    where = URL(url).update_query({"room": room, **({"name": name} if name else {})})
    return asyncio.run(_chat(where))


async def _chat(url: URL) -> int:
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(url, protocols=[DEFAULT_CODEC.subprotocol], max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            raise StartError(f"{url.with_query(None)} refused the connection: {error.status} {error.message}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise StartError(f"there is no chat at {url.with_query(None)}: {error}") from None
        async with socket:
            Thread(target=_type, args=(socket, asyncio.get_running_loop()), daemon=True).start()
            while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                _show(message.data)
    if message.type is aiohttp.WSMsgType.CLOSE and message.data == Close.NORMAL:
        return 0
    reason = message.extra or "the connection was lost"
    _show(f"* {reason} ({socket.close_code})")
    return 1


def _type(socket: aiohttp.ClientWebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
    """In a thread of its own, since a terminal, a pipe and a file are read alike only so: send each line typed."""
    with suppress(aiohttp.ClientError, RuntimeError, CancelledError):  # the chat is over
        for line in chain(sys.stdin, ["/quit"]):
            asyncio.run_coroutine_threadsafe(socket.send_str(line.rstrip("\r\n")), loop).result()


def _show(line: str) -> None:
    sys.stdout.write(clean(line) + "\n")
    sys.stdout.flush()
