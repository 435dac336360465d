"""Bans, connects per second and clients per user, as those see it who knock."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from structlog.testing import capture_logs

import aiochat
from aiochat.config import load
from aiochat.limits.bans import Bans
from tests.hubs import QUIET
from tests.raw import until
from tests.servers import talking

_TEXT: Final = "aiochat.v1.text"


class Host:
    """An application with a chat, to which everybody says in the URL who it is."""

    def __init__(self, server: BaseTestServer, chat: aiochat.Chat, http: aiohttp.ClientSession) -> None:
        self._server = server
        self._chat = chat
        self.http = http

    @property
    def bans(self) -> Bans:
        return self._chat._running.bans

    def clients_of(self, user: str) -> int:
        return self._chat._running.guard.shares.users._shares[user].clients

    def url(self, user: str = "") -> str:
        return str(self._server.make_url(f"/ws?user={user}"))

    async def refused(self, user: str = "", **options: Any) -> tuple[int, Any, str | None]:
        """Status, body and Retry-After of the answer to an upgrade."""
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with self.http.get(self.url(user), headers=headers, **options) as answer:
            return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def _who(request: web.Request) -> aiochat.Identity:
    return aiochat.Identity(user=request.query.get("user") or None)


@asynccontextmanager
async def hosting(**limits: Any) -> AsyncIterator[Host]:
    """A host with these settings of [limits]."""
    app, hooks = web.Application(), aiochat.Hooks()
    hooks.on_connect(_who)
    chat = aiochat.setup(app, load(flags={**QUIET, "limits": limits}), hooks=hooks)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield Host(server, chat, http)


async def test_who_is_banned_is_told_why() -> None:
    """403 over HTTP; who offers a subprotocol of ours, as browsers must, 4403, which is final for it."""
    async with hosting() as host, talking(host.url()) as alice:
        host.bans.ban_user("mallory", "spam")
        assert await host.refused("mallory") == (403, {"code": "banned", "reason": "spam"}, None)
        async with talking(host.url("mallory"), protocols=[_TEXT]) as mallory:
            assert await mallory.closed() == 4403
        await alice.say("quiet here")
        assert (await alice.hear()).endswith("quiet here")
        host.bans.lift_user("mallory")
        async with talking(host.url("mallory")) as mallory:
            await mallory.say("sorry")
            assert await alice.hear() == "mallory: sorry"


async def test_who_is_connected_when_it_is_banned_is_closed() -> None:
    """Every client of the user, or from the address."""
    async with hosting() as host, talking(host.url()) as alice:
        async with talking(host.url("mallory")) as one, talking(host.url("mallory")) as two:
            host.bans.ban_user("mallory", "spam")
            assert [await one.closed(), await two.closed()] == [4403, 4403]
        await alice.say("quiet here")
        assert (await alice.hear()).endswith("quiet here")
        host.bans.ban_address("127.0.0.0/8", "all of you")
        assert await alice.closed() == 4403
        assert (await host.refused("alice"))[1] == {"code": "banned", "reason": "all of you"}


async def test_a_user_has_so_many_clients() -> None:
    """One more gets 503 and when to try again: another tab may have gone then. Others are not concerned."""
    others = ("bob", "", "")
    async with hosting(max_clients_per_user=2) as host, AsyncExitStack() as stack:
        for user in ("alice", *others):
            await stack.enter_async_context(talking(host.url(user)))
        async with talking(host.url("alice")) as tab:
            too_many = {"code": "unavailable", "reason": "too many clients of this user"}
            assert await host.refused("alice") == (503, too_many, "5")
            await tab.say("/quit")
            assert await tab.closed() == 1000
        await until(lambda: host.clients_of("alice") == 1)
        async with talking(host.url("alice")):
            assert host.clients_of("alice") == 2


async def test_connects_from_an_address_come_at_a_rate() -> None:
    """What is over it gets 429 and when to try again, and the log names it a few times and then counts."""
    with capture_logs() as logged:
        async with hosting(address_connects_per_second=0.001) as host:
            for _ in range(10):
                async with talking(host.url()):
                    pass
            status, body, retry = await host.refused()
            assert (status, body["code"], body["reason"]) == (
                429,
                "rate_limited",
                "too many connects from this address",
            )
            assert 900 < int(retry or 0) <= 1000
            for _ in range(20):
                assert (await host.refused())[0] == 429
            assert (await host.http.get(host._server.make_url("/healthz"))).status == 200
    assert len([line for line in logged if line["event"] == "request_refused"]) == 5
