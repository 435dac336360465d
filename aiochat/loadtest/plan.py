"""What to run: the flags of `aiochat loadtest`, and the workloads of a run without any."""

import argparse
import math
import os
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from aiochat.loadtest import lines

MAX_LINE_BYTES: Final = 1 << 20
SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class PlanError(Exception):
    """Flags that do not go together, or a server that can't be measured: one line for the user, exit code 2."""


class Workload(msgspec.Struct, frozen=True):
    """Client i is in room i modulo `rooms`; the first `senders` clients send, the last `slow` never read."""

    name: str = "custom"
    clients: int = 200
    senders: int = 20
    window: int = 20  # messages in flight for each sender; 0 with a rate, or without senders
    rate: float = 0.0  # messages a second in all; 0 with a window
    size: int = 100  # bytes of a message
    rooms: int = 1
    seconds: float = 5.0
    warmup: float = 1.0
    slow: int = 0
    codec: str = lines.TEXT_CODEC
    processes: int = 1


DEFAULT: Final = Workload()
SUITE: Final = (
    Workload("busy room", clients=200, senders=20, window=20, seconds=3),
    Workload("steady rate", clients=100, senders=20, window=0, rate=500, seconds=3),
    Workload("small rooms", clients=1000, senders=1000, window=1, rooms=500, seconds=3),
    Workload("idle", clients=2000, senders=0, window=0, seconds=1, warmup=0),
)
_FLAGS: Final = ("clients", "senders", "window", "rate", "size", "rooms", "seconds", "warmup", "slow", "codec")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measure a chat server: throughput, CPU, latency, memory, and whether it loses, doubles or reorders messages. "
        "Without a flag from --clients to --slow it runs four small workloads."
    )

    def add(flag: str, metavar: str, text: str, default: object, kind: type = int) -> None:
        parser.add_argument(flag, type=kind, metavar=metavar, help=f"{text} (default: {default})")

    add("--clients", "N", "connections", DEFAULT.clients)
    add("--senders", "S", "how many of them also send, spread over the rooms", f"{DEFAULT.senders}, or all if fewer")
    add("--window", "W", "closed loop: messages in flight for each sender", DEFAULT.window)
    add("--rate", "R", "open loop instead: messages a second, of all senders together", "closed loop", float)
    add("--size", "BYTES", f"bytes of a message, {lines.HEAD_BYTES} to {MAX_LINE_BYTES}", DEFAULT.size)
    add("--rooms", "K", "rooms; if more than one, PATH/ROOM is the path of a client", DEFAULT.rooms)
    add("--seconds", "D", "seconds that are measured", DEFAULT.seconds, float)
    add("--warmup", "W", "seconds of the same load before them", DEFAULT.warmup, float)
    add("--slow", "K", "how many of the clients read nothing after the handshake", DEFAULT.slow)
    parser.add_argument(
        "--codec", choices=lines.CODECS, help="what the clients speak; of json the acks are counted (default: text)"
    )
    add("--processes", "P", "processes that run the clients", f"{default_processes()} on this machine")
    add("--pid", "SERVER_PID", "process of the server at URL, for its CPU and memory", "not measured")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, several as a list (default: a table)"
    )
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="ws://HOST:PORT/PATH to measure (default: starts a server)"
    )


def default_processes() -> int:
    """One core is the server's; more than four workers receive faster than any server of one core sends."""
    return max(1, min(4, (os.cpu_count() or 1) - 1))


def workloads(arguments: argparse.Namespace) -> list[Workload]:
    """What the flags ask for, or PlanError."""
    _check_url(arguments.url, arguments.pid)
    given = {name: getattr(arguments, name) for name in _FLAGS if getattr(arguments, name) is not None}
    asked = arguments.processes
    plans = [_custom(given)] if given else SUITE
    plans = [msgspec.structs.replace(plan, processes=asked or min(default_processes(), plan.clients)) for plan in plans]
    for plan in plans:
        _check(plan, asked)
    return plans


def _custom(given: dict[str, Any]) -> Workload:
    if "window" in given and "rate" in given:
        raise PlanError("--window (closed loop) and --rate (open loop) exclude each other")
    if given.get("window", 1) < 1:
        raise PlanError("--window takes 1 or more")
    if not 0 < given.get("rate", 1) < math.inf:
        raise PlanError("--rate takes more than 0 messages a second")
    readers = given.get("clients", DEFAULT.clients) - given.get("slow", DEFAULT.slow)
    plan = msgspec.structs.replace(DEFAULT, **({"senders": max(0, min(DEFAULT.senders, readers))} | given))
    if plan.senders and "rate" not in given:
        return plan
    if not plan.senders and ("window" in given or "rate" in given):
        raise PlanError("--window and --rate need senders")
    return msgspec.structs.replace(plan, window=0)


def _check_url(url: str | None, pid: int | None) -> None:
    if url is None and pid is not None:
        raise PlanError("--pid goes with the URL of a server")
    if url is not None and not _connectable(url):
        raise PlanError(f"URL is {url!r}; it takes ws://HOST:PORT/PATH, or wss://, http://, https://")


def _connectable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check(plan: Workload, processes: int | None) -> None:
    positive = 0 < plan.seconds < math.inf and 0 <= plan.warmup < math.inf
    rules = (
        (plan.clients >= 1, "--clients takes 1 or more"),
        (0 <= plan.senders <= lines.MAX_SENDERS, f"--senders takes 0 to {lines.MAX_SENDERS}"),
        (plan.slow >= 0, "--slow takes 0 or more"),
        (plan.senders + plan.slow <= plan.clients, "--senders and --slow together are more than --clients"),
        (
            lines.HEAD_BYTES <= plan.size <= MAX_LINE_BYTES,
            f"--size takes {lines.HEAD_BYTES} to {MAX_LINE_BYTES} bytes: sender, number and time must fit in",
        ),
        (1 <= plan.rooms <= plan.clients, "--rooms takes 1 up to --clients"),
        (positive, "--seconds takes more than 0, --warmup 0 or more"),
        (processes is None or 1 <= processes <= plan.clients, "--processes takes 1 up to --clients"),
    )
    for kept, reason in rules:
        if not kept:
            raise PlanError(reason)
