"""From when messages were due to when they came: those of this second, and those that count."""

import time
from collections.abc import Iterable

from aiochat.loadtest.meter.histogram import Counts, Histogram, merged


def now_us() -> int:
    return time.monotonic_ns() // 1000


class Latencies:
    """`measure_from_us`: what was due before it is shown in its second, and does not count."""

    def __init__(self) -> None:
        self.measure_from_us = 0
        self._early = Histogram()
        self._newest = Histogram()
        self._measured = Histogram()

    def record(self, due_us: int, now: int, times: int = 1) -> None:
        (self._newest if due_us >= self.measure_from_us else self._early).record(max(0, now - due_us), times)

    def record_all(self, dues_us: Iterable[int]) -> None:
        """Those that came just now; in a closed loop many were due at the same moment."""
        now, times, last = now_us(), 0, 0
        for due_us in dues_us:
            if due_us != last:
                if times:
                    self.record(last, now, times)
                times, last = 0, due_us
            times += 1
        if times:
            self.record(last, now, times)

    def second(self) -> Counts:
        """What came since this was asked last."""
        newest = merged((self._early, self._newest)).counted()
        self._measured.add(self._newest.counted())
        self._early, self._newest = Histogram(), Histogram()
        return newest

    def measured(self) -> Counts:
        return merged((self._measured, self._newest)).counted()
