"""The bounds of the HTTP API: how much, how fast, how often with a wrong token, and on which port."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.apis import SETTINGS, TOKEN, Admin, admin_of, administered
from tests.servers import Server, running
from tests.sockets import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    """With narrow limits."""
    narrow = {"limits.api_requests_per_second": 0.01, "limits.handshake_seconds": 0.2, "limits.max_message_bytes": 125}
    async with administered(**narrow) as (server, _):
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def admin(server: Server) -> AsyncIterator[Admin]:
    """Who has its token."""
    async with admin_of(server) as admin:
        yield admin


def request(head: str, body: bytes = b"") -> bytes:
    """One with the token, on a connection that ends with it."""
    common = f"Host: x\r\nConnection: close\r\nAuthorization: bearer {TOKEN}"
    return f"POST /api/v1/rooms/a/messages HTTP/1.1\r\n{common}\r\n{head}\r\n\r\n".encode() + body


async def test_too_many_requests_are_told_when_to_come_back(server: Server, admin: Admin) -> None:
    """A list costs as much as ten others; a wrong token costs nobody anything but its sender, and few lines of log."""
    for body, refusal in (
        (request("Content-Length: 5000", b"x" * 5000), (413, "too_long")),
        (request("Content-Length: 10", b"{"), (408, "timeout")),
        (request("Content-Length: 200", b'{"text": "' + b"x" * 188 + b'"}'), (413, "too_long")),
    ):
        answer = await asked(server, body)
        assert (answer.status, answer.json["code"]) == refusal
    answered = await admin.ask("GET", "rooms")
    assert (answered.status, answered.json["code"]) == (429, "rate_limited")
    assert int(answered.headers["Retry-After"]) >= answered.json["retry_after_ms"] / 1000 > 1
    guesses = [await admin.ask("GET", "nowhere", token="guess") for _ in range(60)]
    statuses = [guess.status for guess in guesses]
    assert (set(statuses[:50]), statuses[-1]) == ({401}, 429)
    assert (await admin.ask("GET", "nowhere")).status == 404
    assert len(await server.logged("api_token_wrong", 50)) < 60


async def test_with_an_internal_port_the_api_is_there_alone(unused_tcp_port: int) -> None:
    """Who reaches the public one finds nothing."""
    async with running(settings={**SETTINGS, "server.internal_port": unused_tcp_port}) as server:
        async with admin_of(server) as admin:
            admin._root = f"http://127.0.0.1:{unused_tcp_port}"
            assert (await admin.ask("GET", "rooms")).json == {"rooms": []}
        answer = await asked(server, b"GET /api/v1/rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.status == 404
