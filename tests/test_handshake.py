"""What the server says to a request to upgrade: who is let in, who is refused, and how they are told."""

import asyncio
from pathlib import Path

import pytest
import trustme

from tests.raw import CLOSE, masked
from tests.servers import Server, running, talking
from tests.sockets import Headers, asked, connected, handshake, wired

pytestmark = pytest.mark.asyncio(loop_scope="session")

OURS = {"Sec-WebSocket-Protocol": "aiochat.v1.text"}


async def test_the_101_answers_the_key(shared: Server) -> None:
    """The example of RFC 6455 section 1.3; no extension and no subprotocol unless asked for."""
    async with wired(shared, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as wire:
        assert wire.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert wire.headers["upgrade"].lower() == "websocket"
        assert "sec-websocket-extensions" not in wire.headers
        assert "sec-websocket-protocol" not in wire.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="},
        {"Sec-WebSocket-Key": "not base64!"},
        {"Sec-WebSocket-Key": "é" * 22 + "=="},
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
    ],
)
async def test_a_wrong_handshake_is_refused(shared: Server, headers: Headers) -> None:
    """A version other than 13, a key that is none, no upgrade at all: 400, with the version that is spoken."""
    answer = await asked(shared, handshake(headers=headers))
    assert answer.status == 400
    assert answer.json["code"] == "bad_request"
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize(("line", "other"), [(b"GET ", b"HEAD "), (b"HTTP/1.1", b"HTTP/1.0")])
async def test_an_upgrade_is_a_get_of_http_1_1(shared: Server, line: bytes, other: bytes) -> None:
    """RFC 6455 section 4.1."""
    assert (await asked(shared, handshake().replace(line, other, 1))).status == 400


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_an_upgrade_with_a_body_is_refused(shared: Server, body: bytes) -> None:
    """Its bytes could be taken for frames, or for the next request."""
    answer = await asked(shared, handshake().removesuffix(b"\r\n") + body)
    assert answer.status == 400


async def test_a_refusal_says_what_is_wrong(shared: Server) -> None:
    """JSON with a code and a sentence, and a request id that the log has too."""
    answer = await asked(shared, handshake("/ws/-bad-"))
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {"code": "bad_room", "reason": "a room's name begins with a letter or a number"}
    (line,) = await shared.logged("request_refused", request_id=answer.headers["x-request-id"])
    assert (line["status"], line["code"]) == (400, "bad_room")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ws/-dash", "bad_room"),
        ("/ws/%20", "bad_room"),
        ("/ws/%00", "bad_room"),
        ("/ws/%ff", "bad_room"),
        ("/ws/a%2Fb", "bad_room"),
        (f"/ws?room={'x' * 129}", "bad_room"),
        ("/ws?room=%1b[2J", "bad_room"),
        ("/ws?name=a:b", "bad_name"),
        ("/ws?name=%1b[2J", "bad_name"),
        ("/ws?name=%E2%80%AE", "bad_name"),
        (f"/ws?name={'x' * 33}", "bad_name"),
        ("/ws?name=%20", "bad_name"),
    ],
)
async def test_a_bad_room_or_name_is_refused(shared: Server, path: str, code: str) -> None:
    """With HTTP 400; but a client that offers our subprotocol is upgraded and told by a Close that it can read."""
    answer = await asked(shared, handshake(path))
    assert (answer.status, answer.json["code"]) == (400, code)
    async with wired(shared, path, OURS) as wire:
        first = await wire.frame()
        assert first.opcode == CLOSE
        assert int.from_bytes(first.payload[:2], "big") == 4400
        assert first.payload[2:].startswith(f"{code}: ".encode())


async def test_who_is_refused_after_the_upgrade_is_never_heard(shared: Server, room: str) -> None:
    """What a client sends whose name was refused reaches nobody, in no room."""
    async with talking(shared.ws_url) as lobby, talking(f"{shared.ws_url}/{room}") as asked_for:
        async with wired(shared, f"/ws/{room}?name=a:b", OURS, early=masked(b"early")) as refused:
            await refused.say("late")
            assert await refused.closed() == 4400
        await lobby.say("next")
        await asked_for.say("next")
        assert [await lobby.hear(), await asked_for.hear()] == ["next", "next"]


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, "chat.example", 101),
        ("http://chat.example", "chat.example", 101),
        ("https://Chat.Example", "chat.example", 101),
        ("http://chat.example:8080", "CHAT.example:8080", 101),
        ("https://evil.example", "chat.example", 403),
        ("http://chat.example:8081", "chat.example:8080", 403),
        ("http://chat.example.evil.example", "chat.example", 403),
        ("http://evil.example/chat.example", "chat.example", 403),
        ("null", "chat.example", 403),
        ("", "chat.example", 403),
        ("http://[", "chat.example", 403),
    ],
)
async def test_pages_of_another_origin_are_refused(shared: Server, origin: str | None, host: str, status: int) -> None:
    """The host is compared without case; without an Origin it is no browser. Also with our subprotocol: always HTTP."""
    headers = {"Origin": origin, "Host": host, **OURS}
    if status == 101:
        async with wired(shared, headers=headers):
            return
    answer = await asked(shared, handshake(headers=headers))
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


async def test_configured_origins_are_let_in() -> None:
    """What `security.allowed_origins` lists may connect, without case, and nothing else that has an Origin."""
    async with running(settings={"security.allowed_origins": ["https://app.example"]}) as server:
        async with wired(server, headers={"Origin": "https://APP.example"}):
            pass
        for origin in ("http://app.example", "http://127.0.0.1"):
            assert (await asked(server, handshake(headers={"Origin": origin}))).status == 403


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("aiochat.v1.text", "aiochat.v1.text"),
        ("foreign, aiochat.v1.text", "aiochat.v1.text"),
        ("aiochat.v1.text, bearer.s3cr3t", "aiochat.v1.text"),
        ("bearer.s3cr3t", None),
    ],
)
async def test_the_subprotocol_is_ours(shared: Server, room: str, offered: str, chosen: str | None) -> None:
    """Of those offered ours is chosen; a token is none, and alone it counts as none offered."""
    async with wired(shared, f"/ws/{room}", {"Sec-WebSocket-Protocol": offered}) as wire:
        assert wire.headers.get("sec-websocket-protocol") == chosen
        await wire.say("hello")
        assert await wire.hear() == "hello"


@pytest.mark.parametrize("offered", ["chat", "graphql-ws, chat", "bearer.s3cr3t, chat", "AIOCHAT.V1.TEXT"])
async def test_foreign_subprotocols_alone_are_refused(shared: Server, offered: str) -> None:
    """With the list of ours, so that who wrote the client can choose."""
    answer = await asked(shared, handshake(headers={"Sec-WebSocket-Protocol": offered}))
    assert (answer.status, answer.json["code"]) == (400, "bad_subprotocol")
    assert "aiochat.v1.text" in answer.json["reason"]
    assert "s3cr3t" not in answer.json["reason"]


async def test_tokens_are_in_no_log_line() -> None:
    """Neither from the subprotocol list nor from the query, accepted or refused, at any level of the log."""
    async with running(settings={"logging.level": "debug"}) as server:
        for protocols in ("bearer.s3cr3t", "aiochat.v1.text, bearer.s3cr3t"):
            async with wired(server, "/ws?token=s3cr3t", {"Sec-WebSocket-Protocol": protocols}) as wire:
                await wire.say("/quit")
                assert await wire.closed() == 1000
        for path, protocols in (
            ("/ws?token=s3cr3t&name=a:b", "bearer.s3cr3t"),
            ("/ws?token=s3cr3t", "bearer.s3cr3t, x"),
        ):
            assert (await asked(server, handshake(path, {"Sec-WebSocket-Protocol": protocols}))).status == 400
        for path in (
            "/?token=s3cr3t",
            "/nowhere?token=s3cr3t",
            "/ws?token=s3cr3t",
            "http://[/?token=s3cr3t",
            "/?s3cr3t=\1",
        ):
            await asked(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        await asked(server, b"GET /ws?token=s3cr3t HTTP/1.1\r\nbearer.s3cr3t\r\n\r\n")
        await server.logged("Error handling request from 127.0.0.1: InvalidURLError", count=2)
        await server.logged("connection_closed", count=2)
        await server.stop()
    assert "s3cr3t" not in str(server.log)


async def test_a_request_byte_by_byte_is_cut_off() -> None:
    """After `limits.handshake_seconds`, whatever still comes; who is upgraded stays as long as it likes."""
    async with running(settings={"limits.handshake_seconds": 0.5}) as server, talking(server.ws_url) as talker:
        async with connected(server) as (reader, writer):

            async def trickle() -> None:
                for byte in handshake().removesuffix(b"\r\n") + b"X-Slow: " + b"x" * 10_000:
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0.02)

            trickling = asyncio.create_task(trickle())
            assert b"101" not in await reader.read()
            trickling.cancel()
        await talker.say("still here")
        assert await talker.hear() == "still here"


@pytest.mark.parametrize("uvloop", [True, False])
async def test_who_never_finishes_tls_is_cut_off(tmp_path: Path, *, uvloop: bool) -> None:
    """After `limits.handshake_seconds`, too; no request and no limit knows of it before."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    tls = {"server.tls_certificate": str(certificate), "server.tls_key": str(key), "limits.handshake_seconds": 0.2}
    async with running(settings=tls, uvloop=uvloop) as server, connected(server) as (reader, _):
        assert await reader.read() == b""
