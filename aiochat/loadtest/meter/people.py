"""What people do beside talking: type, leave and join again, lose their connection and come back.

One task does it for all clients of a process. Those who were cut off are brought back a few at a time.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from aiochat.loadtest.links import Start
from aiochat.loadtest.meter.clients import ABNORMAL, Client
from aiochat.loadtest.meter.connecting import AT_ONCE, FAILURES
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.histogram import Histogram

RETRY_SECONDS: Final = 15.0  # then somebody who cannot come back is given up
BREATH_SECONDS: Final = 0.2  # between two attempts
_PICKS: Final = 20  # until one is found who is there

_Event = tuple[float, int, Callable[[], object]]  # when it is due, and what


class People:
    """`resume_us`: from the break until all that was missed has come."""

    def __init__(self, crew: Crew) -> None:
        self.resume_us = Histogram()
        self.cuts = 0
        self.resumed = 0
        self.gaps = 0
        self._crew = crew
        self._random = random.Random(crew.first)
        self._away: dict[Client, float] = {}
        self._returning: deque[Client] = deque()
        self._bringing: set[asyncio.Task[None]] = set()
        crew.lost = self._lost

    @property
    def is_anybody_away(self) -> bool:
        return bool(self._away)

    async def run(self, times: Start) -> None:
        """From the start of the load to its end."""
        for due, _, happen in heapq.merge(*self._events(times), key=lambda event: event[:2]):
            if due >= times.end:
                break
            await asyncio.sleep(due - time.monotonic())
            happen()

    def stop(self) -> None:
        for task in self._bringing:
            task.cancel()

    def _events(self, times: Start) -> list[Iterator[_Event]]:
        scenario = self._crew.scenario
        pause = (times.end - times.measure) / (scenario.storms + 1)
        storms = ((times.measure + pause * number, 0, self.storm) for number in range(1, scenario.storms + 1))
        return [
            storms,
            self._every(1, scenario.typing_per_second, times.start, self._type),
            self._every(2, scenario.moves_per_second, times.start, self._move),
            self._every(3, scenario.cuts_per_second, times.start, self._cut_one),
        ]

    def _every(self, kind: int, rate: float, start: float, happen: Callable[[], object]) -> Iterator[_Event]:
        """The share of this process in what happens `rate` times a second."""
        if rate:
            for number in itertools.count(self._crew.first, self._crew.processes):
                yield start + number / rate, kind, happen

    def _somebody(self) -> Client | None:
        readers = self._crew.readers
        picked = (self._random.choice(readers) for _ in range(_PICKS if readers else 0))
        return next((client for client in picked if client.is_up), None)

    def _type(self) -> None:
        if client := self._somebody():
            client.say({"type": "typing", "room": client.room})

    def _move(self) -> None:
        if client := self._somebody():
            client.move()

    def _cut_one(self) -> None:
        if client := self._somebody():
            self._cut(client)

    def storm(self) -> None:
        """All connections break at once."""
        for client in self._crew.readers:
            if client.is_up:
                self._cut(client)

    def _cut(self, client: Client) -> None:
        if client.token:  # without one there is nothing to come back to
            self.cuts += 1
            self._away[client] = time.monotonic()
            client.cut(reset=self._random.random() < 0.5)

    def _lost(self, client: Client) -> None:
        """Its connection has ended. Whose was cut comes back at once."""
        if client.is_cut:
            self._returning.append(client)
            if len(self._bringing) < AT_ONCE:
                task = asyncio.get_running_loop().create_task(self._bring_back())
                self._bringing.add(task)
                task.add_done_callback(self._bringing.discard)
        elif client.sender is not None:
            client.sender.goes()

    async def _bring_back(self) -> None:
        while self._returning:
            client = self._returning.popleft()
            gaps = client.gaps
            if not await self._reconnect(client):
                client.ended(ABNORMAL)
                if client.sender is not None:
                    client.sender.goes()
            elif client.gaps > gaps:
                self.gaps += 1
            else:
                self.resumed += 1
            broken_at = self._away.pop(client)
            if client.is_up:
                self.resume_us.record(int((client.arrived_at - broken_at) * 1e6))

    async def _reconnect(self, client: Client) -> bool:
        """Whether it has caught up; a server that is full or has ended it is no reason to wait for ever."""
        deadline = time.monotonic() + RETRY_SECONDS
        while client.close_code is None:
            try:
                await self._crew.connector.connect(client)
            except FAILURES:
                client.is_resuming = True
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(BREATH_SECONDS)
            else:
                return True
        return False
