"""The worker processes as the parent sees them: started, told, heard, and gone when the block ends."""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final

from aiochat.loadtest.interrupts import NUMBERS
from aiochat.loadtest.links import FromWorker, Leave, ToWorker
from aiochat.loadtest.meter.worker import work
from aiochat.loadtest.scenario import CannotRun, Scenario
from aiochat.loadtest.target import Target

LEAVE_SECONDS: Final = 5.0


class Workers:
    """Each has a pipe of its own; they are numbered from 0."""

    def __init__(self, links: list[Connection], processes: list[SpawnProcess]) -> None:
        self._links = links
        self._processes = processes

    def __len__(self) -> int:
        return len(self._links)

    def tell(self, message: ToWorker) -> None:
        """All of them; one that has died is noticed when it is heard."""
        for link in self._links:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                link.send(message)

    def heard(self, seconds: float) -> Iterator[tuple[int, FromWorker]]:
        """What has come within this time, which is not waited out. CannotRun if one has died."""
        ready = wait(self._links, max(0.0, seconds))
        for number, link in enumerate(self._links):
            if link in ready:
                try:
                    yield number, link.recv()
                except (EOFError, ConnectionResetError):
                    raise CannotRun(self._fate(number)) from None

    def leave(self) -> None:
        self.tell(Leave())
        for process in self._processes:
            process.join(LEAVE_SECONDS)

    def _fate(self, number: int) -> str:
        process = self._processes[number]
        process.join(LEAVE_SECONDS)
        code = process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code and code < 0 else "its error is above"
        return f"process {process.pid} of the load test ended, {how}: nothing can be said of its clients"


@contextlib.contextmanager
def started(scenario: Scenario, target: Target, count: int) -> Iterator[Workers]:
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # started with the first process, it would let interrupts through again
    links: list[Connection] = []
    processes: list[SpawnProcess] = []
    try:
        for number in range(count):
            link, theirs = context.Pipe()
            processes.append(context.Process(target=work, args=(theirs, scenario, target, number, count), daemon=True))
            links.append(link)
            with _interrupts_blocked():
                processes[-1].start()
            theirs.close()
        yield Workers(links, processes)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
        for link in links:
            link.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """No process is left half started; a worker inherits it for good, for Ctrl-C reaches the whole group."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
