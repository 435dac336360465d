"""The open loop: messages leave at times fixed in advance, however slow the server, and carry the time they were due.

So a server that stalls is charged for every message that would have been sent meanwhile (no coordinated omission).
"""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Final

from aiochat.loadtest.meter.senders import Sender

_AT_ONCE: Final = 1000  # messages of one tick, so that a late meter still reads
_SHORTEST_TICK: Final = 0.0002  # seconds


def due_times(
    senders: Sequence[tuple[int, Sender]], all_senders: int, rate: float, start: float
) -> Iterator[tuple[float, Sender]]:
    """Message k of the whole test is due at `start + k / rate`, and the sender's whose turn is k modulo all senders."""
    round_ = 0
    while True:
        for turn, sender in senders:
            yield start + (round_ * all_senders + turn) / rate, sender
        round_ += 1


class Schedule:
    """Sends what is due until `end`. An interval timer wakes it: the loop's own timers are up to a millisecond late."""

    def __init__(self, due: Iterator[tuple[float, Sender]], end: float) -> None:
        self.due = due
        self.end = end
        self.next = next(due)
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()

    async def run(self) -> None:
        self.loop.add_signal_handler(signal.SIGALRM, self._tick)
        try:
            self._tick()
            await self.done
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.loop.remove_signal_handler(signal.SIGALRM)

    def _tick(self) -> None:
        if self.done.done():
            return
        for _ in range(_AT_ONCE):
            time_due, sender = self.next
            if time_due >= self.end:
                self.done.set_result(None)
                return
            if time_due > time.monotonic():
                break
            sender.send(1, int(time_due * 1e6))
            self.next = next(self.due)
        signal.setitimer(signal.ITIMER_REAL, max(self.next[0] - time.monotonic(), _SHORTEST_TICK))
