"""Newcomers: clients that connect, come into a room, say one message, wait until it is back, and go."""

import asyncio
import itertools
import time
from typing import Final

from aiochat.loadtest.links import Start
from aiochat.loadtest.meter.clients import Client
from aiochat.loadtest.meter.connecting import FAILURES
from aiochat.loadtest.meter.crew import Crew
from aiochat.loadtest.meter.histogram import Histogram
from aiochat.loadtest.meter.latencies import now_us
from aiochat.loadtest.meter.lines import MAX_SENDERS
from aiochat.loadtest.meter.order import Order
from aiochat.loadtest.meter.senders import Sender

AT_ONCE: Final = 500  # of a process; who comes later waits, and that counts
ANSWER_SECONDS: Final = 10.0


class Newcomer(Client):
    """`answered`: its message was acknowledged, or came back where servers do not do that."""

    answered: "asyncio.Future[None]"
    said_before = 0  # by others under this number

    def comes_in(self, place: int) -> None:
        super().comes_in(place)
        if not self.dialect.has_acks:  # nobody tells where in the room it came in
            self.diverge()
            self.own = Order(from_now=True)

    def has_read(self) -> None:
        if self.sender is None or self.sender.sent == self.said_before or self.answered.done():
            return
        self._count_echoes()
        if (not self.sender.unacknowledged) if self.dialect.has_acks else self._echoes:
            self.answered.set_result(None)


class Newcomers:
    """They take turns with sender numbers, so that few suffice."""

    def __init__(self, crew: Crew) -> None:
        self.came_us = Histogram()
        self.came = 0
        self.sent: dict[int, int] = {}
        self._crew = crew
        numbers = range(crew.scenario.clients + crew.first, MAX_SENDERS, crew.processes)
        self._free = list(numbers[:AT_ONCE])[::-1]
        self._there: set[asyncio.Task[None]] = set()

    async def run(self, times: Start) -> None:
        rate = self._crew.scenario.newcomers_per_second
        for number in itertools.count(self._crew.first, self._crew.processes) if rate else ():
            due = times.start + number / rate
            if due >= times.end:
                break
            await asyncio.sleep(due - time.monotonic())
            while not self._free and self._there:
                await asyncio.wait(self._there, return_when=asyncio.FIRST_COMPLETED)
            if not self._free:
                break
            task = asyncio.create_task(self._come(self._free.pop(), due, counts=due >= times.measure))
            self._there.add(task)
            task.add_done_callback(self._there.discard)

    async def finish(self) -> None:
        """Those who are there have their time."""
        if self._there:
            await asyncio.wait(self._there)

    def stop(self) -> None:
        for task in self._there:
            task.cancel()

    async def _come(self, number: int, due: float, *, counts: bool) -> None:
        crew = self._crew
        room = crew.places.room_of(number)
        client = crew.client(Newcomer, number, room)
        sender = Sender(number, crew.frames(room), client)
        sender.sent = client.said_before = self.sent.setdefault(number, 0)
        client.speaks(sender)
        client.answered = asyncio.get_running_loop().create_future()
        crew.newcomers.add(client)
        try:
            await self._say_one(client, sender)
        except FAILURES as error:
            crew.complaints.add(f"a newcomer: {str(error) or type(error).__name__}")
        else:
            self._free.append(number)
            self.sent[number] += 1
            if counts:
                self.came += 1
                self.came_us.record(int((time.monotonic() - due) * 1e6))
        finally:
            client.leave()
            client.depart()
            crew.newcomers.discard(client)
            crew.gone += client.delivered
            crew.said += sender.sent - client.said_before

    async def _say_one(self, client: Newcomer, sender: Sender) -> None:
        await self._crew.connector.connect(client)
        async with asyncio.timeout(ANSWER_SECONDS):
            sender.send(1, now_us())
            await client.answered
