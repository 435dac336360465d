"""Two servers on networks of their own, which are cut from Redis for a while and joined again, one and both.

Run by `python -m tests.cut_network` in a network, mount and process namespace of its own; prints what did not hold.
"""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests import redis_server
from tests.ledger import Ledger
from tests.programs import Event, Program, program
from tests.servers import Server, running

CUT_SECONDS: Final = 12
BLINK_SECONDS: Final = 1.7  # shorter than publishers wait, longer than an answer is waited for: it is asked again
WAIT_SECONDS: Final = 3.0
SLACK_SECONDS: Final = 3.0  # of a busy machine
SPEAKERS, LISTENERS = 2, 3  # on each node
_EACH_SECONDS: Final = 0.05
_NETWORK: Final = 0x40000000  # CLONE_NEWNET of Linux
_REDIS: Final = "192.0.2.1"  # of an address range for documentation, as are the clients' below

SETTINGS: Final[dict[str, Any]] = {
    "store.url": f"redis://{_REDIS}:6379",
    "store.wait_seconds": WAIT_SECONDS,
    "presence.interval_ms": 200,
    "limits.messages_per_second": 0,
}


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True)


def lay() -> None:
    """Redis on a bridge, to which each node has a cable, and another one to its clients, which is never cut."""
    subprocess.run(("mount", "-t", "tmpfs", "tmpfs", "/run"), check=True)
    Path("/run/netns").mkdir()
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "bridge", "type", "bridge")
    _ip("addr", "add", f"{_REDIS}/24", "dev", "bridge")
    _ip("link", "set", "bridge", "up")
    for number in (1, 2):
        node = f"node{number}"
        _ip("netns", "add", node)
        for cable, near, far in (("redis", None, f"192.0.2.{10 + number}/24"), ("clients", *_ends(number))):
            _ip("link", "add", f"{cable}{number}", "type", "veth", "peer", "name", cable, "netns", node)
            _ip("-n", node, "addr", "add", far, "dev", cable)
            _ip("-n", node, "link", "set", cable, "up")
            _ip("link", "set", f"{cable}{number}", "up")
            if near is not None:
                _ip("addr", "add", near, "dev", f"{cable}{number}")
        _ip("-n", node, "link", "set", "lo", "up")
        join(number)


def _ends(number: int) -> tuple[str, str]:
    return f"198.51.100.{4 * number + 1}/30", f"198.51.100.{4 * number + 2}/30"


def cut(number: int) -> None:
    """What goes through a node's cable to Redis vanishes, both ways; neither end is told."""
    _ip("link", "set", f"redis{number}", "nomaster")


def join(number: int) -> None:
    """It is as it was."""
    _ip("link", "set", f"redis{number}", "master", "bridge")


class Node:
    """A server and its clients. `looks` are the answers of /readyz, status and word."""

    def __init__(self, number: int, server: Server, clients: list[Program], http: aiohttp.ClientSession) -> None:
        self.number = number
        self.server = server
        self.clients = clients
        self.http = http
        self.looks: Counter[tuple[int, str]] = Counter()
        self.acks = 0
        self.refusals = 0
        self.is_hushed = False

    async def look(self) -> None:
        async with self.http.get(f"{self.server.base_url}/readyz") as response:
            self.looks[response.status, (await response.json())["status"]] += 1

    async def goes_on(self) -> None:
        """Twenty more messages are acknowledged."""
        acks = self.acks
        await _so(lambda: self.acks >= acks + 20)

    async def speak(self, speaker: int, ledger: Ledger) -> None:
        """Until it is hushed: one message after the answer to the one before, which comes in time."""
        loop = asyncio.get_running_loop()
        for number in count():
            if self.is_hushed:
                break
            text = f"n{self.number}-{speaker}-{number} and more"
            ledger.says("lobby", text)
            began = loop.time()
            answer = await self.clients[speaker].ask("publish", room="lobby", text=text)
            assert loop.time() - began < WAIT_SECONDS + SLACK_SECONDS, f"{text} waited too long for {answer}"
            if answer["type"] == "ack":
                ledger.acked(text, answer["offset"])
                self.acks += 1
            else:
                assert answer["code"] == "unavailable", answer
                self.refusals += 1
            await asyncio.sleep(_EACH_SECONDS)


@asynccontextmanager
async def _nodes() -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        nodes = []
        for number in (1, 2):
            inside = f"import ctypes, os; ctypes.CDLL(None).setns(os.open('/run/netns/node{number}', 0), {_NETWORK})"
            host = _ends(number)[1].partition("/")[0]
            server = await stack.enter_async_context(running(settings={**SETTINGS, "server.host": host}, before=inside))
            clients = [
                await stack.enter_async_context(program(server, "lobby", f"n{number}-{each}"))
                for each in range(SPEAKERS + LISTENERS)
            ]
            nodes.append(Node(number, server, clients, http))
        yield nodes


@asynccontextmanager
async def _busy(nodes: list[Node], ledger: Ledger) -> AsyncIterator[None]:
    """Within the block some speak and all listen; whatever is wrong with that ends it."""

    async def listen(client: Program) -> None:
        await client.next("what never comes")

    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(listen(client)) for node in nodes for client in node.clients[SPEAKERS:]]
        for node in nodes:
            for speaker in range(SPEAKERS):
                group.create_task(node.speak(speaker, ledger))
        yield
        for node in nodes:
            node.is_hushed = True
        for task in listening:
            task.cancel()


async def _fault(nodes: list[Node], lost: list[Node], times: int) -> None:
    """Cut these from Redis and join them again; wait until everybody is heard."""
    before = {node: (node.acks, node.refusals) for node in nodes}
    for node in lost:
        cut(node.number)
    for _ in range(4 * CUT_SECONDS):
        await asyncio.sleep(0.25)
        await asyncio.gather(*(node.look() for node in nodes))
    for node in nodes:
        is_lost = node in lost
        assert (node.refusals > before[node][1]) == is_lost, f"node {node.number} was told of {node.refusals} refusals"
        assert is_lost == ((200, "degraded") in node.looks), node.looks
        assert is_lost or node.acks > before[node][0] + CUT_SECONDS, "the other node did not go on"
    for node in lost:
        join(node.number)
        await node.server.logged("redis_back", times)
    for node in nodes:
        await node.goes_on()
        assert {status for status, _ in node.looks} == {200}, node.looks
        node.looks.clear()
        await node.look()
        assert list(node.looks) == [(200, "ok")], node.looks
        node.looks.clear()


async def _blink(node: Node) -> None:
    """Cut it so shortly that nobody is refused: what was not answered is sent again over another connection."""
    cut(node.number)
    await asyncio.sleep(BLINK_SECONDS)
    join(node.number)
    await node.goes_on()


async def _so(is_so: Callable[[], object]) -> None:
    while not is_so():  # noqa: ASYNC110 - what others do
        await asyncio.sleep(0.05)


async def _log(client: Program) -> list[Event]:
    """What a node says was said, from the beginning."""
    messages: list[Event] = []
    while True:
        after = messages[-1]["offset"] if messages else 0
        page = await client.ask("history", room="lobby", after=after, limit=300)
        messages += page["messages"]
        if not page["more"]:
            return messages


async def _agree(nodes: list[Node]) -> None:
    """On who is there: all of the clients, none of whom has lost its connection."""
    there = {client.client for node in nodes for client in node.clients}
    for node in nodes:
        while True:
            answer = await node.clients[0].ask("who", room="lobby")
            if {member["client"] for member in answer["members"]} == there and answer["count"] == len(there):
                break
            await asyncio.sleep(0.2)


async def _main() -> None:
    lay()
    options = ("--bind", _REDIS, "--port", "6379", "--protected-mode", "no")
    ledger = Ledger()
    with redis_server.running(*options):
        async with _nodes() as nodes:
            async with _busy(nodes, ledger):
                await asyncio.gather(*(node.goes_on() for node in nodes))
                await _fault(nodes, nodes, 1)
                await _fault(nodes, nodes[1:], 2)
                for _ in range(3):
                    await _blink(nodes[0])
            await _agree(nodes)
            clients = [client for node in nodes for client in node.clients]
            messages = await _log(clients[0])
            for client in clients:
                await client.next("message", offset=messages[-1]["offset"])
                holding = ledger.holding(client.client, "lobby")
                for event in client.heard:
                    holding.hear(event)
            found = ledger.problems("lobby", holding.epoch, messages) + ledger.take()[1]
            assert not found, "\n".join(found)
            assert ledger.acks == sum(node.acks for node in nodes) > 100
            for node in nodes:
                assert not [line for line in node.server.log if line["event"].endswith("_failed")]


if __name__ == "__main__":
    asyncio.run(_main())
