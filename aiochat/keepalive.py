"""One timer for all connections: pings, silence, and the end of what does not end by itself.

Time here is the number of ticks. A tick that comes late counts once like any other, so a stall of this process moves
every deadline by its length and nobody is called silent for it.
"""

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

import structlog

from aiochat import config
from aiochat.monitoring.lag import Lag

GRACE_SECONDS: Final = 2.0  # between our Close and the end of the connection
_MAX_TICK_SECONDS: Final = 0.25
_TICKS_PER_INTERVAL: Final = 20

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Pulse(Protocol):
    """What is kept alive. `heard` is the tick of the last inbound byte; `beat` the tick at which to look next."""

    heard: int
    beat: int
    next_ping: int

    @property
    def is_reading(self) -> bool: ...
    def ping(self) -> None: ...
    def silent(self) -> None: ...
    def abort(self) -> None: ...


class Keepalive:
    """A timing wheel: each connection stands in the set of the tick at which it is looked at next."""

    def __init__(self, settings: config.Keepalive, every_second: Callable[[], None], lag: Lag) -> None:
        interval = settings.ping_interval_seconds
        self.tick_seconds = min(_MAX_TICK_SECONDS, interval / _TICKS_PER_INTERVAL)
        self.ticks = 0
        self._interval = self._in_ticks(interval)
        self._silence = self._in_ticks(interval + settings.pong_timeout_seconds)
        self._grace = self._in_ticks(GRACE_SECONDS)
        self._second = self._in_ticks(1.0)
        self._every_second = every_second
        self._lag = lag
        self._beats: defaultdict[int, set[Pulse]] = defaultdict(set)
        self._ending: deque[tuple[int, Pulse]] = deque()

    def add(self, pulse: Pulse) -> None:
        """Begin to look after a connection; its pings begin at a random point of the interval."""
        pulse.heard = self.ticks
        pulse.next_ping = self.ticks + random.randint(1, self._interval)
        self._stand(pulse)

    def discard(self, pulse: Pulse) -> None:
        """Look after it no longer."""
        beats = self._beats.get(pulse.beat)
        if beats is not None:
            beats.discard(pulse)

    def end(self, pulse: Pulse) -> None:
        """Its Close is written: abort it after the grace, if it is still there."""
        self._ending.append((self.ticks + self._grace, pulse))

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.tick_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                self._lag.tick(due, loop.time())
                self.tick()
            except Exception:  # the next one comes all the same
                _log.exception("tick_failed")

    def tick(self) -> None:
        """Look at those whose time has come."""
        self.ticks += 1
        for pulse in self._beats.pop(self.ticks, ()):
            try:
                self._look_at(pulse)
            except Exception:  # one connection's trouble must not end the watch over all others
                _log.exception("connection_failed")
                pulse.abort()
        while self._ending and self._ending[0][0] <= self.ticks:
            self._ending.popleft()[1].abort()
        if not self.ticks % self._second:
            self._every_second()

    def _look_at(self, pulse: Pulse) -> None:
        if not pulse.is_reading:
            pulse.heard = self.ticks  # a connection that we paused cannot be heard
        elif self.ticks - pulse.heard >= self._silence:
            pulse.silent()
            return
        if self.ticks >= pulse.next_ping:
            pulse.next_ping += self._interval
            pulse.ping()
        self._stand(pulse)

    def _stand(self, pulse: Pulse) -> None:
        pulse.beat = max(self.ticks + 1, min(pulse.next_ping, pulse.heard + self._silence))
        self._beats[pulse.beat].add(pulse)

    def _in_ticks(self, seconds: float) -> int:
        return max(1, ceil(seconds / self.tick_seconds))
