"""What a chat counts, for Prometheus. The numbers are there all the same: work is done only when somebody asks."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from aiochat import __version__
from aiochat.limits.addresses import parsed
from aiochat.monitoring.counts import Counts, Histogram

if TYPE_CHECKING:
    from aiochat.connections import Connections
    from aiochat.http.handlers import Handlers
    from aiochat.http.health import Health

_FORWARDED: Final = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.VIA, "X-Real-IP")


class Metrics(Collector):
    """Of one chat, in a registry of its own; an application registers `registry` in the one that it has."""

    def __init__(self, handlers: "Handlers", health: "Health") -> None:
        self._handlers = handlers
        self._health = health
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def add_process(self) -> None:
        """And what there is to say about the process, where it is the chat's own."""
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """All of them, as of now; hardly any before the chat has begun."""
        info = GaugeMetricFamily("aiochat_info", "Which version this is.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield _gauge(
            "ready", "1 if /readyz would say yes, as far as that can be told without a proof.", self._health.is_ready
        )
        if self._health.hub is not None:
            yield from _of_connections(self._handlers)
            yield from _of_outboxes(self._handlers.connections)
            yield from _of_hub(self._handlers.connections)
            yield from _of_log(self._handlers.connections)


def _of_connections(handlers: "Handlers") -> Iterator[Metric]:
    connections = handlers.connections
    yield _gauges("connections", "Open connections.", "codec", _by_codec(connections.open))
    yield _gauge(
        "max_clients", "How many may be open: limits.max_clients, or what the descriptors allow.", handlers.max_clients
    )
    yield _counts("connections_opened", "Upgrades to a WebSocket.", "codec", _by_codec(connections.opened))
    yield _counts(
        "connections_closed", "Ends of a connection; 1006 is one without a Close.", "code", connections.closed.items()
    )
    yield _counts(
        "handshakes_refused", "Requests for a WebSocket that were refused.", "reason", handlers.refused.items()
    )
    traffic = connections.traffic()
    yield _count("received_messages", "WebSocket messages from clients.", traffic.messages_in)
    yield _count("received_bytes", "Bytes from clients, with their frames.", traffic.bytes_in)
    yield _count(
        "deliveries", "Messages and events written to clients: each counts once for each client.", traffic.messages_out
    )
    yield _count("sent_bytes", "Bytes of what was delivered, with its frames.", traffic.bytes_out)
    yield _histogram(
        "loop_lag_seconds", "How late the event loop came to each tick of the keepalive.", connections.lag.seconds
    )


def _of_outboxes(connections: "Connections") -> Iterator[Metric]:
    backlog = connections.backlog
    yield _gauge("backlog_bytes", "Queued for slow clients; a batch in many queues counts once.", backlog.bytes)
    yield _gauge("paused_clients", "Clients whose sockets take nothing at the moment.", len(backlog))
    yield _counts("clients_dropped", "Clients dropped for being slow (4000).", "reason", backlog.drops.items())


def _of_hub(connections: "Connections") -> Iterator[Metric]:
    hub = connections.hub
    yield _gauge("clients", "Clients in the hub.", len(hub.clients))
    yield _gauge("rooms", "Rooms with somebody in them, or with messages on their way.", len(hub.rooms))
    yield _gauge("inbox_bytes", "Commands that wait for the next turn.", hub.inbox.bytes)
    yield _count("turns", "Turns of the hub.", hub.turns)
    yield _counts("commands_refused", "Commands answered with an error.", "code", hub.refused.items())
    yield _counts("resumes", "Attempts to resume a session.", "outcome", hub.greeter.resumes.items())
    yield _counts("limits_reached", "Times that a rate slowed a client.", "limit", hub.guard.reached.items())
    yield _gauge("bans", "Bans in force, of users and addresses.", len(hub.bans))
    if hub.application is not None:
        queue = hub.application.queue
        yield _gauge("hooks_running", "Hooks of the application that run at the moment.", queue.running)
        yield _counts("hooks", "Calls of the application's hooks.", "outcome", queue.outcomes.items())


def _of_log(connections: "Connections") -> Iterator[Metric]:
    log = connections.hub.log
    yield _gauge("log_failing", "1 while the room log does not take what it is given.", log.is_failing)
    yield _gauge("log_pending_messages", "Messages that wait for the next append.", log.messages)
    yield _gauge("log_pending_bytes", "The same in bytes.", log.bytes)
    yield _gauge("log_reads_in_flight", "Reads that the room log has not answered.", log.reads_in_flight)
    yield _gauge("log_reads_waiting", "Reads that wait behind those.", log.reads_waiting)
    yield _counts(
        "log_failures",
        "Appends and reads that failed; late: an append that took too long.",
        "operation",
        log.failures.items(),
    )
    yield _histogram("append_entries", "Messages in one append to the room log.", log.append_entries)
    yield _histogram("append_seconds", "From an append to its answer in the hub.", log.append_seconds)


def _by_codec(counts: Counts) -> Iterable[tuple[str, int]]:
    return [(subprotocol.rpartition(".")[2], count) for subprotocol, count in counts.items()]


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"aiochat_{name}", about, value)


def _gauges(name: str, about: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"aiochat_{name}", about, labels=[label])
    for of, value in values:
        family.add_metric([of], value)
    return family


def _count(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"aiochat_{name}", about, value)


def _counts(name: str, about: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = CounterMetricFamily(f"aiochat_{name}", about, labels=[label])
    for of, value in values:
        family.add_metric([of], value)
    return family


def _histogram(name: str, about: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(f"aiochat_{name}", about, histogram.buckets(), histogram.sum)


# Who may see them.


def metrics_route(
    prefix: str, metrics: Metrics, trusted: Iterable[str] | None, *, has_others: bool = False
) -> web.RouteDef:
    """GET /metrics, in the text format of Prometheus or OpenMetrics.

    For this machine and the proxies that are `trusted`, not for whom they pass on; None lets anybody. It is refused
    where another worker might answer the next time.
    """
    answer = _of_one_worker if has_others else make_aiohttp_handler(metrics.registry)
    return web.get(f"{prefix}/metrics", answer if trusted is None else _for(trusted, answer))


async def _of_one_worker(request: web.Request) -> web.StreamResponse:
    reason = "each worker has metrics of its own, on a port of its own; see server.internal_port"
    return web.json_response({"code": "forbidden", "reason": reason}, status=403)


def _for(
    trusted: Iterable[str], answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    networks = [ip_network(network) for network in trusted]

    async def guarded(request: web.Request) -> web.StreamResponse:
        address = parsed(request.remote or "")
        is_near = address is not None and (address.is_loopback or any(address in network for network in networks))
        if is_near and not any(header in request.headers for header in _FORWARDED):
            return await answer(request)
        reason = "metrics are for this machine and trusted proxies alone; see server.internal_port"
        return web.json_response({"code": "forbidden", "reason": reason}, status=403)

    return guarded
