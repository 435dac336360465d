"""Signs of life over real sockets: pings both ways, and the end of who gives none."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.raw import CONTINUATION, PING, PONG, masked
from tests.servers import Server, running
from tests.sockets import Wire, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

INTERVAL_SECONDS = 0.1
SILENCE_SECONDS = 1.5
QUICK = {
    "keepalive.ping_interval_seconds": INTERVAL_SECONDS,
    "keepalive.pong_timeout_seconds": SILENCE_SECONDS - INTERVAL_SECONDS,
}
PINGS = 20  # of one client: longer than it may be silent


@pytest_asyncio.fixture(loop_scope="session")
async def quick(uvloop: bool) -> AsyncIterator[Server]:
    """A server that asks ten times a second for a sign of life, and waits a second and a half for it."""
    async with running(settings=QUICK, uvloop=uvloop) as server:
        yield server


async def test_only_who_is_silent_is_closed(quick: Server) -> None:
    """A client that answers no ping gets 4001 and is gone from its room; any byte is a sign of life, a pong or not."""
    async with (
        wired(quick, "/ws?name=silent") as silent,
        wired(quick, "/ws?name=ponging") as ponging,
        wired(quick, "/ws?name=sending") as sending,
        wired(quick, "/ws?name=byte-by-byte") as byte_by_byte,
    ):
        code, *_ = await asyncio.gather(
            silent.closed(),
            _answer(ponging, masked(b"", PONG)),
            _answer(sending, masked(b"", CONTINUATION, fin=False), first=masked(b"", fin=False)),
            _answer(byte_by_byte, b"x", first=masked(b"x" * 100)[:6]),
        )
        assert code == 4001
        (line,) = await quick.logged("connection_closed", code=4001)
        assert line["seconds"] >= SILENCE_SECONDS - INTERVAL_SECONDS
        await ponging.say("/who")
        while not (answer := await ponging.hear()).startswith("* 3 in lobby: "):
            pass
        assert answer == "* 3 in lobby: ponging, sending, byte-by-byte"


async def _answer(wire: Wire, sign: bytes, first: bytes = b"") -> None:
    await wire.send(first)
    for _ in range(PINGS):
        await wire.next_of(PING)
        await wire.send(sign)


@pytest.mark.faults
async def test_a_stop_of_the_server_makes_nobody_silent(quick: Server) -> None:
    """The server sleeps for longer than clients may be silent: it had no ear for them, so they are all still there."""
    async with wired(quick) as waiting, wired(quick) as another:
        await asyncio.gather(waiting.next_of(PING), another.next_of(PING))
        quick.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2 * SILENCE_SECONDS)
        quick.process.send_signal(signal.SIGCONT)
        await asyncio.gather(*(_answer(wire, masked(b"", PONG)) for wire in (waiting, another)))
        await waiting.say("we are still here")
        assert [await waiting.hear(), await another.hear()] == ["we are still here"] * 2
        await quick.stop()
        assert not [line for line in quick.log if line.get("code") == 4001]


@pytest.mark.parametrize("payload", [b"", b"are you there?", bytes(range(125))])
async def test_a_ping_of_a_client_is_answered(shared: Server, payload: bytes) -> None:
    """With its payload, whatever that is."""
    async with wired(shared) as wire:
        await wire.send(masked(payload, PING))
        assert await wire.next_of(PONG) == payload


async def test_of_many_pings_the_newest_is_answered(shared: Server, room: str) -> None:
    """Who pings a thousand times at once gets pongs in order, the newest always; older ones may be left out."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.send(*(masked(b"%d" % number, PING) for number in range(1000)))
        answered = [int(await wire.next_of(PONG))]
        while answered[-1] != 999:
            answered.append(int(await wire.next_of(PONG)))
        assert answered == sorted(set(answered))
        await wire.say("and now?")
        assert await wire.hear() == "and now?"


async def test_a_pong_is_no_message(shared: Server, room: str) -> None:
    """Unasked for, and with a payload, it is ignored."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.send(masked(b"unasked", PONG), masked(b"hello"))
        assert await wire.hear() == "hello"
