"""One workload from the parent's side: starts the workers, keeps the times, looks at the server, adds everything up."""

import contextlib
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

import psutil

from aiochat.loadtest.crew import Target
from aiochat.loadtest.histogram import merged
from aiochat.loadtest.plan import PlanError, Workload
from aiochat.loadtest.report import Result, latency
from aiochat.loadtest.server import Usage, usage
from aiochat.loadtest.worker import Judged, Loaded, Times, work

SETTLE_SECONDS: Final = 0.3  # after connecting, before the memory is read
LEAD_SECONDS: Final = 0.1  # until the load starts, for all workers to hear of it
LEAVE_SECONDS: Final = 5.0
TELL_SECONDS: Final = 0.1
LEAST_CPU_SECONDS: Final = 0.1  # the system counts in hundredths of a second
LEAST_CLIENTS: Final = 500  # memory grows in steps

INTERRUPTS: Final = {signal.SIGINT, signal.SIGTERM}

Tell = Callable[[str, float], None]  # what is going on, and the share of the load that is over


class Looks(NamedTuple):
    """The server's CPU and memory at four moments."""

    alone: Usage
    connected: Usage
    measure: Usage
    end: Usage


def measure(plan: Workload, target: Target, pid: int | None, pinned: bool, tell: Tell) -> Result:
    tell("connecting", 0)
    alone = _look(pid)
    with _workers(plan, target) as links:
        _all_connected(links)
        time.sleep(SETTLE_SECONDS)
        looks = [alone, _look(pid)]
        times = _times(plan)
        _tell_all(links, times)
        for moment in (times.measure, times.end):
            _until(moment, times, tell)
            looks.append(_look(pid))
        loaded: list[Loaded] = [_receive(link) for link in links]
        _tell_all(links, {sender: count for each in loaded for sender, count in each.sent.items()})
        judged: list[Judged] = [_receive(link) for link in links]
        _tell_all(links, None)
    tell("done", 1)
    return _result(plan, pinned, _complete(looks), loaded, judged)


@contextlib.contextmanager
def _workers(plan: Workload, target: Target) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    links, processes = [], []
    try:
        for first in range(plan.processes):
            link, theirs = context.Pipe()
            processes.append(context.Process(target=work, args=(theirs, plan, target, first), daemon=True))
            links.append(link)
            with _interrupts_blocked():
                processes[-1].start()
            theirs.close()
        yield links
        for process in processes:
            process.join(LEAVE_SECONDS)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """No process is left half started; a worker inherits it for good, for Ctrl-C reaches the whole group."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def _all_connected(links: list[Connection]) -> None:
    failures = [failure for link in links for failure in _receive(link)]
    if failures:
        raise PlanError(f"{len(failures)} or more clients could not connect, the first: {failures[0]}")


def _times(plan: Workload) -> Times:
    start = time.monotonic() + LEAD_SECONDS
    return Times(start, start + plan.warmup, start + plan.warmup + plan.seconds)


def _tell_all(links: list[Connection], message: object) -> None:
    for link in links:
        link.send(message)


def _receive(link: Connection) -> Any:
    try:
        return link.recv()
    except EOFError:
        raise PlanError("a worker process ended early; its error is above") from None


def _look(pid: int | None) -> Usage | None:
    try:
        return usage(pid) if pid else None
    except psutil.Error as error:
        raise PlanError(f"no look at the server: {error}") from error


def _complete(looks: list[Usage | None]) -> Looks | None:
    taken = [look for look in looks if look is not None]
    return Looks(*taken) if taken else None


def _until(moment: float, times: Times, tell: Tell) -> None:
    while (now := time.monotonic()) < moment:
        tell("warming up" if now < times.measure else "measuring", (now - times.start) / (times.end - times.start))
        time.sleep(min(TELL_SECONDS, moment - now))


def _result(plan: Workload, pinned: bool, looks: Looks | None, loaded: list[Loaded], judged: list[Judged]) -> Result:
    delivered = sum(each.delivered_per_second for each in loaded)
    dropped = sum((each.dropped for each in judged), Counter[int]())
    slow = [seconds for each in judged for seconds in each.slow_seconds]
    cpu_percent = looks and _cpu_percent(looks)
    return Result(
        name=plan.name,
        clients=plan.clients,
        sent_per_second=sum(each.sent_per_second for each in loaded),
        delivered_per_second=delivered,
        cpu_us_per_delivery=cpu_percent * 1e4 / delivered if cpu_percent is not None and delivered else None,
        cpu_percent=cpu_percent,
        latency_ms=latency(merged(each.latencies for each in judged)),
        memory_per_connection_bytes=looks and _memory(plan, looks),
        connect_cpu_us=looks and _connect_cpu(plan, looks),
        lost=sum(each.verdict.lost for each in judged),
        doubled=sum(each.verdict.doubled for each in judged),
        out_of_order=sum(each.verdict.out_of_order for each in judged),
        unacknowledged=sum(each.verdict.unacknowledged for each in judged),
        dropped_clients=dropped.total(),
        close_codes=dict(dropped),
        errors=sum(each.errors for each in judged),
        first_error=next((each.first_error for each in judged if each.errors), ""),
        slow_clients=plan.slow,
        slow_clients_dropped=len(slow),
        slow_client_seconds=max(slow, default=None),
        meter_cpu_percent=max(each.cpu_percent for each in loaded),
        pinned=pinned,
    )


def _cpu_percent(looks: Looks) -> float:
    return 100 * (looks.end.cpu_seconds - looks.measure.cpu_seconds) / (looks.end.at - looks.measure.at)


def _memory(plan: Workload, looks: Looks) -> float | None:
    grown = looks.connected.resident_bytes - looks.alone.resident_bytes
    return grown / plan.clients if plan.clients >= LEAST_CLIENTS else None


def _connect_cpu(plan: Workload, looks: Looks) -> float | None:
    spent = looks.connected.cpu_seconds - looks.alone.cpu_seconds
    return spent * 1e6 / plan.clients if spent >= LEAST_CPU_SECONDS else None
