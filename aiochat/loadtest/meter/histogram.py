"""A log-linear (HDR) histogram: fixed memory, at most 1.6 % too high; those of several processes and seconds add up.

Ours and not the package hdrhistogram's, whose `record_value` takes five times as long: the meter calls it for every
message of a tenth of the receivers.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

_BITS: Final = 6  # 64 buckets for each power of two
_BUCKETS: Final = (64 - _BITS + 1) << _BITS


class Counts(msgspec.Struct, frozen=True):
    """A histogram on its way between processes: how many values there are in each bucket that has any."""

    buckets: dict[int, int] = {}
    highest: int = 0


class Histogram:
    """Counts of integers; what the integers mean (here: microseconds) is the caller's."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0
        self.highest = 0

    def record(self, value: int, times: int = 1) -> None:
        shift = value.bit_length() - _BITS - 1
        self.counts[(shift << _BITS) + (value >> shift) if shift > 0 else value] += times
        self.total += times
        if value > self.highest:
            self.highest = value

    def percentile(self, share: float) -> int:
        """The value that `share` of all recorded ones do not exceed, rounded up to its bucket's end; 0 when empty."""
        wanted, seen = share * self.total, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen and seen >= wanted:
                return min(_bucket_end(bucket), self.highest)
        return 0

    def add(self, counts: Counts) -> None:
        """What another one has recorded, as if this one had."""
        for bucket, count in counts.buckets.items():
            self.counts[bucket] += count
            self.total += count
        self.highest = max(self.highest, counts.highest)

    def counted(self) -> Counts:
        return Counts({bucket: count for bucket, count in enumerate(self.counts) if count}, self.highest)


def merged(histograms: Iterable[Histogram | Counts]) -> Histogram:
    total = Histogram()
    for each in histograms:
        total.add(each if isinstance(each, Counts) else each.counted())
    return total


def _bucket_end(bucket: int) -> int:
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1
