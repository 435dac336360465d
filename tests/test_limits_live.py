"""The limits of one client and of all, as clients meet them."""

import asyncio
import signal
import time

import pytest

from tests.raw import CONTINUATION, PING, masked
from tests.servers import Server, running, talking
from tests.sockets import Wire, asked, handshake, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNLIMITED = {"limits.messages_per_second": 0, "limits.bytes_per_second": 0}
TOO_FAST = "! not sent: more than 50 messages a second, try again"


async def test_a_line_over_the_rate_is_refused_and_told(shared: Server, room: str) -> None:
    """The first hundred at least go out, what is refused is told to its sender alone; both may go on."""
    async with talking(f"{shared.ws_url}/{room}") as listener, wired(shared, f"/ws/{room}") as wire:
        await wire.say(*map(str, range(190)))
        heard = [await wire.hear() for _ in range(190)]
        sent = [line for line in heard if line != TOO_FAST]
        assert 100 <= len(sent) < 190
        assert sent[:100] == [str(number) for number in range(100)]
        assert [await listener.hear() for _ in sent] == sent
        await listener.say("you are fast")
        assert [await listener.hear(), await wire.hear()] == ["you are fast"] * 2


async def test_who_stays_over_the_rate_is_closed(shared: Server, room: str) -> None:
    """More than a hundred refusals within ten seconds: 4429, after having been told."""
    async with talking(f"{shared.ws_url}/{room}") as bystander, wired(shared, f"/ws/{room}") as wire:
        await wire.say(*["spam"] * 1000)
        while await wire.hear() != TOO_FAST:
            pass
        assert await wire.closed() == 4429
        await bystander.say("/history")
        while (line := await bystander.hear()) == "spam":
            pass
        assert line == f"* the last 20 lines of {room}:"


async def test_expensive_commands_cost_ten(shared: Server, room: str) -> None:
    """Of eleven `/who` at once, ten are answered."""
    async with wired(shared, f"/ws/{room}") as wire:
        await wire.say(*["/who"] * 11)
        answers = [await wire.hear() for _ in range(11)]
        assert all(answer.startswith("* 1 in ") for answer in answers[:10])
        assert answers[10] == "! more than 50 messages a second, try again"


async def test_the_twentieth_bad_message_ends_the_connection(shared: Server, room: str) -> None:
    """Nineteen within a minute are told and forgiven, the twentieth is 4400."""
    async with wired(shared, f"/ws/{room}") as wire:
        for _ in range(19):
            await wire.say("/nick")
            assert await wire.hear() == "! it is /nick NAME"
        await wire.say("good")
        assert await wire.hear() == "good"
        await wire.say("/nick")
        assert await wire.closed() == 4400


async def test_bytes_over_the_budget_only_wait() -> None:
    """A client over `bytes_per_second` is read more slowly and loses nothing, while others chat as ever."""
    rate, lines = 400_000, [f"{number:060000}" for number in range(20)]
    settings = {"limits.messages_per_second": 0, "limits.bytes_per_second": rate}
    async with (
        running(settings=settings) as server,
        wired(server, "/ws/other") as wire,
        talking(server.ws_url) as other,
    ):
        began = time.monotonic()
        sending = asyncio.create_task(wire.say(*lines))
        for line in lines:
            assert await wire.hear() == line
            await other.say("meanwhile")
            assert await other.hear() == "meanwhile"
        await sending
        # One second's worth comes in a burst, and one read of 256 KiB may go into debt: the rest had to wait.
        assert time.monotonic() - began > (sum(map(len, lines)) - rate - (256 << 10)) / rate


async def test_no_more_than_max_clients() -> None:
    """One more gets 503 and when to try again, also with our subprotocol; when one has gone there is room."""
    headers = {"Sec-WebSocket-Protocol": "aiochat.v1.text"}
    async with running(settings={"limits.max_clients": 2}) as server, talking(server.ws_url) as talker:
        async with wired(server) as wire:
            answer = await asked(server, handshake(headers=headers))
            assert (answer.status, answer.json) == (503, {"code": "unavailable", "reason": "too many clients"})
            assert int(answer.headers["retry-after"]) > 0
            await wire.say("/quit")
            assert await wire.closed() == 1000
        await server.logged("connection_closed")
        async with wired(server) as wire:
            await talker.say("welcome")
            assert await wire.hear() == "welcome"


async def test_no_more_than_max_clients_per_address() -> None:
    """One address gets its share; who was refused, and who has gone, is not counted."""
    async with running(settings={"limits.max_clients_per_address": 1}) as server:
        for gone in range(1, 4):
            assert (await asked(server, handshake(headers={"Sec-WebSocket-Key": "none"}))).status == 400
            async with wired(server):
                answer = await asked(server, handshake())
                assert (answer.status, answer.json["reason"]) == (503, "too many clients from this address")
                assert int(answer.headers["retry-after"]) > 0
            await server.logged("connection_closed", count=gone)


@pytest.mark.parametrize(
    "piece",
    [
        pytest.param(masked(b"hi"), id="lines of two bytes"),
        pytest.param(masked(b""), id="empty messages"),
        pytest.param(masked(b"hi", PING), id="pings"),
        pytest.param(masked(b"", CONTINUATION, fin=False), id="empty fragments"),
        pytest.param(masked(b"", 0xA), id="pongs"),
    ],
)
async def test_a_flood_of_tiny_frames_leaves_others_chatting(shared: Server, room: str, piece: bytes) -> None:
    """64 KiB of them at a time: others hear each other between one and the next."""
    url = f"{shared.ws_url}/{room}-2"
    async with talking(url) as one, talking(url) as two, wired(shared, f"/ws/{room}") as wire:
        await wire.send(masked(b"begin", fin=piece[0] != CONTINUATION))
        flooding = asyncio.create_task(_flood(wire, piece * (65_536 // len(piece))))
        for number in range(20):
            await one.say(f"line {number}")
            assert [await one.hear(), await two.hear()] == [f"line {number}"] * 2
        await _end(flooding, wire)


async def _flood(wire: Wire, data: bytes) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_hear(wire, 1 << 30))
        while True:
            await wire.send(data)


async def _end(flooding: asyncio.Task[None], wire: Wire) -> None:
    wire.reset()
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)


async def test_thirty_thousand_lines_in_one_write_are_shared_out(uvloop: bool) -> None:
    """None of them is lost, and a line that somebody else sent at the same time comes early among them."""
    lines = [f"{number:05}" for number in range(30_000)]
    async with running(settings=UNLIMITED, uvloop=uvloop) as server, wired(server) as flooder, wired(server) as other:

        async def resume() -> None:
            server.process.send_signal(signal.SIGCONT)

        server.process.send_signal(signal.SIGSTOP)  # so that both have sent when it reads on
        mine, theirs, *_ = await asyncio.gather(
            _hear(flooder, len(lines) + 1), _hear(other, len(lines) + 1), flooder.say(*lines), other.say("x"), resume()
        )
    assert mine == theirs
    assert mine.index("x") < 5000
    mine.remove("x")
    assert mine == lines


async def _hear(wire: Wire, count: int) -> list[str]:
    return [await wire.hear() for _ in range(count)]


async def test_who_quits_is_closed_while_others_flood() -> None:
    """A goodbye does not wait for the others to fall silent."""
    async with running(settings=UNLIMITED) as server, wired(server) as flooder, wired(server) as wire:
        flooding = asyncio.create_task(_flood(flooder, masked(b"x") * 10_000))
        assert await wire.hear() == "x"
        await wire.say("/quit")
        assert await wire.closed() == 1000
        await _end(flooding, flooder)
