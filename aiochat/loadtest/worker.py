"""One process of clients. It answers its parent step by step: connected, load over, judged; then it leaves.

Parent and workers share the clock (`time.monotonic` is the machine's), so each keeps the same times by itself.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Final

import msgspec
import uvloop

from aiochat.loadtest.clients import CheckingClient, now_us
from aiochat.loadtest.crew import Crew, Target, Verdict
from aiochat.loadtest.histogram import Histogram
from aiochat.loadtest.plan import Workload
from aiochat.loadtest.schedule import Schedule, due_times

QUIET_SECONDS: Final = 2.0  # nothing arrives for so long: nothing more will
SETTLE_SECONDS: Final = 20.0
DOUBLES_SECONDS: Final = 0.1  # a double comes after the last message is there
PROBE_SECONDS: Final = 0.1


class Times(msgspec.Struct, frozen=True):
    """Seconds of `time.monotonic`: load from start to end, counted from measure on."""

    start: float
    measure: float
    end: float


class Loaded(msgspec.Struct, frozen=True):
    """What one worker did between measure and end, and all it ever sent, for each sender."""

    sent_per_second: float
    delivered_per_second: float
    cpu_percent: float
    sent: dict[int, int]


class Judged(msgspec.Struct, frozen=True):
    """How it went for the clients of one worker."""

    verdict: Verdict
    latencies: Histogram
    dropped: Counter[int]  # by close code
    errors: int
    first_error: str
    slow_seconds: list[float]  # of each slow client that was dropped: how long after the start


def work(link: Connection, workload: Workload, target: Target, first: int) -> None:
    with contextlib.suppress(EOFError, BrokenPipeError):
        uvloop.run(_work(link, Crew(workload, target, first)))


async def _work(link: Connection, crew: Crew) -> None:
    loop = asyncio.get_running_loop()
    link.send(await crew.connect())
    times: Times = await loop.run_in_executor(None, link.recv)
    probing = loop.create_task(_probe(crew))
    link.send(await load(crew, times))
    sent: dict[int, int] = await loop.run_in_executor(None, link.recv)
    await settle(crew, sent)
    probing.cancel()
    link.send(judge(crew, sent, times))
    await loop.run_in_executor(None, link.recv)
    crew.leave()


async def load(crew: Crew, times: Times) -> Loaded:
    for client in crew.readers:
        if isinstance(client, CheckingClient):
            client.measure_from_us = int(times.measure * 1e6)
    await _until(times.start)
    sending = asyncio.create_task(_send(crew, times))
    await _until(times.measure)
    before = _snapshot(crew)
    await _until(times.end)
    sent, delivered, cpu, seconds = (new - old for new, old in zip(_snapshot(crew), before, strict=True))
    await sending
    counts = {sender.number: sender.sent for sender in crew.senders}
    return Loaded(sent / seconds, delivered / seconds, 100 * cpu / seconds, counts)


async def _send(crew: Crew, times: Times) -> None:
    plan = crew.workload
    if plan.rate and crew.senders:
        await Schedule(due_times(crew.senders, plan.senders, plan.rate, times.start), times.end).run()
        return
    for sender in crew.senders:
        sender.refilling = True
        sender.send(plan.window, now_us())
    await _until(times.end)
    for sender in crew.senders:
        sender.refilling = False


def _snapshot(crew: Crew) -> tuple[float, float, float, float]:
    return sum(sender.sent for sender in crew.senders), crew.delivered(), time.process_time(), time.monotonic()


async def settle(crew: Crew, sent: Mapping[int, int]) -> None:
    """Waits for what is in flight, while something comes."""
    deadline, seen, seen_at = time.monotonic() + SETTLE_SECONDS, -1, 0.0
    while crew.behind(sent) and (now := time.monotonic()) < deadline:
        if crew.delivered() != seen:
            seen, seen_at = crew.delivered(), now
        elif now > seen_at + QUIET_SECONDS:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(DOUBLES_SECONDS)


def judge(crew: Crew, sent: Mapping[int, int], times: Times) -> Judged:
    return Judged(
        verdict=crew.judge(sent),
        latencies=crew.latencies,
        dropped=Counter(client.close_code for client in crew.readers if client.close_code is not None),
        errors=crew.complaints.count,
        first_error=crew.complaints.first,
        slow_seconds=[client.dropped_at - times.start for client in crew.slow if client.dropped_at],
    )


async def _probe(crew: Crew) -> None:
    while True:
        for client in crew.slow:
            client.probe()
        await asyncio.sleep(PROBE_SECONDS)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())
