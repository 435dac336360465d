"""What a client may not send: each ends with the close code that RFC 6455 names, and harms nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.raw import CLOSE, CONTINUATION, PING, TEXT, masked
from tests.servers import Server, running, talking
from tests.sockets import BINARY, Wire, close_frame, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMIT = 65_536
RESERVED_BITS = (0x40, 0x20, 0x10)


@pytest_asyncio.fixture(loop_scope="session")
async def abuser(shared: Server, room: str) -> AsyncIterator[Wire]:
    """Somebody else in the room chats before and after what the test does, and hears nothing of it."""
    async with talking(f"{shared.ws_url}/{room}") as bystander, wired(shared, f"/ws/{room}") as wire:
        await bystander.say("before")
        assert [await bystander.hear(), await wire.hear()] == ["before", "before"]
        yield wire
        await bystander.say("after")
        assert await bystander.hear() == "after"


def first_byte(first: int, payload: bytes = b"hello") -> bytes:
    """A frame that begins with this byte."""
    return bytes((first,)) + masked(payload)[1:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x05hello", 1002, id="no mask"),
        *(pytest.param(first_byte(0x80 | opcode), 1002, id=f"opcode {opcode:x}") for opcode in (3, 7, 0xB, 0xF)),
        *(pytest.param(first_byte(0x81 | bit), 1002, id=f"reserved bit {bit:x}") for bit in RESERVED_BITS),
        pytest.param(first_byte(0xC1, b"\xf2H\xcd\xc9\xc9\x07\x00"), 1002, id="compressed, not negotiated"),
        pytest.param(masked(b"\xff\xfe"), 1007, id="not UTF-8"),
        pytest.param(masked(b"\xff\xfe", BINARY), 1007, id="not UTF-8, binary"),
        pytest.param(masked(b"\xed\xa0\x80"), 1007, id="a surrogate"),
        pytest.param(masked(b"cut \xc3"), 1007, id="half a character"),
        pytest.param(masked(b"h\xc3", fin=False) + masked(b"x", CONTINUATION), 1007, id="not UTF-8 across fragments"),
        pytest.param(masked(b"hello", CONTINUATION), 1002, id="continuation of nothing"),
        pytest.param(masked(b"hello", CONTINUATION, fin=False), 1002, id="fragment of nothing"),
        pytest.param(masked(b"hel", fin=False) + masked(b"hello"), 1002, id="message within a message"),
        pytest.param(masked(b"hel", fin=False) + masked(b"lo", fin=False), 1002, id="begun twice"),
        pytest.param(masked(b"", fin=False) + masked(b"", fin=False), 1002, id="begun twice, empty"),
        pytest.param(masked(b"x" * 126, PING), 1002, id="ping too long"),
        pytest.param(masked(b"x" * 126, CLOSE), 1002, id="Close too long"),
        pytest.param(masked(b"x", PING, fin=False), 1002, id="fragmented ping"),
        pytest.param(masked(b"\x03\xe8", CLOSE, fin=False), 1002, id="fragmented Close"),
        pytest.param(masked(b"\x03", CLOSE), 1002, id="Close with half a code"),
        pytest.param(close_frame(1000, b"\xff\xfe"), 1007, id="Close with a reason that is not UTF-8"),
        pytest.param(b"\x81\xff" + b"\xff" * 8, 1009, id="a length of 64 bits"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002, id="HTTP after the upgrade"),
        pytest.param(b"\xff" * 1000, 1002, id="garbage"),
        pytest.param(b"\x00" * 1000, 1002, id="zeros"),
    ],
)
async def test_a_breach_of_the_protocol_ends_the_connection(abuser: Wire, data: bytes, code: int) -> None:
    """With its code, which reaches the abuser, and nothing after it; what else it has sent is dropped."""
    await abuser.send(data, masked(b"hello"))
    assert await abuser.closed() == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
async def test_a_close_code_that_may_not_be_sent_is_answered_with_1002(abuser: Wire, code: int) -> None:
    """RFC 6455 section 7.4 keeps these from the wire."""
    await abuser.send(close_frame(code))
    assert await abuser.closed() == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4000, 4999])
async def test_a_close_is_answered_in_kind(abuser: Wire, code: int) -> None:
    """The same code comes back, once, and then the server ends the connection."""
    await abuser.send(close_frame(code, "grüße".encode()), masked(b"more"), close_frame(1000))
    assert await abuser.closed() == code


async def test_a_close_without_a_code_is_answered(abuser: Wire) -> None:
    """It is a normal end."""
    await abuser.send(masked(b"", CLOSE))
    assert await abuser.closed() == 1000


async def test_a_message_of_exactly_the_limit_passes(shared: Server, room: str) -> None:
    """65,536 bytes, in one frame, in two, in three, and as characters of three bytes."""
    async with wired(shared, f"/ws/{room}") as wire:
        for frames in (
            [masked(b"x" * LIMIT)],
            [masked(b"x" * (LIMIT - 1), fin=False), masked(b"x", CONTINUATION)],
            [masked(b"x", fin=False), masked(b"", CONTINUATION, fin=False), masked(b"x" * (LIMIT - 1), CONTINUATION)],
        ):
            await wire.send(*frames)
            assert await wire.next_of(TEXT) == b"x" * LIMIT
        await wire.send(masked(("漢" * (LIMIT // 3)).encode() + b"x"))
        assert await wire.hear() == "漢" * (LIMIT // 3) + "x"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([masked(b"x" * (LIMIT + 1))], id="one frame"),
        pytest.param([masked(b"x" * (LIMIT + 1), BINARY)], id="binary"),
        pytest.param([masked(b"x" * LIMIT, fin=False), masked(b"x", CONTINUATION)], id="two fragments"),
        pytest.param([masked(b"x" * LIMIT, fin=False), masked(b"x", CONTINUATION, fin=False)], id="not yet over"),
        pytest.param([masked(b"x" * (LIMIT + 1))[:14]], id="announced alone"),
        pytest.param([masked(b"x", fin=False), *[masked(b"x", CONTINUATION, fin=False)] * LIMIT], id="tiny fragments"),
    ],
)
async def test_a_message_of_one_byte_more_is_refused(abuser: Wire, frames: list[bytes]) -> None:
    """With 1009, as soon as it is known, and nobody hears a part of it."""
    await abuser.send(*frames)
    assert await abuser.closed() == 1009


async def test_the_close_reaches_who_is_still_sending(abuser: Wire) -> None:
    """An oversize message of 4 MB, on its way when it is refused, does not hide why from its sender."""
    sending = asyncio.create_task(abuser.send(masked(b"x" * (4 << 20))))
    assert await abuser.closed() == 1009
    await asyncio.gather(sending, return_exceptions=True)


async def test_empty_fragments_cost_no_memory() -> None:
    """A message may begin with a million of them: it is bounded in bytes, they are none, and others chat meanwhile."""
    settings = {"limits.bytes_per_second": 0}
    async with running(settings=settings) as server, talking(server.ws_url) as bystander, wired(server) as wire:
        await wire.send(masked(b"so", fin=False))
        before = server.rss_bytes()
        for number in range(10):
            await wire.send(masked(b"", CONTINUATION, fin=False) * 100_000)
            await bystander.say(f"round {number}")
            assert await bystander.hear() == await wire.hear() == f"round {number}"
        await wire.send(masked(b"lid", CONTINUATION))
        assert [await wire.hear(), await bystander.hear()] == ["solid", "solid"]
        assert server.rss_bytes() - before < 8 << 20
