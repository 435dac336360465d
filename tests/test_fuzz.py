"""Whatever a client sends, and however it is cut: it harms nobody else, and what it held is given back."""

import random
from contextlib import suppress
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from aiochat.config import Config, load
from tests.fuzzing import FuzzedChat
from tests.hubs import QUIET
from tests.mutations import JSON, MSGPACK, ROOM, TEXT_CODEC, Session, mutated, valid
from tests.programs import offsets, program
from tests.raw import Raw, needs_proc, until
from tests.servers import running

SEEDS: Final = 10_000
BLOCK: Final = 1250  # seeds of one test
ON_SOCKETS: Final = 300
SETTINGS: Final[dict[str, Any]] = {
    **QUIET,
    "limits": {"max_message_bytes": 2000, "messages_per_second": 0, "bytes_per_second": 0},
    "logging": {"connections": False},
}


@pytest.fixture(scope="module")
def config() -> Config:
    """Read once: a chat of its own for each seed takes less time than that."""
    return load(flags=SETTINGS)


def _chunks(rng: random.Random, data: bytes) -> list[bytes]:
    """Whole, in pieces, or in bytes."""
    step = rng.choice((1, 7, 7, 50, 50, *[len(data) or 1] * 3))
    return [data[start : start + step] for start in range(0, len(data), step)]


async def _survives(config: Config, seed: int) -> None:
    session, data = mutated(seed)
    rng = random.Random(seed)
    chat = FuzzedChat(config)
    chunks = _chunks(rng, data)
    await chat.feed(session, chunks, turns=len(chunks) < 10 and rng.random() < 0.5)
    await chat.heard_by_all()
    await chat.end()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=[pytest.mark.faults] if first >= SEEDS // 2 else [])
        for first in range(0, SEEDS, BLOCK)
    ],
)
async def test_mutated_traffic_harms_nobody(config: Config, first: int) -> None:
    """Nothing raises, the room hears all in order, the Close has a code of ours, and nothing is left behind."""
    with capture_logs() as lines:
        for seed in range(first, first + BLOCK):
            try:
                await _survives(config, seed)
                assert not lines
            except BaseException as error:
                error.add_note(f"python -m tests.mutations {seed}  shows what was sent")
                raise


def _short(subprotocol: str, *, seed: int) -> Session:
    """A valid session of at most 250 bytes."""
    rng = random.Random(seed)
    while True:
        session = valid(rng)
        if session.subprotocol == subprotocol and 30 < sum(map(len, session.frames)) < 250:
            return session


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("subprotocol", [TEXT_CODEC, JSON, MSGPACK])
async def test_where_a_session_is_cut_makes_no_difference(config: Config, subprotocol: str, seed: int) -> None:
    """At every byte: the client gets the same answers, pongs and Close, the room hears the same."""
    session = _short(subprotocol, seed=seed)
    data = b"".join(session.frames)
    outcomes = []
    for cut in range(len(data)):
        chat = FuzzedChat(config)
        outcome = await chat.feed(session, [data[:cut], data[cut:]])
        outcomes.append((outcome, await chat.heard_by_all()))
        assert outcomes[-1] == outcomes[0], f"cut after {cut} bytes of {session}"


@needs_proc
async def test_mutated_traffic_over_real_sockets_harms_nobody(uvloop: bool) -> None:
    """A server lives through it, whose log has no error, and somebody in the room hears every message in order."""
    settings = {"limits.messages_per_second": 0, "logging.connections": False}
    async with running(settings=settings, uvloop=uvloop) as server, program(server, ROOM) as bystander:
        descriptors = server.descriptors()
        for seed in range(-ON_SOCKETS, 0):
            session, data = mutated(seed)
            client = await Raw.join(server, f"/ws/{session.room or ''}".rstrip("/"), session.subprotocol)
            for chunk in _chunks(random.Random(seed), data):
                await _send(client, chunk)
            client.reset() if seed % 2 else client.close()
        await until(lambda: server.descriptors() == descriptors)
        await bystander.send({"type": "publish", "room": ROOM, "text": "the end"})
        heard = [await bystander.next("message")]
        while heard[-1].get("text") != "the end":
            heard.append(await bystander.next("message"))
        assert offsets(heard) == list(range(1, len(heard) + 1))
        assert [line for line in server.log if line["level"] != "info"] == []


async def _send(client: Raw, chunk: bytes) -> None:
    with suppress(ConnectionError):  # the server has had enough
        await client.send(chunk)
