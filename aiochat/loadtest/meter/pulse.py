"""How this process itself does, second by second: what came and went, its CPU, and how late its loop is."""

import asyncio
import time
from typing import NamedTuple

from aiochat.loadtest.links import Tick
from aiochat.loadtest.meter.crew import Crew

LOOK_SECONDS = 0.01


class Lag:
    """A call that comes every hundredth of a second notes how late it is."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._call: asyncio.TimerHandle | None = None
        self._look()

    def _look(self) -> None:
        now = self._loop.time()
        self.longest = max(self.longest, now - self._due)
        self._due = now + LOOK_SECONDS
        self._call = self._loop.call_at(self._due, self._look)

    def take(self) -> float:
        """The longest since it was asked last, seconds."""
        longest, self.longest = self.longest, 0.0
        return longest

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()


class Totals(NamedTuple):
    """All so far."""

    at: float
    cpu_seconds: float
    sent: int
    delivered: int
    frames: int
    messages: int


class Pulse:
    """Ticks are the differences between two looks."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._lag = Lag()
        self._number = 0
        self._last = self._look()
        self._batches: dict[int, int] = {}

    def tick(self) -> Tick:
        now, last = self._look(), self._last
        self._last = now
        self._number += 1
        seconds = max(now.at - last.at, 1e-9)
        return Tick(
            number=self._number,
            at=now.at,
            seconds=seconds,
            sent=now.sent - last.sent,
            delivered=now.delivered - last.delivered,
            connected=self._crew.connected(),
            dropped=self._crew.dropped(),
            latency=self._crew.latencies.second(),
            cpu_percent=100 * (now.cpu_seconds - last.cpu_seconds) / seconds,
            lag_ms=1000 * self._lag.take(),
            frames=now.frames - last.frames,
            messages=now.messages - last.messages,
        )

    def measure(self) -> None:
        """From here on batches count."""
        self._batches = self._all_batches()

    def batches(self) -> dict[int, int]:
        """Since `measure`."""
        return {
            size: grown for size, count in self._all_batches().items() if (grown := count - self._batches.get(size, 0))
        }

    def stop(self) -> None:
        self._lag.stop()

    def _look(self) -> Totals:
        crew, streams = self._crew, self._crew.streams.values()
        return Totals(
            time.monotonic(),
            time.process_time(),
            sum(sender.sent for sender in crew.senders) + crew.said,
            crew.delivered(),
            sum(stream.frames for stream in streams),
            sum(stream.messages for stream in streams),
        )

    def _all_batches(self) -> dict[int, int]:
        batches: dict[int, int] = {}
        for stream in self._crew.streams.values():
            for size, count in stream.batches.items():
                batches[size] = batches.get(size, 0) + count
        return dict(sorted(batches.items()))
