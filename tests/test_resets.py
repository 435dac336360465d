"""Clients that reset, end one half of their connection or vanish, at every stage of its life."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import pytest

from tests.programs import offsets, program
from tests.raw import CLOSE, KIB, PING, TINY, Raw, handshake, masked, needs_proc, until
from tests.servers import Server, running

pytestmark = [pytest.mark.faults, needs_proc]

TIMES: Final = 5  # at once
SETTINGS: Final = {"limits.handshake_seconds": 1, "limits.bytes_per_second": 64 * KIB, "limits.messages_per_second": 0}

Stage = Callable[[Server], Awaitable[Raw]]


async def _before_the_request(server: Server) -> Raw:
    return await Raw.dial(server)


async def _within_the_request(server: Server) -> Raw:
    client = await Raw.dial(server)
    await client.send(handshake("/ws/room")[:60])
    return client


async def _before_the_101(server: Server) -> Raw:
    client = await Raw.dial(server)
    await client.send(handshake("/ws/room") + masked(b"early"))
    return client


async def _after_the_upgrade(server: Server) -> Raw:
    return await Raw.join(server, "/ws/room")


async def _within_a_frame(server: Server) -> Raw:
    client = await Raw.join(server, "/ws/room")
    await client.send(masked(b"hello") + masked(b"x" * 1000)[:500])
    return client


async def _within_a_message(server: Server) -> Raw:
    client = await Raw.join(server, "/ws/room")
    await client.send(masked(b"hel", fin=False) + masked(b"", PING))
    return client


async def _while_it_is_not_read(server: Server) -> Raw:
    """It has sent more than it may in a second."""
    client = await Raw.join(server, "/ws/room")
    client.push(masked(b"", PING) * 3_000, times=1)
    return client


async def _while_it_does_not_read(server: Server) -> Raw:
    """What it was told fills its socket."""
    client = await Raw.join(server, "/ws/room", receive_buffer=TINY)
    await client.send(masked(b"/help") * 200)
    return client


async def _after_our_close(server: Server) -> Raw:
    """It broke the protocol, and has seen the Close."""
    client = await Raw.join(server, "/ws/room")
    await client.send(b"\xff" * 10)
    assert await client.closed() == 1002
    return client


async def _after_its_close(server: Server) -> Raw:
    client = await Raw.join(server, "/ws/room")
    await client.send(masked(b"bye") + masked(b"\x03\xe8", CLOSE))
    return client


def _half_close(client: Raw) -> None:
    """It sends no more, and would still read."""
    with suppress(OSError):
        client.socket.shutdown(socket.SHUT_WR)


STAGES: Final = (
    *(_before_the_request, _within_the_request, _before_the_101, _after_the_upgrade, _within_a_frame),
    *(_within_a_message, _while_it_is_not_read, _while_it_does_not_read, _after_our_close, _after_its_close),
)
ENDS: Final = (Raw.reset, Raw.close, _half_close)


@pytest.mark.parametrize("end", ENDS, ids=["reset", "close", "half-close"])
async def test_whenever_a_client_ends_it_all_is_given_back(uvloop: bool, end: Callable[[Raw], None]) -> None:
    """Its descriptor and its place in the room; the log has no error, and who else is there misses nothing."""
    async with running(settings=SETTINGS, uvloop=uvloop) as server, program(server, "room") as bystander:
        descriptors = server.descriptors()
        for stage in STAGES:
            clients = await asyncio.gather(*(stage(server) for _ in range(TIMES)))
            for client in clients:
                end(client)
            await until(lambda: server.descriptors() == descriptors)
            for client in clients:
                client.close()
        members = await bystander.ask("who", room="room")
        assert members["count"] == 1
        last = await bystander.ask("publish", room="room", text="the end")
        heard = await bystander.ask("history", room="room", after=0)
        live = [await bystander.next("message") for _ in range(last["offset"])]
        assert offsets(live) == offsets(heard["messages"]) == list(range(1, last["offset"] + 1))
        assert [line for line in server.log if line["level"] in {"error", "critical"}] == []
