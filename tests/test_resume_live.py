"""`resume` against a real server: over an old connection that still lives, and over a restart on a file."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.programs import CODECS, JSON, MSGPACK, Event, Program, offsets, program
from tests.servers import Server, running, talking


def position(client: Program, room: str) -> Event:
    """The epoch and the last offset that a client saw in a room."""
    (joined, *_) = [event for event in client.heard if event["type"] == "joined" and event["room"] == room]
    seen = [event["offset"] for event in client.heard if event["type"] == "message" and event["room"] == room]
    return {"epoch": joined["epoch"], "offset": max(seen, default=joined["offset"])}


@pytest.mark.parametrize("codec", CODECS)
async def test_the_newer_connection_replaces_the_older_one(server: Server, codec: str) -> None:
    """The older one is told with `goodbye` and 4409, which is final; the newer has the codec that it asked for."""
    async with program(server, "a", "alice", JSON) as old, program(server, codec=codec) as new:
        resumed = await new.ask("resume", token=old.token, rooms={"a": position(old, "a")})
        assert resumed == {"type": "resumed", "id": resumed["id"], "client": old.client}
        joined = await new.next("joined")
        assert (joined["name"], joined["members"], joined["recovered"], joined["more"]) == ("alice", 1, True, False)
        code, last = await old.closed()
        assert (code, last["type"], last["code"], last.get("reconnect")) == (4409, "goodbye", 4409, None)
        await new.ask("publish", room="a", text="x")
        assert (await new.next("message"))["sender"] == {"client": old.client, "name": "alice"}


@pytest.mark.parametrize("ends", [9, 15])
async def test_sessions_outlive_the_server(tmp_path: Path, ends: int) -> None:
    """Killed or stopped: client ids, names and what was missed meanwhile are there again, in several rooms."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db"}
    async with running(settings=settings) as server, program(server, "a", "alice", MSGPACK) as alice:
        await alice.ask("join", room="b", name="al")
        await alice.ask("rename", room="b", name="ally")
        await alice.ask("publish", room="a", text="before")
        await alice.next("message")
        places = {room: position(alice, room) for room in "ab"}
        await asyncio.gather(server.stop(ends), alice.closed())
    async with running(settings=settings) as server:
        async with talking(f"{server.ws_url}/a") as text:
            for line in ("1", "2"):
                await text.say(line)
                assert await text.hear() == line
        async with program(server) as again:
            assert (await again.ask("resume", token=alice.token, rooms=places))["client"] == alice.client
            a, b = await again.next("joined", room="a"), await again.next("joined", room="b")
            assert [(each["name"], each["recovered"], each["more"]) for each in (a, b)] == [
                ("alice", True, False),
                ("ally", True, False),
            ]
            assert [(message["offset"], message["text"]) for message in a["messages"]] == [(2, "1"), (3, "2")]
            assert a["epoch"] == places["a"]["epoch"]


async def test_with_the_log_in_memory_a_restart_ends_all_sessions() -> None:
    """Both the session and what was said are gone, and the client is told of each."""
    async with running() as server, program(server, "a", "alice") as alice:
        await alice.ask("publish", room="a", text="x")
        seen = position(alice, "a")
    async with running() as server, program(server) as again:
        assert await again.refusal("resume", token=alice.token, rooms={"a": seen}) == ("session_lost", "token")
        joined = await again.ask("join", room="a", since=seen)
        assert joined["recovered"] is False
        assert (await again.next("gap"))["epoch"] == joined["epoch"] != seen["epoch"]


async def test_with_a_secret_of_its_own_a_session_outlives_even_the_log() -> None:
    """`security.session_secret`: id and name are kept, the messages are a gap."""
    settings = {"security.session_secret": "a secret of forty characters, or near it"}
    async with running(settings=settings) as server, program(server, "a", "alice") as alice:
        seen = position(alice, "a")
    async with running(settings=settings) as server, program(server) as again:
        assert (await again.ask("resume", token=alice.token, rooms={"a": seen}))["client"] == alice.client
        assert [(await again.next())["type"] for _ in range(3)] == ["gap", "joined", "session"]


async def test_fifty_that_come_back_at_once_miss_nothing(tmp_path: Path) -> None:
    """While others talk on: pages and live messages fit together for each."""
    settings: dict[str, Any] = {
        "store.url": f"sqlite:///{tmp_path}/chat.db",
        "limits.messages_per_second": 0,
        "history.tail_messages": 20,
    }
    async with running(settings=settings) as server, AsyncExitStack() as stack:
        speaker = await stack.enter_async_context(program(server, "a"))
        people = [
            await stack.enter_async_context(program(server, "a", codec=CODECS[number % 2])) for number in range(50)
        ]
        places = [position(person, "a") for person in people]
        for person in people:
            person.drop()
        await speaker.send(*[{"type": "publish", "room": "a", "text": str(number)} for number in range(100)])
        await speaker.texts(100)
        back = [await stack.enter_async_context(program(server)) for _ in people]
        for person, again, place in zip(people, back, places, strict=True):
            await again.send({"type": "resume", "token": person.token, "rooms": {"a": place}})
            await speaker.send({"type": "publish", "room": "a", "text": "meanwhile"})
        for again in back:
            joined = await again.next("joined")
            seen = offsets(joined["messages"])
            while joined["more"]:
                since = {"epoch": joined["epoch"], "offset": seen[-1]}
                joined = await again.ask("join", room="a", since=since)
                seen += offsets(joined["messages"])
            while seen[-1] < 150:
                seen.append((await again.next("message"))["offset"])
            assert seen == list(range(1, 151))
