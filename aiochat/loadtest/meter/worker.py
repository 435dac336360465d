"""One process of clients: connects them, loads the server, judges what they got; see links.py for what it says when."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Mapping
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

import msgspec
import uvloop

from aiochat.loadtest.links import Connected, FromWorker, Judged, Leave, Loaded, Progress, Sent, Start, Stop
from aiochat.loadtest.meter.connecting import connect_all
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.judge import Judge, Tails
from aiochat.loadtest.meter.newcomers import Newcomers
from aiochat.loadtest.meter.people import People
from aiochat.loadtest.meter.pulse import Pulse
from aiochat.loadtest.meter.schedule import Schedule, due_times
from aiochat.loadtest.scenario import Scenario
from aiochat.loadtest.target import Target

PROGRESS_SECONDS: Final = 0.2
LATE_SECONDS: Final = 5.0  # after the load, for a meter that is behind
BACK_SECONDS: Final = 10.0  # after the load, for those who were cut off
QUIET_SECONDS: Final = 2.0  # nothing arrives for so long: nothing more will
SETTLE_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.05
DOUBLES_SECONDS: Final = 0.1  # a double comes after the last message is there
PROBE_SECONDS: Final = 0.1

_Kind = TypeVar("_Kind")


def work(link: Connection, scenario: Scenario, target: Target, first: int, processes: int) -> None:
    """What a process of the meter does, from its start to its end. It has every P-th client, from `first` on."""
    with contextlib.suppress(EOFError, OSError, asyncio.CancelledError):
        uvloop.run(Worker(Parent(link), scenario, target, first, processes).run())


class Parent:
    """The other end of the pipe."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self.stopped = asyncio.Event()

    @contextlib.contextmanager
    def listening(self) -> Any:
        """Ends the task that it is entered in when the parent wants it to leave, or is gone."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def hear() -> None:
            try:
                message = self._link.recv()
            except (EOFError, OSError):
                message = Leave()
            if isinstance(message, Stop):
                self.stopped.set()
            elif isinstance(message, Leave) and task is not None:
                loop.remove_reader(self._link.fileno())
                task.cancel()
            else:
                self._heard.put_nowait(message)

        loop.add_reader(self._link.fileno(), hear)
        os.set_blocking(self._link.fileno(), True)  # uvloop changed that, and a long message would be cut off
        try:
            yield
        finally:
            loop.remove_reader(self._link.fileno())

    def tell(self, message: FromWorker) -> None:
        self._link.send(message)

    async def hear(self, kind: type[_Kind]) -> _Kind:
        message = await self._heard.get()
        if not isinstance(message, kind):
            raise TypeError(f"the parent said {message!r} instead of {kind.__name__}")
        return message

    async def until(self, moment: float) -> bool:
        """Waits for this moment; whether it came before a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - time.monotonic())):
                await self.stopped.wait()
        return not self.stopped.is_set()


class Worker:
    """The clients of a process, step by step."""

    def __init__(self, parent: Parent, scenario: Scenario, target: Target, first: int, processes: int) -> None:
        self.parent = parent
        self.crew = Crew(scenario, target, first, processes)
        self.judge = Judge(self.crew)
        self.people = People(self.crew)
        self.newcomers = Newcomers(self.crew)
        self.pulse: Pulse

    async def run(self) -> None:
        with self.parent.listening():
            try:
                await self._run()
            finally:
                self.people.stop()
                self.newcomers.stop()
                self.crew.leave()

    async def _run(self) -> None:
        await self.connect()
        times = await self.parent.hear(Start)
        async with _until_done(self._probe()):
            sent = await self.load(times)
            self.parent.tell(Loaded(time.monotonic(), sent))
            everything = await self.parent.hear(Sent)
            await self.settle(everything.counts)
        self.parent.tell(self.verdict(everything.counts, times))
        await self.parent.hear(Leave)

    async def connect(self) -> None:
        count = 0

        def here(more: int) -> None:
            nonlocal count
            count += more

        async def progress() -> None:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                self.parent.tell(Progress(count))

        async with _until_done(progress()):
            failures = await connect_all(self.crew.connector, self.crew.everybody, here)
        self.parent.tell(Connected(count, failures))

    async def load(self, times: Start) -> dict[int, int]:
        """What each sender sent."""
        self.crew.latencies.measure_from_us = int(times.measure * 1e6)
        await self.parent.until(times.start)
        self.pulse = Pulse(self.crew)
        tasks = (self._send(times), self.people.run(times), self.newcomers.run(times))
        async with _until_done(*tasks) as running:
            await self._ticks(times)
            if not self.parent.stopped.is_set():  # what was due is late, but not left out
                await asyncio.wait(running, timeout=LATE_SECONDS)
        await self._back()
        certain = {
            client.sender.number: client.sender.certain if client.close_code is not None else client.sender.sent
            for client in self.crew.readers
            if client.sender is not None
        }
        return certain | self.newcomers.sent

    async def _ticks(self, times: Start) -> None:
        for number in itertools.count(1):
            moment = min(times.start + number, times.end)
            goes_on = await self.parent.until(moment)
            self.parent.tell(self.pulse.tick())
            if not goes_on or moment == times.end:
                return
            if abs(moment - times.measure) < LOOK_SECONDS:
                self.pulse.measure()

    async def _send(self, times: Start) -> None:
        crew, scenario = self.crew, self.crew.scenario
        if scenario.rate and crew.turns:
            due = due_times(crew.turns, len(crew.places.senders), scenario.rate, times.start)
            await Schedule(due, times.end).run()
        elif scenario.window:
            for sender in crew.senders:
                sender.loop(scenario.window)
            try:
                await self.parent.until(times.end)
            finally:
                for sender in crew.senders:
                    sender.loop(0)

    async def _back(self) -> None:
        """The load is over, but some may be on their way back, with messages that were due."""
        deadline = time.monotonic() + BACK_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + BACK_SECONDS):
                await self.newcomers.finish()
        while self._is_somebody_out() and time.monotonic() < deadline:  # noqa: ASYNC110 - they are looked at seldom
            await asyncio.sleep(LOOK_SECONDS)

    def _is_somebody_out(self) -> bool:
        return self.people.is_anybody_away or any(
            client.is_moving for client in self.crew.readers if client.close_code is None
        )

    async def settle(self, sent: Mapping[int, int]) -> None:
        """Waits for what is in flight, while something comes."""
        crew = self.crew
        deadline, seen, seen_at = time.monotonic() + SETTLE_SECONDS, -1, 0.0
        while (now := time.monotonic()) < deadline:
            tails = Tails(crew, sent)
            if not any(tails.is_behind(client) for client in crew.readers):
                break
            if crew.delivered() != seen:
                seen, seen_at = crew.delivered(), now
            elif now > seen_at + QUIET_SECONDS:
                break
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(DOUBLES_SECONDS)

    def verdict(self, sent: Mapping[int, int], times: Start) -> Judged:
        self.judge.finish(sent)
        self.pulse.stop()
        people, newcomers = self.people, self.newcomers
        slow = [client.dropped_at - times.start for client in self.crew.slow if client.dropped_at]
        outcome = msgspec.structs.replace(
            self.judge.outcome(),
            slow_dropped=len(slow),
            slow_dropped_after_seconds=max(slow, default=None),
            cuts=people.cuts,
            resumed=people.resumed,
            gaps=people.gaps,
            newcomers=newcomers.came,
        )
        return Judged(
            outcome=outcome,
            latency=self.crew.latencies.measured(),
            resume=people.resume_us.counted(),
            newcomer=newcomers.came_us.counted(),
            batches=self.pulse.batches(),
        )

    async def _probe(self) -> None:
        while True:
            for client in self.crew.slow:
                client.probe()
            await asyncio.sleep(PROBE_SECONDS)


@contextlib.asynccontextmanager
async def _until_done(*coroutines: Any) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """They run beside the block, and end with it; what goes wrong in them ends it."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
