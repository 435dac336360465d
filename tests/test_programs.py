"""How programs come, talk with clients of every codec, and are sent away; against a real server."""

import asyncio
import json
import re
import signal
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgpack  # type: ignore[import-untyped]
import pytest

from tests.programs import CODECS, JSON, MSGPACK, Program, program
from tests.raw import CLOSE, TEXT, masked
from tests.servers import Server, Talker, running, talking
from tests.sockets import BINARY, Wire, close_frame, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = [
    "hello",
    "two\nlines",
    "a\ttab \x07 and \x1b[31mred",
    "日本 🙂 é",
    "\u202ebidi\u2028",
    "x" * 5000,
    '"quoted" \\',
]


def kinds(client: Program) -> list[str]:
    """The types of all events so far."""
    return [event["type"] for event in client.heard]


# Coming.


@pytest.mark.parametrize("codec", CODECS)
async def test_welcome_comes_first_then_session_then_joined(shared: Server, room: str, codec: str) -> None:
    """And `welcome` holds the limits that default.toml sets."""
    async with program(shared, room, "alice", codec) as alice:
        assert kinds(alice) == ["welcome", "session", "joined"]
        welcome, session, joined = alice.heard
        assert (welcome["protocol"], welcome["ping_interval_ms"], session["valid_ms"]) == (1, 25_000, 600_000)
        assert re.fullmatch("[0-9a-f]{10}", welcome["client"])
        assert welcome["limits"] == {
            "message_bytes": 65_536,
            "rooms": 64,
            "messages_per_second": 50.0,
            "burst_messages": 100,
            "history_messages": 300,
            "key_ms": 600_000,
            "session_ms": 600_000,
        }
        assert {"resume", "history"} <= set(welcome["features"])
        assert "user" not in welcome
        assert (joined["room"], joined["name"], joined["members"], joined["messages"]) == (room, "alice", 1, [])


@pytest.mark.parametrize("codec", CODECS)
async def test_with_no_room_named_a_program_is_in_none(shared: Server, codec: str) -> None:
    """Not in the lobby either; its name waits for the first room."""
    async with program(shared, None, "alice", codec) as alice:
        assert await alice.refusal("who", room="lobby") == ("not_joined", "room")
        assert kinds(alice) == ["welcome", "session", "error"]
        async with program(shared) as other:
            listed = await other.ask("rooms")
            assert all(info["members"] for info in listed["rooms"])


@pytest.mark.parametrize("codec", CODECS)
async def test_the_room_may_stand_in_the_path(shared: Server, room: str, codec: str) -> None:
    """In whatever case."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{shared.ws_url}/{room.upper()}", protocols=(codec,)) as socket,
    ):
        assert socket.protocol == codec
        assert (await Program(socket).next("joined"))["room"] == room


@pytest.mark.parametrize(("query", "code"), [("room=a%20b", "bad_room"), ("room=ok&name=a%2Fb", "bad_name")])
@pytest.mark.parametrize("codec", [*CODECS, "aiochat.v1.text"])
async def test_a_bad_room_or_name_in_the_url_is_told_by_a_close(
    shared: Server, codec: str, query: str, code: str
) -> None:
    """A browser would see a refused upgrade as 1006 and try for ever; programs get `goodbye` before the 4400."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{shared.ws_url}?{query}", protocols=(codec,)) as socket,
    ):
        if codec == "aiochat.v1.text":
            assert await Talker(socket).closed() == 4400
            return
        client = Program(socket)
        closed, last = await client.closed()
        assert (closed, kinds(client), last["code"]) == (4400, ["goodbye"], 4400)
        assert last["reason"].startswith(code)
        assert "reconnect" not in last


async def test_a_bad_room_without_a_subprotocol_is_refused_in_http(shared: Server) -> None:
    """As is one where only foreign subprotocols are offered."""
    async with aiohttp.ClientSession() as session:
        for offered in ((), ("chat",)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{shared.ws_url}?room=a%20b", protocols=offered)
            assert refused.value.status == 400


async def test_the_first_of_our_subprotocols_wins(shared: Server, room: str) -> None:
    """Foreign ones before it, and a token, are passed over."""
    async with aiohttp.ClientSession() as session:
        for offered, chosen in (
            (("chat", MSGPACK, JSON), MSGPACK),
            (("bearer.abc", JSON, MSGPACK), JSON),
            ((JSON, "bearer.abc"), JSON),
        ):
            async with session.ws_connect(f"{shared.ws_url}/{room}", protocols=offered) as socket:
                assert socket.protocol == chosen
                await Program(socket).next("joined")


# Talking.


async def test_clients_of_every_codec_see_each_others_messages(shared: Server, room: str) -> None:
    """Programs see the text as it was said, text clients in one line that drives nobody's terminal."""
    async with (
        program(shared, room, "json") as alice,
        program(shared, room, "msgpack", MSGPACK) as bob,
        talking(f"{shared.ws_url}/{room}") as text,
    ):
        for sender, name in ((alice, "json"), (bob, "msgpack")):
            for said in TEXTS:
                await sender.send({"type": "publish", "room": room, "text": said})
                for program_ in (alice, bob):
                    message = await program_.next("message")
                    assert (message["text"], message["sender"]["name"]) == (said, name)
                line = await text.hear()
                assert re.fullmatch(rf"{name}: [^\x00-\x1f\x7f\u202e\u2028]+", line)
                assert len(line) == len(name) + 2 + len(said)
        await text.say("from text")
        for program_ in (alice, bob):
            message = await program_.next("message")
            assert (message["text"], "name" in message["sender"]) == ("from text", False)
        assert await text.hear() == "from text"


@pytest.mark.parametrize(
    "data", [{"a": [1, 2.5, None, True], "日本": {"": "\n"}}, [], 0, "text", False, (1 << 53) - 1, -1e300]
)
async def test_data_passes_between_the_codecs_as_it_is(shared: Server, room: str, data: Any) -> None:
    """A text client is shown it as JSON on one line."""
    async with (
        program(shared, room) as alice,
        program(shared, room, None, MSGPACK) as bob,
        talking(f"{shared.ws_url}/{room}") as text,
    ):
        for sender in (alice, bob):
            await sender.send({"type": "publish", "room": room, "data": data})
            for program_ in (alice, bob):
                message = await program_.next("message")
                assert (message["data"], type(message["data"])) == (data, type(data))
                assert "text" not in message
            assert json.loads(await text.hear()) == data


@pytest.mark.parametrize("data", [{1: "x"}, b"bytes", float("nan"), float("inf"), [1 << 53], msgpack.Timestamp(1)])
async def test_what_json_cannot_say_is_refused_from_msgpack(shared: Server, room: str, data: Any) -> None:
    """Nobody in the room is given what another codec could not encode."""
    async with program(shared, room, None, MSGPACK) as alice:
        assert await alice.refusal("publish", room=room, data=data) == ("bad_message", "data")


@pytest.mark.parametrize("codec", CODECS)
async def test_several_commands_may_come_in_one_message(shared: Server, room: str, codec: str) -> None:
    """They are applied in order, and one that is bad costs the others nothing."""
    async with program(shared, room, "alice", codec) as alice:
        await alice.send(
            {"type": "publish", "id": 1, "room": room, "text": "as alice"},
            {"type": "rename", "id": 2, "room": room, "name": "al"},
            {"type": "rename", "id": 3, "room": room, "name": 5},
            {"type": "publish", "id": 4, "room": room, "text": "as al"},
            {"type": "leave", "id": 5, "room": room},
            {"type": "publish", "id": 6, "room": room, "text": "as nobody"},
        )
        answers = {id: (await alice.next(id=id))["type"] for id in range(1, 7)}
        assert answers == {1: "ack", 2: "renamed", 3: "error", 4: "ack", 5: "left", 6: "error"}
        page = (await alice.ask("join", room=room))["messages"]
        assert [(message["sender"]["name"], message["text"]) for message in page] == [
            ("alice", "as alice"),
            ("al", "as al"),
        ]


async def test_json_may_be_pretty_printed(shared: Server, room: str) -> None:
    """A message is read as one object first; blank lines between several are nothing."""
    async with program(shared, room) as alice:
        await alice.socket.send_str(json.dumps({"type": "ping", "id": 1}, indent=4))
        assert (await alice.next("pong"))["id"] == 1
        await alice.socket.send_str('\n{"type": "ping", "id": 2}\n\n \n{"type": "ping", "id": 3}\n')
        assert [(await alice.next("pong"))["id"] for _ in range(2)] == [2, 3]
        assert "error" not in kinds(alice)


@pytest.mark.parametrize("codec", CODECS)
async def test_what_a_turn_brings_is_one_websocket_message(shared: Server, room: str, codec: str) -> None:
    """For everybody in the room, in order, whoever sent it."""
    async with program(shared, room) as sender, program(shared, room, None, codec) as listener:
        before = len(listener.messages)
        await sender.send(*[{"type": "publish", "room": room, "text": str(number)} for number in range(20)])
        assert await listener.texts(20) == [str(number) for number in range(20)]
        brought = [[event["type"] for event in message] for message in listener.messages[before:]]
        assert ["message"] * 20 in brought


async def test_long_messages_of_a_turn_are_split_by_the_batch_limits(room: str) -> None:
    """Never more than `batch.max_messages` or `max_bytes` in one WebSocket message."""
    async with running(settings={"batch.max_messages": 4}) as server, program(server, room, None, MSGPACK) as alice:
        await alice.send(*[{"type": "publish", "room": room, "text": str(number)} for number in range(10)])
        await alice.texts(10)
        sizes = [len(message) for message in alice.messages[1:] if message[0]["type"] == "message"]
        assert (sum(sizes), max(sizes)) == (10, 4)


# Being sent away.


async def test_twenty_bad_messages_end_the_connection(shared: Server, room: str) -> None:
    """The first nineteen are told; with the twentieth comes `goodbye` and 4400."""
    async with program(shared, room) as alice:
        for number in range(19):
            assert await alice.refusal("publish", room=number) == ("bad_message", "room")
        await alice.send({"type": "publish", "id": "last", "room": 5})
        code, last = await alice.closed()
        assert (code, last["type"], last["code"]) == (4400, "goodbye", 4400)
        assert "too many bad messages" in last["reason"]


async def test_what_follows_too_many_bad_messages_is_not_applied(shared: Server, room: str) -> None:
    """What came before them is, though all came in one WebSocket message, and the refusals are told."""
    async with program(shared, room) as bob, program(shared, room) as alice:
        await alice.send(
            {"type": "publish", "room": room, "text": "before"},
            *[{"type": "publish", "id": number} for number in range(20)],
            {"type": "publish", "room": room, "text": "after"},
        )
        code, _ = await alice.closed()
        assert (code, kinds(alice).count("error")) == (4400, 20)
        await bob.ask("publish", room=room, text="end")
        assert await bob.texts(2) == ["before", "end"]


@pytest.mark.parametrize(("codec", "frame"), [(JSON, masked(b"{}", BINARY)), (MSGPACK, masked(b"\x80", TEXT))])
async def test_a_frame_of_the_wrong_type_ends_the_connection(
    shared: Server, room: str, codec: str, frame: bytes
) -> None:
    """1003, after a `goodbye`."""
    async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": codec}) as wire:
        await wire.send(frame)
        assert await ends(wire, codec) == (1003, 1003)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(masked(b'"\xff"'), 1007, id="not UTF-8"),
        pytest.param(masked(b"x" * 65_537), 1009, id="too big"),
        pytest.param(b"\x81\x05hello", 1002, id="no mask"),
        pytest.param(masked(b"{}", 0x3), 1002, id="unknown opcode"),
    ],
)
async def test_goodbye_stands_before_every_close_by_the_server(
    shared: Server, room: str, data: bytes, code: int
) -> None:
    """Also where it is the WebSocket protocol that was broken."""
    async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": JSON}) as wire:
        await wire.send(data)
        assert await ends(wire, JSON) == (code, code)


async def ends(wire: Wire, codec: str) -> tuple[int, int]:
    """The code of the Close, and that of the `goodbye` in the frame before it."""
    payload = b""
    while (received := await wire.frame()).opcode != CLOSE:
        payload = received.payload
    last = json.loads(payload.split(b"\n")[-1]) if codec == JSON else msgpack.unpackb(payload)
    assert last["type"] == "goodbye"
    return int.from_bytes(received.payload[:2], "big"), last["code"]


@pytest.mark.parametrize("codec", CODECS)
async def test_a_stop_is_told_with_when_to_come_back(codec: str) -> None:
    """Spread over `server.reconnect_spread_seconds`, so that not all come at once."""
    async with running(settings={"server.reconnect_spread_seconds": 20}) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(program(server, codec=codec)) for _ in range(10)]
        server.process.send_signal(signal.SIGTERM)
        farewells = [await client.closed() for client in clients]
        assert {(code, last["type"], last["code"]) for code, last in farewells} == {(1012, "goodbye", 1012)}
        waits = [last["after_ms"] for _, last in farewells]
        assert all(0 <= wait < 20_000 for wait in waits)
        assert len(set(waits)) > 1


@pytest.mark.parametrize("codec", CODECS)
async def test_no_goodbye_stands_before_the_answer_to_the_clients_close(shared: Server, room: str, codec: str) -> None:
    """The client knows that it goes."""
    async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": codec}) as wire:
        await wire.send(close_frame(1000))
        payloads = []
        while (received := await wire.frame()).opcode != CLOSE:
            payloads.append(received.payload)
        assert received.payload == (1000).to_bytes(2, "big")
        assert b"goodbye" not in b"".join(payloads)


async def test_what_is_said_in_one_write_with_the_handshake_is_heard(shared: Server, room: str) -> None:
    """And answered after `welcome`, `session` and `joined`."""
    early = masked(json.dumps({"type": "publish", "room": room, "text": "early", "id": 1}).encode())
    async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": JSON}, early=early) as wire:
        told: list[dict[str, Any]] = []
        while not any(event.get("id") == 1 for event in told):
            told += [json.loads(line) for line in (await wire.frame()).payload.split(b"\n")]
        assert [event["type"] for event in told][:3] == ["welcome", "session", "joined"]


async def test_what_was_said_before_a_close_is_said(shared: Server, room: str) -> None:
    """Even where both come in one write."""
    async with program(shared, room) as listener:
        async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": JSON}) as wire:
            said = [masked(json.dumps({"type": "publish", "room": room, "text": text}).encode()) for text in "abc"]
            await wire.send(*said, close_frame(1000))
            assert await wire.closed() == 1000
        assert await asyncio.wait_for(listener.texts(3), 5) == ["a", "b", "c"]
