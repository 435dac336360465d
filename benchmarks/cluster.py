"""Two nodes and one Redis on this machine: order and latency across them, their CPU, and one node beside SQLite.

    .venv/bin/python -m benchmarks.cluster      # after `make test`; --docs writes docs/scaling.md, too

The load is `aiochat loadtest` in one process, so that what clients of both nodes get is compared with one stream, byte
by byte or, where the nodes' batches differ, offset by offset. Its latencies are of messages from one node to the other.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import msgspec
import psutil

from aiochat.loadtest.record import Record, Round
from benchmarks.measured import PAGE, table, written
from benchmarks.presence import join_all
from benchmarks.servers import AIOCHAT, Cores, Running, pinned, running
from tests import redis_server
from tests.redis_server import RedisServer

CLIENTS: Final = 2000
ROOMS: Final = (20, 5)  # clients in each
RATE: Final = 2000
LARGE_RATE: Final = 20
PAIRS: Final = 500  # rooms with one client who writes on a node, and others who listen on the other
PAIRS_RATE: Final = 1000
LISTENERS: Final = 5  # of a room, the second time
LEAST_OF: Final = 2  # rounds of these: what else runs on the machine only adds to them
SATURATED: Final = 3  # rounds
KEPT: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
ANYWHERE: Final = Cores(frozenset(), frozenset())
APPENDS: Final = ("aiochat_append_entries_sum", "aiochat_append_entries_count")


class Failed(Exception):
    """One line that says what the load test found."""


@contextmanager
def nodes(redis: RedisServer, count: int, cores: Cores = ANYWHERE) -> Iterator[list[Running]]:
    """So many, on a database of their own."""
    environment = {"AIOCHAT_STORE__URL": redis.new_url(), "AIOCHAT_PRESENCE__INTERVAL_MS": "0"}
    with running(AIOCHAT, cores, environment) as first:
        if count == 1:
            yield [first]
            return
        with running(AIOCHAT, cores, environment) as second:
            yield [first, second]


async def load(scenario: str, of: Sequence[Running], settings: Mapping[str, object]) -> Round:
    """What it found, if nothing was lost, doubled, out of order or not acknowledged."""
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    urls = [part for node in of for part in ("--url", f"ws://127.0.0.1:{node.port}/ws")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "loadtest", scenario, *urls, *flags),
        *("--processes", "1", "--quiet", "--json", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    if not output:
        raise Failed(complaint.decode(errors="replace").strip())
    (only,) = msgspec.json.decode(output, type=Record).rounds
    if not only.outcome.clean or only.ended_early:
        raise Failed(only.ended_early or f"{scenario}: {only.outcome}")
    return only


# Order and latency.


def across(redis: RedisServer) -> list[str]:
    """2,000 clients on two nodes, in small rooms and in one."""
    loads: dict[str, dict[str, object]] = {
        f"{CLIENTS // size} rooms of {size}": {"rooms": f"[{{size={size}, share=1}}]", "senders": '"all"', "rate": RATE}
        for size in ROOMS
    }
    loads[f"one room of {CLIENTS:,}"] = {"rate": LARGE_RATE}
    rows = []
    for said, settings in loads.items():
        with nodes(redis, 2) as both:
            found = asyncio.run(load("broadcast", both, {"clients": CLIENTS, **settings}))
        assert found.latency is not None
        assert found.outcome.acknowledged is not None
        rows.append(
            (
                said,
                f"{found.sent_per_second:,.0f}",
                f"{found.delivered_per_second:,.0f}",
                f"{found.latency.p50:.1f}",
                f"{found.latency.p99:.1f}",
                f"{found.latency.max:.1f}",
                f"{found.cpu_percent or 0:.0f}%",
                f"{found.meter_cpu_percent:.0f}%",
            )
        )
    head = (f"{CLIENTS:,} clients", "messages/s", "deliveries/s", "p50 ms", "p99 ms", "max ms", "both nodes", "meter")
    return [
        *table(head, rows),
        "",
        "Everybody got every message, once and in one order on both nodes, and all were acknowledged.",
    ]


# What a message costs whom.


class Work(NamedTuple):
    """So far: CPU seconds of the node that is written to, of the one that hears, and of Redis; messages, appends."""

    writes: float
    hears: float
    redis: float
    messages: float
    appends: float

    def since(self, before: "Work") -> "Work":
        return Work(*(now - then for now, then in zip(self, before, strict=True)))


class Costs(NamedTuple):
    """Microseconds of CPU for a message: where it is written, where it is heard, in Redis; and messages of a turn."""

    writes: float
    hears: float
    redis: float
    turn: float


def looked(both: Sequence[Running], redis: RedisServer) -> Work:
    writes, hears = (sum(psutil.Process(node.pid).cpu_times()[:2]) for node in both)
    cpu = redis.ask.info("cpu")
    with urllib.request.urlopen(f"http://127.0.0.1:{both[0].port}/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line.startswith(APPENDS))
    messages, appends = (float(lines[name]) for name in APPENDS)
    return Work(writes, hears, cpu["used_cpu_user"] + cpu["used_cpu_sys"], messages, appends)


async def costs(redis: RedisServer, both: Sequence[Running], listeners: int) -> Costs:
    """Of a message to one client where it is written, and so many where it is heard."""
    rooms = {"clients": PAIRS, "rooms": "[{size=1, share=1}]", "senders": '"all"'}
    settings = {**rooms, "rate": PAIRS_RATE, "warmup": 0, "seconds": 5}
    transports = await join_all(both[1].port, PAIRS * listeners, PAIRS)
    before = looked(both, redis)
    await load("broadcast", both[:1], settings)
    spent = looked(both, redis).since(before)
    for transport in transports:
        transport.abort()
    each = 1e6 / spent.messages
    return Costs(spent.writes * each, spent.hears * each, spent.redis * each, spent.messages / spent.appends)


def least(redis: RedisServer, listeners: int) -> Costs:
    rounds = []
    for _ in range(LEAST_OF):
        with nodes(redis, 2) as both:
            rounds.append(asyncio.run(costs(redis, both, listeners)))
    return Costs(*map(min, zip(*rounds, strict=True)))


def shares(redis: RedisServer) -> list[str]:
    """The numbers that benchmarks/scaling.py reckons with."""
    one, several = (least(redis, listeners) for listeners in (1, LISTENERS))
    delivery = (several.hears - one.hears) / (LISTENERS - 1)
    rows = [
        ("a delivery", f"{delivery:.1f} us of a node"),
        ("a message of another node, without its deliveries", f"{one.hears - delivery:.0f} us of a node"),
        ("a message, on the node of who wrote it, without its delivery", f"{one.writes - delivery:.0f} us of a node"),
        ("a message, and two nodes that hear it", f"{one.redis:.0f} us of Redis"),
        ("messages of a turn", f"{one.turn:.1f}"),
    ]
    return table((f"{PAIRS_RATE:,} messages a second in {PAIRS} rooms", ""), rows)


# Beside SQLite.


def saturated(redis: RedisServer) -> list[str]:
    """In turn; the middle one of the rounds."""
    cores = Cores.of_this_machine()
    found: dict[str, list[float]] = {"SQLite": [], "Redis": []}
    for _ in range(SATURATED):
        with tempfile.TemporaryDirectory() as folder:
            store = {"AIOCHAT_STORE__URL": f"sqlite:///{folder}/chat.db", "AIOCHAT_PRESENCE__INTERVAL_MS": "0"}
            with running(AIOCHAT, cores, store) as alone, pinned(cores.meter):
                found["SQLite"].append(asyncio.run(load("saturate", [alone], {})).delivered_per_second)
        with nodes(redis, 1, cores) as one, pinned(cores.meter):
            found["Redis"].append(asyncio.run(load("saturate", one, {})).delivered_per_second)
    middle = {name: statistics.median(rounds) for name, rounds in found.items()}
    rows = [
        (name, f"{middle[name]:,.0f}", f"{min(rounds):,.0f} to {max(rounds):,.0f}") for name, rounds in found.items()
    ]
    share = middle["Redis"] / middle["SQLite"]
    return [*table(("saturate, deliveries/s", "", "rounds"), rows), f"{'share of Redis':22}  {share:.0%}"]


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.cluster", description="Two nodes and one Redis on this machine.")
    parser.add_argument("--docs", action="store_true", help=f"write it into {PAGE.name}, too")
    page = PAGE if parser.parse_args().docs else None
    cores = Cores.of_this_machine()
    with redis_server.running(*KEPT) as redis:
        lines = [*across(redis), "", *shares(redis), ""]
    with pinned(cores.meter), redis_server.running(*KEPT) as redis:
        written("benchmarks.cluster", [*lines, *saturated(redis)], page)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"benchmarks.cluster: {failed}")
