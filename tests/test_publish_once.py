"""A message published twice under one key is there once, whatever breaks in between."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.hub_programs import ProgramChat
from tests.programs import CODECS, JSON, MSGPACK, Event, Program, program
from tests.servers import Server, running

KEY = "00000000-0000-4000-8000-000000000001"


async def said(client: Program, room: str = "a") -> list[str | None]:
    """The texts in a room's log."""
    return [message.get("text") for message in (await client.ask("history", room=room))["messages"]]


async def resume(client: Program, token: str, **rooms: Event) -> None:
    """Go on with a session, and wait until it is in its rooms."""
    assert (await client.ask("resume", token=token, rooms=rooms))["type"] == "resumed"
    for room in rooms:
        await client.next("joined", room=room)
    await client.next("session")


@pytest.mark.parametrize("codec", CODECS)
async def test_the_same_message_again_gives_the_same_ack(server: Server, codec: str) -> None:
    """With `repeated`, and nobody is sent it a second time."""
    async with program(server, "a", None, codec) as alice, program(server, "a") as bob:
        first = await alice.ask("publish", room="a", text="hi", data={"b": 1, "a": 2}, key=KEY)
        again = await alice.ask("publish", room="a", text="hi", data={"a": 2, "b": 1}, key=KEY)
        assert "repeated" not in first
        assert again == {**first, "id": again["id"], "repeated": True}
        await alice.ask("publish", room="a", text="end")
        assert await bob.texts(2) == ["hi", "end"]


async def test_repetitions_in_one_message_are_one(server: Server) -> None:
    """Though the first of them is not in the log when the others come."""
    async with program(server, "a") as alice:
        command = {"type": "publish", "room": "a", "text": "hi", "key": KEY}
        await alice.send(
            *[{**command, "id": number} for number in range(5)], {"type": "publish", "room": "a", "text": "x"}
        )
        acks = [await alice.next("ack", id=number) for number in range(5)]
        assert [(ack["offset"], ack.get("repeated", False)) for ack in acks] == [(1, False)] + [(1, True)] * 4
        assert await alice.texts(2) == ["hi", "x"]


@pytest.mark.parametrize("other", [{"text": "ho"}, {"text": "hi", "data": 1}, {"data": "hi"}])
async def test_a_key_with_other_content_is_refused(server: Server, other: dict[str, Any]) -> None:
    """`key_reused`: a client's fault that must not pass for success."""
    async with program(server, "a") as alice:
        await alice.ask("publish", room="a", text="hi", key=KEY)
        assert await alice.refusal("publish", room="a", key=KEY, **other) == ("key_reused", "key")
        assert await said(alice) == ["hi"]


async def test_a_key_is_of_one_session_and_one_room(server: Server) -> None:
    """Another client may use the same one, and so may this one elsewhere."""
    async with program(server, "a") as alice, program(server, "a", None, MSGPACK) as bob:
        await alice.ask("join", room="b")
        for client, room in ((alice, "a"), (bob, "a"), (alice, "b")):
            ack = await client.ask("publish", room=room, text="hi", key=KEY)
            assert (ack["type"], "repeated" in ack) == ("ack", False)
        assert await said(alice) == ["hi", "hi"]


@pytest.mark.parametrize("breaks", ["lost", "half open"])
async def test_a_key_holds_across_resume(server: Server, breaks: str) -> None:
    """What was sent before a break is sent again after it, and is there once."""
    async with program(server, "a") as alice, program(server) as again:
        position = {"epoch": alice.heard[-1]["epoch"], "offset": 0}
        first = await alice.ask("publish", room="a", text="hi", key=KEY)
        if breaks == "lost":
            alice.drop()
        await resume(again, alice.token, a=position)
        repeated = await again.ask("publish", room="a", text="hi", key=KEY)
        assert (repeated["offset"], repeated["ts"], repeated["repeated"]) == (first["offset"], first["ts"], True)
        assert await said(again) == ["hi"]


async def test_without_resume_it_is_another_session(server: Server) -> None:
    """Nothing tells that it is the same client."""
    async with program(server, "a") as alice, program(server, "a") as again:
        await alice.ask("publish", room="a", text="hi", key=KEY)
        assert "repeated" not in await again.ask("publish", room="a", text="hi", key=KEY)


@pytest.mark.parametrize("ends", ["stops", "is killed"])
async def test_a_key_holds_across_a_restart(tmp_path: Path, ends: str) -> None:
    """With the log in a file: the same ack from the next server, after `resume`."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db"}
    async with running(settings=settings) as server, program(server, "a", "alice", JSON) as alice:
        position = {"epoch": alice.heard[-1]["epoch"], "offset": 0}
        first = await alice.ask("publish", room="a", text="hi", key=KEY)
        await asyncio.gather(server.stop(9 if ends == "is killed" else 15), alice.closed())
    async with running(settings=settings) as server, program(server) as again:
        await resume(again, alice.token, a=position)
        assert again.client == alice.client
        repeated = await again.ask("publish", room="a", text="hi", key=KEY)
        assert repeated == {**first, "id": repeated["id"], "repeated": True}
        assert await again.refusal("publish", room="a", text="ho", key=KEY) == ("key_reused", "key")
        assert await said(again) == ["hi"]


async def test_what_was_not_acknowledged_is_there_once(tmp_path: Path) -> None:
    """The server is killed while publishes are under way; all are sent again, and each is in the log once."""
    settings = {"store.url": f"sqlite:///{tmp_path}/chat.db", "limits.messages_per_second": 0}
    texts = [f"message {number}" for number in range(300)]
    commands = [{"type": "publish", "room": "a", "text": text, "key": f"key-{text}", "id": text} for text in texts]
    async with running(settings=settings) as server, program(server, "a") as alice:
        position = {"epoch": alice.heard[-1]["epoch"], "offset": 0}
        for command in commands:
            await alice.send(command)
        await alice.next("ack", id="message 20")
        await server.stop(9)
    async with running(settings=settings) as server, program(server) as again:
        await resume(again, alice.token, a=position)
        await again.send(*commands)
        acks = [await again.next("ack", id=text) for text in texts]
        assert [ack["offset"] for ack in acks] == list(range(1, 301))
        assert all(ack.get("repeated") for ack in acks[:21])
        assert await said(again) == texts[-50:]


# At the hub, on a clock of its own.


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock of the hub's turns, in nanoseconds."""
    now = [1_700_000_000 * 10**9]
    monkeypatch.setattr("aiochat.hub.time.time_ns", lambda: now[0])
    return now


async def outcome(chat: ProgramChat, key: str, text: str = "hi") -> tuple[int, bool]:
    """Offset and `repeated` of what is published by the only client."""
    (client,) = chat.hub.clients.values()
    peer: Any = client.outbox._owner
    peer.news()
    peer.ask("publish", room="a", text=text, key=key)
    await chat.turn(2)
    (ack,) = [event for event in peer.news() if event["type"] == "ack"]
    return ack["offset"], ack.get("repeated", False)


async def test_after_its_minutes_a_key_is_forgotten(now: list[int]) -> None:
    """`history.key_minutes` from the first message on; then it may be used for anything."""
    chat = ProgramChat(history={"key_minutes": 1})
    await chat.come("a")
    assert await outcome(chat, KEY) == (1, False)
    now[0] += 59 * 10**9
    assert await outcome(chat, KEY) == (1, True)
    now[0] += 2 * 10**9
    assert await outcome(chat, KEY, "something else") == (2, False)
    assert await outcome(chat, KEY, "something else") == (2, True)


@pytest.mark.usefixtures("now")
async def test_beyond_the_bound_the_oldest_keys_are_forgotten() -> None:
    """`store.max_keys`: memory stays bounded whatever clients send."""
    chat = ProgramChat(store={"max_keys": 3})
    await chat.come("a")
    for number in range(4):
        await outcome(chat, f"key number {number}")
    assert [await outcome(chat, f"key number {number}") for number in (1, 2, 3)] == [(2, True), (3, True), (4, True)]
    assert await outcome(chat, "key number 0") == (5, False)


async def test_while_the_log_fails_a_key_is_not_used_up() -> None:
    """The same publish is taken when the log is back."""
    chat = ProgramChat()
    alice = await chat.come("a")
    chat.log.fail()
    alice.ask("publish", room="a", text="hi", key=KEY)
    await chat.turn(3)
    assert alice.news()[-1]["code"] == "unavailable"
    chat.log.mend()
    assert await outcome(chat, KEY) == (1, False)


async def test_of_a_lost_answer_the_repetition_tells(now: list[int]) -> None:
    """The client was gone when its ack came: whoever resumes asks again and is told where the message stands."""
    chat = ProgramChat()
    alice = await chat.come("a", "alice")
    chat.log.is_held = True
    alice.ask("publish", room="a", text="hi", key=KEY)
    await chat.turn(2)
    alice.lose()
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={"a": {"epoch": alice.of("joined")[0]["epoch"], "offset": 0}})
    again.ask("publish", room="a", text="hi", key=KEY, id=1)
    for _ in range(5):
        await chat.turn(2)
        chat.log.answer(10)
    await chat.turn(2)
    acks, messages = again.of("ack"), again.of("message")
    pages = [message for joined in again.of("joined") for message in joined["messages"]]
    assert (acks[0]["offset"], acks[0]["repeated"]) == (1, True)
    assert [message["text"] for message in pages + messages] == ["hi"]
