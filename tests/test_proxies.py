"""Whom a request is from: behind trusted proxies whom these state, and nobody else is believed."""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from structlog.testing import capture_logs

from aiochat.config import load
from aiochat.errors import ConfigError
from aiochat.http.proxies import Proxies
from tests.raw import Raw
from tests.servers import Server, running
from tests.sockets import asked, handshake, wired

PROXIES = ("10.0.0.0/8", "127.0.0.1", "2001:db8::/32")
TRUSTED = Proxies(PROXIES)


class Seen(NamedTuple):
    """What the chat sees of a request."""

    remote: str | None
    host: str
    scheme: str


async def through(
    peer: str, *headers: tuple[str, str], host: str = "inside", proxies: Proxies | None = None
) -> Seen | int:
    """A request from `peer` with these headers; or the status of its refusal."""

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(Seen(request.remote, request.host, request.scheme))
        return web.Response()

    seen: list[Seen] = []
    transport = mock.Mock()
    transport.get_extra_info.side_effect = {"peername": (peer, 1)}.get
    request = make_mocked_request("GET", "/ws", CIMultiDict([("Host", host), *headers]), transport=transport)
    answer = await (proxies or TRUSTED).middleware(request, handler)
    return seen[0] if seen else answer.status


async def client_of(peer: str, chain: str) -> str | None:
    """Whom a request is from that `peer` passes on with this chain."""
    seen = await through(peer, ("X-Forwarded-For", chain))
    assert isinstance(seen, Seen)
    return seen.remote


# Who is believed.


@pytest.mark.parametrize("peer", ["203.0.113.7", "127.0.0.2", "2001:db9::1", "", "unix"])
async def test_nobody_but_a_trusted_proxy_is_believed(peer: str) -> None:
    """Who connects by themselves is who they are, whatever they state, even what cannot be read."""
    stated = (("X-Forwarded-For", "10.9.9.9"), ("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "https"))
    assert await through(peer, *stated) == (peer, "inside", "http")
    assert await through(peer, ("X-Forwarded-For", "garbage")) == (peer, "inside", "http")


@pytest.mark.parametrize("peer", ["10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3", "2001:db8::1"])
async def test_a_trusted_proxy_states_address_host_and_scheme(peer: str) -> None:
    """Those of the request that it passes on; also one that is seen through IPv6."""
    stated = (("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Host", "chat.example"), ("X-Forwarded-Proto", "wss"))
    assert await through(peer, *stated) == ("203.0.113.7", "chat.example", "wss")


async def test_a_proxy_that_states_nothing_is_the_client() -> None:
    """Such as a load balancer that asks for /readyz, even without a host."""
    assert await through("10.1.2.3") == ("10.1.2.3", "inside", "http")
    assert await through("10.1.2.3", host="") == ("10.1.2.3", "", "http")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.7, 10.0.0.1, 10.0.0.2", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("10.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("2001:DB9::0:1", "2001:db9::1"),
    ],
)
async def test_of_several_proxies_in_a_row_the_first_one_s_client_counts(chain: str, client: str) -> None:
    """What stands before the last address that is not a proxy's was stated by that client, and is worth nothing."""
    assert await client_of("10.1.2.3", chain) == client


addresses = st.ip_addresses().map(str)
outside = addresses.filter(lambda address: not TRUSTED.trusts(address))


@given(st.lists(addresses, max_size=5), outside, st.lists(st.sampled_from(["10.0.0.1", "2001:db8::7"]), max_size=5))
async def test_no_client_can_choose_its_address(forged: Sequence[str], client: str, chain: Sequence[str]) -> None:
    """Whatever it sends itself, trusted addresses included."""
    assert await client_of("127.0.0.1", ", ".join([*forged, client, *chain])) == str(ipaddress.ip_address(client))


# What cannot be read.


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-For", "garbage")],
        [("X-Forwarded-For", "203.0.113.7:1234")],
        [("X-Forwarded-For", "")],
        [("X-Forwarded-For", "203.0.113.7,")],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "203.0.113.8")],
        [("X-Forwarded-For", ",".join(["10.0.0.1"] * 21))],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "javascript")],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Host", "a/b")],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Host", "\u202e")],
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Host", "a"), ("X-Forwarded-Host", "b")],
    ],
)
async def test_what_nobody_can_read_is_refused(headers: list[tuple[str, str]]) -> None:
    """400, and one line in the log for each proxy, with nothing of what it stated."""
    proxies = Proxies(PROXIES)
    with capture_logs() as lines:
        for peer in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            assert await through(peer, *headers, proxies=proxies) == 400
    assert [(line["event"], line["proxy"]) for line in lines] == [
        ("forwarded_headers_refused", peer) for peer in ("10.0.0.1", "10.0.0.2")
    ]


@pytest.mark.parametrize("entry", ["nginx", "10.0.0.1/8", "0.0.0.0/0", "::/0", "*", ""])
def test_a_proxy_is_an_address_or_a_network(entry: str) -> None:
    """One that is everybody is none."""
    with pytest.raises(ConfigError) as error:
        load(flags={"server": {"trusted_proxies": [entry]}})
    said = f"server.trusted_proxies.0: got {entry!r}, takes an address or network of proxies, such as 127.0.0.1 or "
    assert str(error.value).startswith(said)


# In the server.


def passed_on(client: str, *, host: str = "inside", more: dict[str, str] | None = None) -> dict[str, str | None]:
    """The headers of a request that a proxy passes on."""
    return {"Host": host, "X-Forwarded-For": client, "X-Forwarded-Host": "chat.example", **(more or {})}


async def test_the_client_behind_a_proxy_has_an_address_of_its_own() -> None:
    """In the log and for the limits; the same page is one of the host that it sees; no token shows anywhere."""
    settings = {
        "server.trusted_proxies": ["127.0.0.1"],
        "limits.max_clients_per_address": 1,
        "logging.level": "debug",
    }
    origin = {"Origin": "https://chat.example", "Sec-WebSocket-Protocol": "aiochat.v1.text, bearer.s3cr3t"}
    async with running(settings=settings) as server:
        async with (
            wired(server, "/ws?token=s3cr3t", passed_on("203.0.113.7", more=origin)) as one,
            wired(server, headers=passed_on("203.0.113.8", more={"Origin": "https://chat.example"})),
        ):
            assert (await asked(server, handshake(headers=passed_on("203.0.113.7")))).status == 503
            await server.logged("connection_opened", address="203.0.113.7")
            await one.say("hello")
            assert await one.hear() == "hello"
        foreign = passed_on("203.0.113.9", host="evil.example", more={"Origin": "https://evil.example"})
        assert (await asked(server, handshake(headers=foreign))).status == 403
        await _refuses_what_it_cannot_read(server)
        await _believes_nobody_else(server)
        await server.stop()
    assert "s3cr3t" not in str(server.log)


async def _refuses_what_it_cannot_read(server: Server) -> None:
    answer = await asked(server, handshake("/ws?token=s3cr3t", passed_on("s3cr3t")))
    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    await server.logged("forwarded_headers_refused", proxy="127.0.0.1")


async def _believes_nobody_else(server: Server) -> None:
    """A client at another address that states one."""
    client = await Raw.dial(server, source="127.0.0.2")
    await client.send(handshake(headers=passed_on("203.0.113.7")))
    await server.logged("connection_opened", address="127.0.0.2")
    client.close()
