"""Every command of the protocol with its answer and its refusals, from a program to a real server, in both codecs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.programs import CODECS, MSGPACK, Program, offsets, program
from tests.servers import Server, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOST = ("session_lost", "token")


@pytest_asyncio.fixture(loop_scope="session", params=CODECS)
async def alice(request: pytest.FixtureRequest, shared: Server, room: str) -> AsyncIterator[Program]:
    """A program called alice in a room of its own."""
    async with program(shared, room, "alice", request.param) as alice:
        yield alice


async def test_join_gives_what_there_is(alice: Program, shared: Server, room: str) -> None:
    """The name, where the log stands, how many are there, and the newest messages up to `limit`."""
    for text in ("1", "2", "3"):
        await alice.ask("publish", room=room, text=text)
    async with program(shared) as bob:
        joined = await bob.ask("join", room=room.upper(), name=" alice ", limit=2)
    assert (joined["type"], joined["room"], joined["name"]) == ("joined", room, "alice-2")
    assert (joined["offset"], joined["members"], offsets(joined["messages"])) == (3, 2, [2, 3])
    assert joined["epoch"]
    assert joined.keys().isdisjoint({"recovered", "more"})


async def test_a_program_may_be_in_several_rooms(alice: Program, room: str) -> None:
    """Under another name in each, and in none of them unnamed only because of that."""
    others = [f"{room}.{number}" for number in range(3)]
    for other in others:
        assert (await alice.ask("join", room=other, name=f"n{other[-1]}"))["name"] == f"n{other[-1]}"
        await alice.ask("publish", room=other, text=other)
    heard = [await alice.next("message") for _ in others]
    assert [(message["room"], message["sender"]["name"]) for message in heard] == [
        (other, f"n{other[-1]}") for other in others
    ]


async def test_joining_twice_is_answered_twice(alice: Program, room: str) -> None:
    """With the name that one has there."""
    again = await alice.ask("join", room=room, name="other")
    assert (again["type"], again["name"], again["members"]) == ("joined", "alice", 1)


async def test_leave_ends_what_is_heard(alice: Program, shared: Server, room: str) -> None:
    """The name is free, and the room out of reach."""
    left = await alice.ask("leave", room=room)
    assert left == {"type": "left", "id": left["id"], "room": room}
    async with program(shared, room, "alice") as other:
        assert other.heard[-1]["name"] == "alice"
        await other.ask("publish", room=room, text="alone")
    assert await alice.refusal("leave", room=room) == ("not_joined", "room")
    assert not [event for event in alice.heard if event["type"] == "message"]


async def test_publish_is_acknowledged_with_what_all_see(alice: Program, room: str) -> None:
    """Offset, time and key of the `ack` are those of the message; the sender gets both."""
    ack = await alice.ask("publish", room=room, text="hi", data={"a": [1, None]}, key="12345678")
    assert ack == {
        "type": "ack", "id": ack["id"], "room": room, "offset": 1, "ts": ack["ts"], "key": "12345678",
    }  # fmt: skip
    assert await alice.next("message") == {
        "type": "message", "room": room, "offset": 1, "ts": ack["ts"],
        "sender": {"client": alice.client, "name": "alice"}, "text": "hi", "data": {"a": [1, None]}, "key": "12345678",
    }  # fmt: skip


async def test_direct_reaches_one_client(alice: Program, shared: Server, room: str) -> None:
    """By id or by name in a room, and is in no log; the sender learns to how many connections it went."""
    async with program(shared, room, "bob", MSGPACK) as bob, program(shared, room, "carol") as carol:
        sent = await alice.ask("direct", client=bob.client, text="psst")
        assert (sent["type"], sent["connections"]) == ("sent", 1)
        by_id = await bob.next("direct")
        assert by_id["text"] == "psst"
        assert by_id["sender"]["client"] == alice.client
        assert (await alice.ask("direct", name="BOB", room=room, data=[1]))["connections"] == 1
        by_name = await bob.next("direct")
        assert (by_name["room"], by_name["data"], by_name["sender"]["name"]) == (room, [1], "alice")
        assert (await bob.ask("history", room=room))["messages"] == []
        await carol.ask("ping")
        assert "direct" not in {event["type"] for event in carol.heard}


async def test_typing_is_not_answered(alice: Program, room: str) -> None:
    """What others are told of it is in test_presence_live.py."""
    await alice.send({"type": "typing", "id": 1, "room": room})
    await alice.ask("ping")
    assert 1 not in {event.get("id") for event in alice.heard}


async def test_history_goes_both_ways(alice: Program, room: str) -> None:
    """The newest without a direction; `more` says whether there is any in the direction asked."""
    await alice.send(*[{"type": "publish", "room": room, "text": str(number)} for number in range(1, 11)])
    await alice.texts(10)

    async def page(**asked: Any) -> tuple[list[int], bool]:
        answer = await alice.ask("history", room=room, **asked)
        assert (answer["type"], answer["room"]) == ("history", room)
        assert answer["epoch"]
        return offsets(answer["messages"]), answer["more"]

    assert await page() == (list(range(1, 11)), False)
    assert await page(limit=3) == ([8, 9, 10], True)
    assert await page(limit=3, before=8) == ([5, 6, 7], True)
    assert await page(limit=7, before=8) == (list(range(1, 8)), False)
    assert await page(limit=3, after=0) == ([1, 2, 3], True)
    assert await page(limit=3, after=7) == ([8, 9, 10], False)
    assert await page(after=10) == ([], False)
    assert await page(before=1) == ([], False)


async def test_history_of_another_epoch_is_refused(alice: Program, room: str) -> None:
    """With the room's own it is given."""
    epoch = (await alice.ask("history", room=room))["epoch"]
    assert (await alice.ask("history", room=room, epoch=epoch))["type"] == "history"
    assert await alice.refusal("history", room=room, epoch="other") == ("epoch_changed", "epoch")


async def test_who_lists_the_members(alice: Program, shared: Server, room: str) -> None:
    """The unnamed, too."""
    async with program(shared, room) as unnamed:
        members = await alice.ask("who", room=room)
        assert members == {
            "type": "members",
            "id": members["id"],
            "room": room,
            "count": 2,
            "members": [{"client": alice.client, "name": "alice"}, {"client": unnamed.client}],
        }


async def test_rooms_lists_the_rooms(alice: Program, room: str) -> None:
    """With how many are there."""
    listed = await alice.ask("rooms")
    assert listed["type"] == "rooms"
    assert {"room": room, "members": 1} in listed["rooms"]
    assert listed["count"] >= 1


async def test_rename_says_which_name_was_given(alice: Program, shared: Server, room: str) -> None:
    """A taken one gets a number; messages and presence have the new one."""
    async with program(shared, room, "bob") as bob:
        renamed = await alice.ask("rename", room=room, name="Bob")
        assert renamed == {"type": "renamed", "id": renamed["id"], "room": room, "name": "Bob-2"}
        await alice.ask("publish", room=room, text="x")
        assert (await bob.next("message"))["sender"]["name"] == "Bob-2"


async def test_ping_is_answered(alice: Program) -> None:
    """With its id and nothing else."""
    pong = await alice.ask("ping")
    assert pong == {"type": "pong", "id": pong["id"]}


REFUSED: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("join", {}, "bad_message", "room"),
    ("join", {"room": 5}, "bad_message", "room"),
    ("join", {"room": "a b"}, "bad_room", "room"),
    ("join", {"room": ""}, "bad_room", "room"),
    ("join", {"room": "x" * 129}, "bad_room", "room"),
    ("join", {"room": "ok", "name": "a/b"}, "bad_name", "name"),
    ("join", {"room": "ok", "name": ""}, "bad_name", "name"),
    ("join", {"room": "ok", "limit": 301}, "bad_message", "limit"),
    ("join", {"room": "ok", "since": {"epoch": "x"}}, "bad_message", "since.offset"),
    ("join", {"room": "ok", "since": {"epoch": "x", "offset": -1}}, "bad_message", "since.offset"),
    ("leave", {"room": "elsewhere"}, "not_joined", "room"),
    ("leave", {"room": "a b"}, "bad_room", "room"),
    ("publish", {"text": "x"}, "bad_message", "room"),
    ("publish", {"room": "HERE"}, "bad_message", "text"),
    ("publish", {"room": "HERE", "text": ""}, "bad_message", "text"),
    ("publish", {"room": "HERE", "text": 7}, "bad_message", "text"),
    ("publish", {"room": "HERE", "text": "x", "key": "short"}, "bad_message", "key"),
    ("publish", {"room": "HERE", "text": "x", "key": "k" * 65}, "bad_message", "key"),
    ("publish", {"room": "HERE", "data": 1 << 53}, "bad_message", "data"),
    ("publish", {"room": "elsewhere", "text": "x"}, "not_joined", "room"),
    ("resume", {}, "bad_message", "token"),
    ("resume", {"token": "x"}, "bad_message", "type"),
    ("refresh", {"token": "x"}, "forbidden", "token"),
    ("direct", {"text": "x"}, "bad_message", "client"),
    ("direct", {"text": "x", "client": "a", "user": "b"}, "bad_message", "client"),
    ("direct", {"client": "a"}, "bad_message", "text"),
    ("direct", {"text": "x", "client": "nobody"}, "no_such_client", "client"),
    ("direct", {"text": "x", "user": "nobody"}, "no_such_client", "user"),
    ("direct", {"text": "x", "name": "nobody", "room": "HERE"}, "no_such_client", "name"),
    ("direct", {"text": "x", "name": "a/b", "room": "HERE"}, "bad_name", "name"),
    ("direct", {"text": "x", "name": "alice", "room": "elsewhere"}, "not_joined", "room"),
    ("direct", {"text": "x", "name": "alice"}, "bad_message", "room"),
    ("typing", {"room": "elsewhere"}, "not_joined", "room"),
    ("history", {"room": "elsewhere"}, "not_joined", "room"),
    ("history", {"room": "HERE", "before": 1, "after": 1}, "bad_message", "after"),
    ("history", {"room": "HERE", "limit": -1}, "bad_message", "limit"),
    ("who", {"room": "elsewhere"}, "not_joined", "room"),
    ("rename", {"room": "elsewhere", "name": "x"}, "not_joined", "room"),
    ("rename", {"room": "HERE", "name": "!x"}, "bad_name", "name"),
    ("rename", {"room": "HERE"}, "bad_message", "name"),
    ("call", {"method": "x"}, "unknown_method", "method"),
    ("call", {}, "bad_message", "method"),
]


@pytest.mark.parametrize(("command", "fields", "code", "field"), REFUSED)
async def test_a_refusal_names_code_and_field(
    shared: Server, room: str, command: str, fields: dict[str, Any], code: str, field: str | None
) -> None:
    """And the command; trying again is no use, so there is no `retry_after_ms`, and the connection lives."""
    given = {name: room if value == "HERE" else value for name, value in fields.items()}
    async with program(shared, room, "alice") as alice:
        assert await alice.refusal(command, **given) == (code, field)
        assert "retry_after_ms" not in alice.heard[-1]
        assert (await alice.ask("ping"))["type"] == "pong"


async def test_an_unknown_command_is_told_and_is_no_abuse(alice: Program) -> None:
    """Fifty of them end nothing: a later version's client may well try."""
    await alice.send(*[{"type": "dance", "id": number} for number in range(50)])
    for number in range(50):
        error = await alice.next("error")
        assert (error["id"], error["code"], error["field"]) == (number, "unknown_type", "type")
    assert (await alice.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("sent", [5, "text", None, [], {}, {"type": 5}, {"room": "x"}])
async def test_what_is_no_command_is_a_bad_message(alice: Program, sent: Any) -> None:
    """Whatever it is, the connection lives."""
    await alice.send(sent)
    assert (await alice.next("error"))["code"] == "bad_message"
    assert (await alice.ask("ping"))["type"] == "pong"


async def test_a_field_of_a_later_version_is_ignored(alice: Program) -> None:
    """And `null` is the same as nothing."""
    pong = await alice.ask("ping", colour="red")
    assert pong["type"] == "pong"
    assert (await alice.ask("join", room="a.b", name=None, since=None, limit=None))["type"] == "joined"


async def test_more_rooms_than_allowed_are_refused() -> None:
    """One that is left makes place for another."""
    async with running(settings={"limits.max_rooms_per_client": 2}) as server, program(server, "a") as alice:
        assert (await alice.ask("join", room="b"))["type"] == "joined"
        assert await alice.refusal("join", room="c") == ("too_many_rooms", "room")
        assert (await alice.ask("join", room="b"))["type"] == "joined"
        await alice.ask("leave", room="a")
        assert (await alice.ask("join", room="c"))["type"] == "joined"


async def test_over_the_rate_a_command_is_refused_for_a_while(alice: Program, room: str) -> None:
    """`retry_after_ms` says for how long; what comes then is taken."""
    await alice.send(*[{"type": "typing", "room": room} for _ in range(150)])
    error = await alice.next("error", code="rate_limited")
    assert error["command"] == "typing"
    assert 1 <= error["retry_after_ms"] <= 1000
    later = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(error["retry_after_ms"] / 1000, later.set_result, None)
    await later
    assert (await alice.ask("ping"))["type"] == "pong"


async def test_who_keeps_over_the_rate_is_closed(alice: Program, room: str) -> None:
    """After a hundred refusals, with a `goodbye` that says so."""
    await alice.send(*[{"type": "typing", "room": room} for _ in range(300)])
    code, last = await alice.closed()
    assert (code, last["type"], last["code"]) == (4429, "goodbye", 4429)


@pytest.mark.parametrize("id", [0, -1, 7, (1 << 53) - 1, "", "x" * 64, "ö\n\0"])
async def test_an_answer_repeats_the_id_as_it_was(alice: Program, id: Any) -> None:
    """Of success and refusal alike; it may be used again."""
    for _ in range(2):
        await alice.send({"type": "ping", "id": id}, {"type": "who", "id": id, "room": "elsewhere"})
        assert await alice.next("pong") == {"type": "pong", "id": id}
        assert (await alice.next("error"))["id"] == id


@pytest.mark.parametrize("id", [1.5, 1 << 53, "x" * 65, [], {}, True])
async def test_an_id_that_cannot_be_is_a_bad_message(alice: Program, id: Any) -> None:
    """And is not repeated."""
    await alice.send({"type": "ping", "id": id})
    error = await alice.next("error")
    assert (error["code"], error["field"], "id" in error) == ("bad_message", "id", False)


async def test_a_command_without_an_id_is_answered_without_one(alice: Program) -> None:
    """Its error says which command it was."""
    await alice.send({"type": "who", "room": "elsewhere"})
    error = await alice.next("error")
    assert error["command"] == "who"
    assert "id" not in error
