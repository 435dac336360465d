"""A server whose disk is full: publishers are told, nothing that was acknowledged is lost, all else goes on."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import Event, Program, offsets, program
from tests.raw import KIB, UNLIMITED
from tests.servers import running

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def _say(speaker: Program, number: int) -> bool:
    """Whether it was acknowledged."""
    answer = await speaker.ask("publish", room="lobby", text=f"{number} ".ljust(8 * KIB, "x"))
    assert answer["type"] == "ack" or (answer["code"], answer["retry_after_ms"]) == ("unavailable", 1000)
    return bool(answer["type"] == "ack")


async def _whole(reader: Program) -> list[int]:
    """The numbers of all messages in the log."""
    numbers: list[int] = []
    page: Event = {"more": True, "messages": [{"offset": 0}]}
    while page["more"]:
        page = await reader.ask("history", room="lobby", after=page["messages"][-1]["offset"], limit=20)
        assert not numbers or offsets(page["messages"])[0] == len(numbers) + 1
        numbers += [int(message["text"].split()[0]) for message in page["messages"]]
    return numbers


async def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path, uvloop: bool) -> None:
    """Who publishes gets `unavailable`; who comes, asks and leaves is served; with room on the disk it goes on."""
    settings = {**UNLIMITED, "store.url": f"sqlite:///{small_disk}/chat.db"}
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    async with (
        running(settings=settings, uvloop=uvloop) as server,
        program(server, "lobby") as speaker,
        program(server, "lobby") as listener,
    ):
        acknowledged = []
        for number in range(10_000):
            if not await _say(speaker, number):
                break
            acknowledged.append(number)
        assert 50 < len(acknowledged) < 1000
        assert not any([await _say(speaker, -number) for number in range(1, 20)])
        async with program(server, "lobby", "visitor") as visitor:
            assert (await visitor.ask("who", room="lobby"))["count"] == 3
            assert await _whole(visitor) == acknowledged
            assert (await visitor.ask("leave", room="lobby"))["type"] == "left"

        await asyncio.to_thread(ballast.unlink)
        while not await _say(speaker, 10_000):
            pass  # it looks now and then whether there is room again
        acknowledged.append(10_000)
        heard = [int(text.split()[0]) for text in await listener.texts(len(acknowledged)) if text]
        assert heard == acknowledged
    async with running(settings=settings, uvloop=uvloop) as server, program(server, "lobby") as reader:
        assert await _whole(reader) == acknowledged
