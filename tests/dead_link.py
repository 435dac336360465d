"""A server and its clients on a network whose only link dies for a while: `unshare -rn python -m tests.dead_link`.

Prints nothing and ends with 0, or with what did not hold.
"""

import asyncio
import fcntl
import socket
import struct
import sys

import aiochat
from aiochat.messages import Gap, Message
from aiochat.sdk import ChatClient
from tests.listeners import SOON
from tests.raw import until
from tests.servers import running

COUNT = 20
SETTINGS = {"keepalive.ping_interval_seconds": 0.5, "keepalive.pong_timeout_seconds": 0.5}
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP of Linux


def _set_link(*, is_up: bool) -> None:
    """The loopback interface of this network namespace."""
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _GET_FLAGS, request))
        flags = flags | _UP if is_up else flags & ~_UP
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags))


async def _hear(chat: ChatClient, last: str) -> list[str | None]:
    heard: list[str | None] = []
    async for event in chat:
        assert not isinstance(event, Gap)
        if isinstance(event, Message):
            heard.append(event.text)
            if event.text == last:
                break
    return heard


async def _main(*, uvloop: bool) -> None:
    _set_link(is_up=True)
    async with running(settings=SETTINGS, uvloop=uvloop) as server:
        descriptors = server.descriptors()
        chats = [aiochat.connect(server.ws_url, rooms=["lobby"], backoff=SOON) for _ in range(COUNT)]
        await asyncio.gather(*(chat.open() for chat in chats))
        hearing = [asyncio.create_task(_hear(chat, "after")) for chat in chats]
        await chats[0].publish("lobby", "before")

        _set_link(is_up=False)
        meanwhile = asyncio.create_task(chats[0].publish("lobby", "meanwhile"))
        await server.logged("connection_closed", COUNT)
        await until(lambda: server.descriptors() == descriptors)
        assert not meanwhile.done(), "acknowledged over a dead link"

        _set_link(is_up=True)
        await meanwhile
        await chats[1].publish("lobby", "after")
        for heard in await asyncio.gather(*hearing):
            assert heard == ["before", "meanwhile", "after"], heard
        await asyncio.gather(*(chat.close() for chat in chats))
        await until(lambda: server.descriptors() == descriptors)
        assert not [line for line in server.log if line["level"] in {"error", "critical"}], server.log


if __name__ == "__main__":
    asyncio.run(_main(uvloop=sys.argv[1] == "uvloop"))
