"""A server with an admin token, and somebody who has it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp
from yarl import URL

from tests.servers import Server, running

TOKEN: Final = "only-for-tests-0123456789abcdef"
SETTINGS: Final[dict[str, Any]] = {"security.admin_token": TOKEN, "limits.api_requests_per_second": 0}


class Answered(NamedTuple):
    """What the API said."""

    status: int
    json: Any
    headers: dict[str, str]


class Admin:
    """Whoever has the token, or another one."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self._session = session
        self._root = root

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **headers: str
    ) -> Answered:
        """`path` is as in a URL, below /api/v1/."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = URL(f"{self._root}/api/v1/{path}", encoded=True)
        async with self._session.request(method, url, data=data, headers=sent) as response:
            text = await response.text()
            assert response.headers["X-Request-ID"]
            if text and method != "HEAD":
                assert response.content_type == "application/json", text
            return Answered(response.status, json.loads(text) if text else None, dict(response.headers))

    async def get(self, path: str) -> Any:
        """What there is at a path."""
        answered = await self.ask("GET", path)
        assert answered.status == 200, answered
        return answered.json

    async def say(self, room: str, text: str) -> Any:
        """Publish; what came of it."""
        answered = await self.ask("POST", f"rooms/{room}/messages", {"text": text})
        assert answered.status == 201, answered
        return answered.json

    async def refusal(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str, str | None]:
        """Status, code and field of what is refused."""
        answered = await self.ask(method, path, body, **options)
        assert answered.json["reason"]
        assert answered.json["request_id"] == answered.headers["X-Request-ID"]
        return answered.status, answered.json["code"], answered.json.get("field")


@asynccontextmanager
async def administered(**settings: Any) -> AsyncIterator[tuple[Server, Admin]]:
    """A server of one's own, with these settings over the usual ones, and who has its token."""
    async with running(settings={**SETTINGS, **settings}) as server, admin_of(server) as admin:
        yield server, admin


@asynccontextmanager
async def admin_of(server: Server) -> AsyncIterator[Admin]:
    """Who has the token of a server."""
    async with aiohttp.ClientSession() as session:
        yield Admin(session, server.base_url)
