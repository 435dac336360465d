"""Two real servers on one Redis: people talk across them, one server is killed, and a half-open session moves."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

import aiochat
from aiochat.errors import Close
from aiochat.messages import Presence
from aiochat.sdk import Backoff
from tests import redis_server
from tests.apis import SETTINGS, admin_of
from tests.programs import Closed, program
from tests.servers import Server, running

SOON = Backoff(shortest_seconds=0.01, longest_seconds=0.2)
SWEPT_SECONDS = 30  # what is promised, from the end of a node

Two = tuple[Server, Server]


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    """Both on a Redis of their own."""
    with redis_server.running() as redis:
        settings = {**SETTINGS, "store.url": redis.url, "presence.interval_ms": 50, "presence.grace_seconds": 1}
        settings["limits.messages_per_second"] = 0
        async with running(settings=settings) as first, running(settings=settings) as second:
            yield first, second


@pytest.mark.timeout(60)
async def test_the_http_api_of_one_server_answers_for_both(two: Two) -> None:
    """The first is asked about clients of the second: lists, a message, kick, ban, delete."""
    first, second = two
    async with admin_of(first) as admin, program(second, "lobby", "bob") as bob, program(second, "attic") as carol:
        assert (await admin.say("lobby", "hi"))["offset"] == (await bob.next("message", text="hi"))["offset"] == 1
        assert {room["room"] for room in (await admin.get("rooms"))["rooms"]} == {"lobby", "attic"}
        assert (await admin.get("rooms/lobby"))["members"] == 1
        (member,) = (await admin.get("rooms/lobby/members"))["members"]
        assert (member["client"], member["name"]) == (bob.client, "bob")
        assert {each["client"] for each in (await admin.get("clients"))["clients"]} == {bob.client, carol.client}
        assert (await admin.ask("DELETE", "rooms/lobby")).status in {200, 204}
        assert (await bob.next("gap"))["offset"] == 0
        assert (await admin.ask("DELETE", f"clients/{carol.client}")).status in {200, 204}
        assert (await carol.closed())[0] == Close.KICKED
        assert (await admin.ask("PUT", "bans/addresses/127.0.0.1", {})).status in {200, 201, 204}
        assert (await bob.closed())[0] == Close.BANNED
        assert (await admin.ask("DELETE", "bans/addresses/127.0.0.1")).status in {200, 204}
        async with asyncio.timeout(10):
            while True:
                try:
                    async with program(second, "lobby") as back:
                        assert (await back.ask("who", room="lobby"))["count"] == 1
                        break
                except Closed:  # the other server has not heard of it yet
                    await asyncio.sleep(0.02)


class Link:
    """A JSON connection that can be left half-open."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._events: list[dict[str, Any]] = []

    async def ask(self, **command: Any) -> None:
        await self.socket.send_json(command)

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next event of a kind; those before it are skipped."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if event["type"] == kind:
                    return event
            self._events = [msgspec.json.decode(line) for line in (await self.socket.receive_str()).split("\n")]

    async def code(self) -> int | None:
        """Of its Close."""
        while not self.socket.closed:
            await self.socket.receive()
        return self.socket.close_code


@pytest.mark.faults
@pytest.mark.timeout(120)
async def test_what_a_killed_server_leaves_is_gone_within_thirty_seconds(two: Two) -> None:
    """Its members, told as gone, and their names; the other server goes on as if nothing had happened."""
    first, second = two
    async with (
        aiochat.connect(first.ws_url, name="alice", rooms=["lobby"]) as alice,
        aiochat.connect(second.ws_url, name="bob", rooms=["lobby"], backoff=SOON) as bob,
    ):
        await bob.publish("lobby", "hi")
        assert {member.name for member in (await alice.who("lobby")).members} == {"alice", "bob"}
        second.process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(SWEPT_SECONDS):
            async for event in alice:
                if isinstance(event, Presence) and "bob" in [sender.name for sender in event.went]:
                    break
        assert {member.name for member in (await alice.who("lobby")).members} == {"alice"}
        async with aiochat.connect(first.ws_url) as again:
            assert (await again.join("lobby", "bob")).name == "bob"


@pytest.mark.timeout(60)
async def test_a_half_open_session_moves_between_servers_and_loses_nothing(two: Two) -> None:
    """Ten times, while others talk: the older connection ends with 4409, and every message comes once and in order."""
    async with aiohttp.ClientSession() as session, aiochat.connect(two[0].ws_url, rooms=["lobby"]) as alice:

        async def talk() -> None:
            for number in range(200):
                await alice.publish("lobby", str(number))

        options: Any = {"protocols": ["aiochat.v1.json"], "autoclose": True}
        link = Link(await session.ws_connect(two[0].ws_url, **options))
        await link.ask(type="join", room="lobby", name="bob")
        joined = await link.hear("joined")
        token = (await link.hear("session"))["resume"]
        texts: list[str] = []
        position = {"epoch": joined["epoch"], "offset": joined["offset"]}
        talking = asyncio.create_task(talk())
        for server in (*two, *two, *two, *two, *two):
            for _ in range(10):
                message = await link.hear("message")
                texts.append(message["text"])
                position["offset"] = message["offset"]
            older, link = link, Link(await session.ws_connect(server.ws_url, **options))
            await link.ask(type="resume", token=token, rooms={"lobby": position})
            joined = await link.hear("joined")
            assert (joined["name"], joined["recovered"], joined["more"]) == ("bob", True, False)
            link._events[:0] = joined["messages"]
            for message in joined["messages"]:
                message["type"] = "message"
            assert await older.code() == Close.REPLACED
        while len(texts) < 200:
            texts.append((await link.hear("message"))["text"])
        await talking
        assert texts == [str(number) for number in range(200)]
