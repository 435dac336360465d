"""Real servers on one Redis with a crowd on them, and what must be so once whatever was done to them is over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any, Final

import aiochat
from aiochat.sdk import Backoff
from tests.apis import SETTINGS, Admin, admin_of
from tests.crowd import Crowd, Person, named
from tests.ledger import Ledger
from tests.proxies import Proxy, proxied
from tests.servers import Server, running

HALL: Final = "hall"  # everybody is in it
ROOMS: Final = tuple(f"room-{number:02}" for number in range(12))  # everybody is in one of them
PEOPLE: Final = 200  # on each node
WAIT_SECONDS: Final = 5.0
SLACK_SECONDS: Final = 5.0  # of a busy machine
SETTLED_SECONDS: Final = 30.0  # what is promised of a dead node's members; all else takes far less

_SPEAKERS: Final = 10  # of each node's people
_SPEAK_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.25
_PAGE: Final = 300
_MOST: Final = 20  # problems of one kind that are worth reading


class Node:
    """One server, that can be killed and started again; `looks` are the answers of /readyz, status and word."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self.server: Server
        self.admin: Admin
        self.door: Proxy  # where those come in who know one address alone
        self.is_up = False
        self.looks: list[tuple[int, str]] = []

    async def start(self) -> None:
        self.server = await self._stack.enter_async_context(running(settings=self._settings))
        self.admin = await self._stack.enter_async_context(admin_of(self.server))
        self.is_up = True

    async def kill(self) -> None:
        """With SIGKILL."""
        self.is_up = False
        self.server.process.kill()
        await self.end()

    async def end(self) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Within the block it is there, and does nothing."""
        self.is_up = False
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.server.pid, signal.SIGCONT)
            self.is_up = True

    async def look(self) -> None:
        """At /readyz."""
        server = self.server
        async with asyncio.timeout(SLACK_SECONDS):
            async with self.admin._session.get(f"{server.base_url}/readyz") as response:
                self.looks.append((response.status, (await response.json())["status"]))

    def failures(self) -> list[str]:
        """What stands in its log that is a defect whatever has happened."""
        return [f"{line}" for line in self.server.log if line["event"].endswith("_failed") or "exception" in line]


class Cluster:
    """Three of them and 600 people, some of whom speak, and SDK clients beside them."""

    def __init__(self, nodes: Sequence[Node], crowd: Crowd) -> None:
        self.nodes = nodes
        self.crowd = crowd
        self.ledger = crowd.ledger
        self._turns = count()
        self._names = count(1)

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.is_up]

    def somewhere(self) -> Server:
        """A server for who has lost another one."""
        up = self.up
        return up[next(self._turns) % len(up)].server

    def looks(self) -> list[tuple[int, str]]:
        """What /readyz has answered, on all nodes, since this was asked last."""
        looks = [look for node in self.nodes for look in node.looks]
        for node in self.nodes:
            node.looks.clear()
        return looks

    async def looked(self, word: str) -> None:
        """Wait until every node has said so there."""
        while not all(word in [each for _, each in node.looks] for node in self.up):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(_LOOK_SECONDS)

    async def fill(self, node: Node, people: int = PEOPLE) -> None:
        """So many come to a node, of whom some will speak."""
        came: list[Person] = []
        for number in range(people):
            name = f"p{next(self._names):04}"
            person = Person(self.ledger, name, (HALL, ROOMS[number % len(ROOMS)]), self.somewhere)
            came.append(person)
            await person.come_to(node.server)
        await asyncio.gather(*(person.is_there.wait() for person in came))
        self.crowd.people += came
        for number, person in enumerate(came[: _SPEAKERS * people // PEOPLE]):
            self.crowd.publish(person, _SPEAK_SECONDS, is_stubborn=number % 2 == 0)

    def bury(self, server: Server, people: int) -> None:
        """So many of those on the server end with it; the others come back elsewhere."""
        here = [person for person in self.crowd.people if person.server is server][-people:]
        for person in here:
            person.has_left = True
            for holding in person.holdings.values():
                self.ledger.forget(holding)
        self.crowd.people = [person for person in self.crowd.people if person not in here]

    # What must be so.

    async def settle(self, *, keeps_log: bool = True) -> list[str]:
        """Nobody speaks any more: then all is as it must be, or what is not is said. Then everybody speaks on.

        Returns the gaps that people were told of, of which there are none where the log was kept.
        """
        await self.crowd.hush()
        try:
            found = await _until(self._unsettled, SETTLED_SECONDS) + await self._faulty()
            gaps, noted = self.ledger.take()
            found += noted[:_MOST] + (gaps[:_MOST] if keeps_log else [])
            found += await _until(self._disagreements, SETTLED_SECONDS)
        finally:
            self.crowd.speak_on()
        assert not found, "\n".join(found)
        return gaps

    async def _faulty(self) -> list[str]:
        """What is wrong with the log as any node tells it, and what stands in a node's own."""
        found: list[str] = []
        for room in (HALL, *ROOMS):
            for node in self.up:
                epoch, messages = await _log_of(node.admin, room)
                found += [f"by {node.server.port}: {each}" for each in self.ledger.problems(room, epoch, messages)]
        return found + [failure for node in self.up for failure in node.failures()]

    async def _unsettled(self) -> list[str]:
        """Who is not there, or does not hold all that there is."""
        found = [f"{person.name} is not there" for person in self.crowd.people if not person.is_there.is_set()]
        for room in (HALL, *ROOMS):
            answered = await self.up[0].admin.ask("GET", f"rooms/{room}")
            if answered.status != 200:
                found.append(f"{room}: {answered}")
            else:
                found += self.ledger.behind(room, answered.json["epoch"], answered.json["newest"])
        return found

    async def _disagreements(self) -> list[str]:
        """In what any node's word on who is where differs from how it is."""
        whole = {**named(self.crowd.people), **{chat.client: name for name, chat in self.crowd.chats.items()}}
        rooms = {room: named(person for person in self.crowd.people if room in person.rooms) for room in ROOMS}
        found = await asyncio.gather(*(self._view(node, {HALL: whole, **rooms}) for node in self.up))
        return [each for view in found for each in view]

    async def _view(self, node: Node, rooms: dict[str, dict[str, str]]) -> list[str]:
        found = []
        clients = {each["client"] for each in await _pages(node.admin, "clients", "clients")}
        if clients != set(rooms[HALL]):
            found.append(f"clients: {_differ(clients, set(rooms[HALL]))}")
        counts = {room: len(members) for room, members in rooms.items()}
        listed = {each["room"]: each["members"] for each in await _pages(node.admin, "rooms", "rooms")}
        if listed != counts:
            found.append(f"rooms: {_differ(listed.items(), counts.items())}")
        asker = next(person for person in self.crowd.people if person.server is node.server)
        answer = await asker.ask("rooms")
        told = {each["room"]: each["members"] for each in answer["rooms"]}
        if told != counts or answer["count"] != len(counts):
            found.append(f"the rooms that a client is told: {_differ(told.items(), counts.items())}")
        for room, members in rooms.items():
            found += await self._room_view(node, room, members)
        return [f"by {node.server.port}: {each}" for each in found]

    async def _room_view(self, node: Node, room: str, members: dict[str, str]) -> list[str]:
        found = []
        listed = {
            each["client"]: each.get("name") for each in await _pages(node.admin, f"rooms/{room}/members", "members")
        }
        if listed != members:
            found.append(f"members of {room}: {_differ(listed.items(), members.items())}")
        asker = next(each for each in self.crowd.people if each.server is node.server and room in each.rooms)
        answer = await asker.ask("who", room=room)
        told = {each["client"]: each.get("name") for each in answer["members"]}
        whole = told if len(members) > len(told) == 200 else members
        if answer["count"] != len(members) or not told.items() <= members.items() or told != whole:
            found.append(f"who in {room}, {answer['count']}: {_differ(told.items(), members.items())}")
        return found


async def _log_of(admin: Admin, room: str) -> tuple[str, list[dict[str, Any]]]:
    """All of it, by page after page."""
    messages: list[dict[str, Any]] = []
    while True:
        after = messages[-1]["offset"] if messages else 0
        page = await admin.get(f"rooms/{room}/messages?after={after}&limit={_PAGE}")
        messages += page["messages"]
        if not page["more"]:
            return page["epoch"], messages


async def _pages(admin: Admin, path: str, field: str) -> list[dict[str, Any]]:
    """All that there is, or nothing while not every node answers."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answered = await admin.ask("GET", f"{path}?limit={_PAGE}{cursor}")
        if answered.status != 200:
            return []
        found += answered.json[field]
        if not answered.json.get("cursor"):
            return found
        cursor = f"&cursor={answered.json['cursor']}"


async def _until(found: Callable[[], Any], seconds: float) -> list[str]:
    """Wait until there is nothing to be found any more, so long at most; what there is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (last := await found()) and loop.time() < deadline:  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(_LOOK_SECONDS)
    return list(last)[:_MOST]


def _differ(said: Any, true: Any) -> str:
    said, true = set(said), set(true)
    return f"too many {sorted(said - true)[:5]}, too few {sorted(true - said)[:5]} ({len(said)} for {len(true)})"


async def _watch(cluster: Cluster) -> None:
    while True:
        await asyncio.gather(*(node.look() for node in cluster.up), return_exceptions=True)
        await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def populated(url: str) -> AsyncIterator[Cluster]:
    """Three servers on the Redis at `url`, with 200 people and two SDK clients on each."""
    settings = {**SETTINGS, "store.url": url, "store.wait_seconds": WAIT_SECONDS, "presence.interval_ms": 500}
    settings |= {"logging.connections": False, "limits.messages_per_second": 0}  # who looks asks for much
    crowd = Crowd(Ledger(), WAIT_SECONDS + SLACK_SECONDS)
    cluster = Cluster([Node(settings) for _ in range(3)], crowd)
    async with AsyncExitStack() as stack:
        for node in cluster.nodes:
            stack.push_async_callback(node.end)
        await asyncio.gather(*(node.start() for node in cluster.nodes))
        for number, node in enumerate(cluster.nodes):
            node.door = await stack.enter_async_context(proxied(node.server.port))
            for each in range(2):
                chat = aiochat.connect(node.door.url, name=f"sdk-{number}{each}", rooms=[HALL], backoff=_SOON)
                await stack.enter_async_context(chat)
                crowd.enlist(f"sdk-{number}{each}", chat, HALL, 2.0)
        stack.push_async_callback(crowd.end)
        await asyncio.gather(*(cluster.fill(node) for node in cluster.nodes))
        watch = asyncio.create_task(_watch(cluster))
        stack.callback(watch.cancel)
        crowd.speak_on()
        yield cluster


_SOON: Final = Backoff(shortest_seconds=0.1, longest_seconds=0.5)
