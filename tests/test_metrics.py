"""/metrics: every number is right, nobody adds a series to them, and not everybody sees them."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

import aiochat
from aiochat.config import Queue, load
from aiochat.errors import StoreError
from aiochat.monitoring.counts import Counts, Histogram
from aiochat.outbox import Backlog
from tests.hubs import QUIET, Chat, SlowChat
from tests.outboxes import LIMITS, Side, line
from tests.programs import CODECS, program
from tests.raw import CLOSE, Raw, masked
from tests.scraping import collect, scrape
from tests.servers import Server, running, talking

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def test_what_was_said_is_counted_exactly(server: Server) -> None:
    """Three lines to two text clients: messages, bytes with their frames, appends; also after both are gone."""
    async with talking(server.ws_url) as speaker, talking(server.ws_url) as listener:
        for _ in range(3):
            await speaker.say("hello")
            assert (await speaker.hear(), await listener.hear()) == ("hello", "hello")
        now = await scrape(server.base_url)
        assert now.labels("connections", "codec") == {"text": 2}
        assert (now.count("clients"), now.count("rooms"), now.count("ready")) == (2, 1, 1)
        assert (now.count("received_messages_total"), now.count("received_bytes_total")) == (3, 3 * 11)
        assert (now.count("deliveries_total"), now.count("sent_bytes_total")) == (6, 6 * 7)
        assert (now.count("append_entries_count"), now.count("append_entries_sum")) == (3, 3)
        assert now.count("append_seconds_count") == 3
    await server.logged("connection_closed", 2)
    after = await scrape(server.base_url)
    assert after.labels("connections", "codec") == {}
    assert after.labels("connections_opened_total", "codec") == {"text": 2}
    assert after.labels("connections_closed_total", "code") == {"1000": 2}
    assert after.count("received_bytes_total") == 3 * 11 + 2 * 8  # each with the Close of aiohttp
    assert (after.count("received_messages_total"), after.count("deliveries_total")) == (3, 6)
    assert after.count("sent_bytes_total") == now.count("sent_bytes_total")
    assert (after.count("clients"), after.count("rooms")) == (0, 0)
    assert after.count("turns_total") > now.count("turns_total") > 3
    assert after["process_resident_memory_bytes"] > 1 << 20


async def test_what_was_refused_or_resumed_is_counted_by_its_kind(server: Server) -> None:
    """Commands and handshakes by code, resumes by outcome."""
    async with program(server, "lobby", codec=CODECS[0]) as one, program(server, "lobby", codec=CODECS[1]) as two:
        assert (await scrape(server.base_url)).labels("connections", "codec") == {"json": 1, "msgpack": 1}
        await one.refusal("publish", room="elsewhere", text="hi")
        await two.refusal("resume", token=two.token)
        one.drop()
        await server.logged("connection_closed")
        async with program(server) as again, program(server) as foreign:
            assert (await again.ask("resume", token=one.token))["type"] == "resumed"
            assert (await foreign.refusal("resume", token="nonsense"))[0] == "session_lost"
    async with aiohttp.ClientSession(server.base_url) as session:
        for path in ("/ws", "/ws/%20"):
            assert (await session.get(path)).status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect("/ws", origin="http://elsewhere.example")
        async with session.ws_connect("/ws/%20", protocols=CODECS) as refused:
            await refused.receive()
    await server.logged("connection_closed", 5)
    now = await scrape(server.base_url)
    assert now.labels("commands_refused_total", "code") == {"not_joined": 1, "bad_message": 1, "session_lost": 1}
    assert now.labels("resumes_total", "outcome") == {"resumed": 1, "session_lost": 1, "other": 1}
    assert now.labels("handshakes_refused_total", "reason") == {"bad_request": 2, "forbidden": 1, "bad_room": 1}
    assert now.labels("connections_closed_total", "code") == {"1000": 3, "1006": 1, "4400": 1}


@pytest.mark.asyncio(loop_scope="session")
async def test_nobody_adds_a_series(shared: Server) -> None:
    """Whatever rooms, names, codes, commands and headers clients send: the series are those there were."""
    before = await scrape(shared.base_url)
    for number in range(30):
        raw = await Raw.join(shared, f"/ws/room-{number}?name=name-{number}")
        await raw.send(masked((3000 + 37 * number).to_bytes(2), CLOSE))
        await raw.closed()
        raw.close()
    async with program(shared, name="{} 1") as client:
        for number in range(10):
            await client.send({"type": f"kind-{number}", "id": number})
            await client.next("error")
    async with aiohttp.ClientSession(shared.base_url) as session:
        for number in range(10):
            headers = {"Sec-WebSocket-Protocol": f"kind-{number}", "Origin": f"http://{number}.example"}
            await session.get(f"/ws/{number}?token={number}", headers=headers)
    await shared.logged("connection_closed", code=3000 + 37 * 29)
    after = await scrape(shared.base_url)
    assert set(after) == set(before)
    assert after.labels("connections_closed_total", "code")["other"] >= 28
    assert len(after) < 250


@pytest.mark.asyncio(loop_scope="session")
async def test_metrics_are_also_openmetrics(shared: Server) -> None:
    """By what Prometheus accepts; both formats hold the same families, each with a help text and a type."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0"}
    async with aiohttp.ClientSession(shared.base_url) as session:
        answer = await session.get("/metrics", headers=headers)
        assert answer.content_type == "application/openmetrics-text"
        families = {family.name: family for family in openmetrics_families(await answer.text())}  # type: ignore[no-untyped-call]
        plain = await session.get("/metrics")
        assert plain.content_type == "text/plain"
    assert families.keys() >= {
        "aiochat_connections",
        "aiochat_deliveries",
        "aiochat_append_seconds",
        "process_open_fds",
    }
    assert all(family.documentation and family.type != "unknown" for family in families.values())


# Who sees them


def mounted_behind(remote: str, **settings: dict[str, object]) -> web.Application:
    """An application that finds its requests to be from that address."""

    @web.middleware
    async def forwarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(remote=remote))

    app = web.Application(middlewares=[forwarded])
    aiochat.setup(app, load(flags={**QUIET, **settings}))
    return app


@pytest.mark.parametrize(
    ("remote", "trusted", "headers", "status"),
    [
        ("127.0.0.1", [], {}, 200),
        ("127.8.9.10", [], {}, 200),
        ("::1", [], {}, 200),
        ("::ffff:127.0.0.1", [], {}, 200),
        ("192.0.2.7", [], {}, 403),
        ("192.0.2.7", ["192.0.2.0/24"], {}, 200),
        ("192.0.3.7", ["192.0.2.0/24"], {}, 403),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], {}, 200),
        ("127.0.0.1", [], {"X-Forwarded-For": "198.51.100.1"}, 403),
        ("127.0.0.1", [], {"Forwarded": "for=198.51.100.1"}, 403),
        ("127.0.0.1", [], {"X-Real-IP": "127.0.0.1"}, 403),
        ("192.0.2.7", ["192.0.2.7"], {"X-Forwarded-For": "198.51.100.1"}, 403),
        ("nonsense", [], {}, 403),
    ],
)
async def test_metrics_are_for_this_machine_and_trusted_proxies(
    remote: str, trusted: list[str], headers: dict[str, str], status: int
) -> None:
    """Not for anybody else, and not for whom a proxy on this machine or a trusted one passes on."""
    app = mounted_behind(remote, server={"trusted_proxies": trusted})
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        answer = await session.get("/metrics", headers=headers)
        assert answer.status == status
        assert ("aiochat_ready" in await answer.text()) == (status == 200)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def test_an_internal_port_has_health_and_metrics_for_everybody() -> None:
    """Also for whom a proxy passes on; the public port has them no more, and the internal one nothing else."""
    port = free_port()
    async with running(settings={"server.internal_port": port}) as server, aiohttp.ClientSession() as session:

        async def status(base: str, path: str) -> int:
            answer = await session.get(base + path, headers={"X-Forwarded-For": "198.51.100.1"})
            return answer.status

        internal = f"http://127.0.0.1:{port}"
        for path in ("/metrics", "/healthz", "/readyz"):
            assert (await status(internal, path), await status(server.base_url, path)) == (200, 404)
        for path in ("/", "/ws"):
            assert (await status(internal, path), await status(server.base_url, path)) == (
                404,
                200 if path == "/" else 400,
            )
        async with talking(server.ws_url):
            assert (await scrape(internal)).count("clients") == 1


def test_the_internal_port_is_another_one() -> None:
    """The same for both would be a server without its page, or without its health."""
    with pytest.raises(
        aiochat.ConfigError, match=r"^server.internal_port: got 9000, takes another port than server.port"
    ):
        load(flags={"server": {"port": 9000, "internal_port": 9000}})


# In somebody else's application


@pytest.fixture
async def chats() -> AsyncIterator[list[aiochat.Chat]]:
    """Two chats that run in one application."""
    app = web.Application()
    chats = [aiochat.setup(app, load(flags=QUIET), prefix=prefix) for prefix in ("/one", "/two")]
    async with TestServer(app):
        yield chats


async def test_each_chat_has_a_registry_of_its_own(chats: list[aiochat.Chat]) -> None:
    """What is said in one is not counted in the other, nothing is in the registry that the process shares."""
    await chats[0].publish("lobby", text="hi")
    one, two = (collect(chat.metrics.registry) for chat in chats)
    assert (one.count("append_entries_sum"), two.count("append_entries_sum")) == (1, 0)
    assert not any(name.startswith("process_") for name in one.names)
    assert not any(family.name.startswith("aiochat") for family in REGISTRY.collect())


async def test_an_application_shows_them_with_its_own() -> None:
    """Its registry takes the chat's as a collector, before the application starts as well as while it runs."""
    app = web.Application()
    chat = aiochat.setup(app, load(flags=QUIET))
    theirs = CollectorRegistry(auto_describe=True)
    theirs.register(chat.metrics.registry)
    assert collect(theirs).count("ready") == 0
    async with TestServer(app):
        await chat.publish("lobby", text="hi")
        assert collect(theirs).count("append_entries_sum") == 1


async def test_calls_of_hooks_are_counted_by_their_outcome() -> None:
    """Where there are hooks: what they let pass, refused or failed at; without any there is nothing to count."""
    hooks = aiochat.Hooks()

    @hooks.on_publish
    async def check(client: aiochat.ClientInfo, message: aiochat.Publication) -> None:
        if message.text == "bad":
            raise aiochat.Refused("forbidden", "not here")
        if message.text == "odd":
            raise ZeroDivisionError

    app = web.Application()
    chat = aiochat.setup(app, load(flags=QUIET), hooks=hooks)
    async with TestServer(app) as server, talking(str(server.make_url("/ws"))) as talker:
        for text in ("bad", "odd", "good"):
            await talker.say(text)
            await talker.hear()
        now = collect(chat.metrics.registry)
    assert now.labels("hooks_total", "outcome") == {"answered": 1, "refused": 1, "failed": 1}
    assert now.count("hooks_running") == 0
    assert now.labels("commands_refused_total", "code") == {"forbidden": 1, "unavailable": 1}


# What is behind single numbers


async def test_who_is_slowed_is_counted_by_the_limit() -> None:
    """Each command over the rate is refused, and counts for the limit that was the tightest."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 10})
    talker = await chat.join()
    talker.say(*"abcdefghijkl")
    await chat.turn()
    assert chat.hub.refused["rate_limited"] == 2
    assert chat.hub.guard.reached["messages_per_second"] == 2
    assert not {"other", "user_messages_per_second"} & {
        limit for limit, count in chat.hub.guard.reached.items() if count
    }


def test_counts_have_the_labels_they_began_with() -> None:
    """Whatever else happens counts as one."""
    counts = Counts(["a", 5])
    for what in ("a", "5", "b", "c", "other"):
        counts.add(what)
    counts.add("a", -1)
    assert dict(counts.items()) == {"a": 0, "5": 1, "other": 3}


def test_a_histogram_counts_up_to_each_bound() -> None:
    """A value on a bound is within it, as Prometheus has it; the last bucket has all."""
    histogram = Histogram((1, 2.5))
    for value in (0, 1, 1.1, 2.5, 2.6, 100):
        histogram.add(value)
    assert histogram.buckets() == [("1.0", 2), ("2.5", 4), ("+Inf", 6)]
    assert histogram.sum == pytest.approx(107.2)


def test_who_is_dropped_is_counted_by_why() -> None:
    """A queue of its own that is full, all together too full, or nothing taken for too long; each client once."""
    clock = SimpleNamespace(now=100.0)
    backlog = Backlog(Queue(**LIMITS | {"total_bytes": 1000}), lambda: clock.now)
    full, stalled = Side(backlog), Side(backlog)
    for _ in range(6):
        full.outbox.send(line("x"))
    clock.now += 60
    for _ in range(2):
        backlog.check_stalls()
    assert dict(backlog.drops.items()) == {"queue_full": 1, "all_queues_full": 0, "stalled": 1, "other": 0}
    oldest, newest = Side(backlog), Side(backlog)
    for side in (oldest, newest, oldest, newest, oldest, newest):
        side.outbox.send(line("y" * 20))
    assert backlog.drops["all_queues_full"] == 1
    assert (full.close_codes, stalled.close_codes, oldest.close_codes, newest.close_codes) == (
        [4000],
        [4000],
        [4000],
        [],
    )


async def test_the_log_is_counted_by_its_appends() -> None:
    """What waits, the size of each append, what failed; an empty one is none."""
    chat = SlowChat()
    one = await chat.come()
    one.say("a")
    await chat.turn()
    one.say("b", "c")
    await chat.turn()
    log = chat.hub.log
    assert (log.messages, log.bytes) == (2, 2)
    await chat.answer()
    assert (log.append_entries.buckets()[0], log.append_entries.buckets()[1]) == (("1.0", 1), ("2.0", 2))
    await chat.answer(StoreError("away"))
    log.round_trip(lambda: None)
    await chat.answer()
    assert dict(log.failures.items()) == {"append": 1, "late": 0, "read": 0, "other": 0}
    assert (log.append_entries.sum, log.append_seconds.buckets()[-1]) == (3, ("+Inf", 2))
