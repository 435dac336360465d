"""The axes of a chart: values to places, and the ticks and numbers that people expect on them."""

import math
from collections.abc import Iterable
from typing import Final, Self

import msgspec

_MANTISSAS: Final = (1, 2, 5, 10)
_THOUSANDS: Final = ((999_500, 1_000_000, "M"), (9_995, 1_000, "k"))
_LEAST: Final = 1e-9  # what is less than this is nothing, in any unit that a chart has
_MOST_DECADES: Final = 7
_FEW_DECADES: Final = 2  # with no more of them, ticks stand at 2 and 5 as well


class Axis(msgspec.Struct, frozen=True):
    """From `low` at `start` to `high` at `end`, in the units of the drawing."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    @classmethod
    def linear(cls, values: Iterable[float], start: float, end: float, ticks: int = 4) -> Self:
        """From 0, so that twice as high is twice as much."""
        highest = max(values, default=0.0)
        step = _round_up(highest / ticks) if highest > _LEAST else 1.0
        count = max(1, math.ceil(highest / step - 1e-9))
        return cls(0.0, step * count, start, end, tuple(step * index for index in range(count + 1)))

    @classmethod
    def ending(cls, last: float, start: float, end: float) -> Self:
        """From 0 to `last`, be there a tick or not: no room is left behind what was measured."""
        round_axis = cls.linear([last], start, end, ticks=6)
        return cls(0.0, last or 1.0, start, end, tuple(tick for tick in round_axis.ticks if tick <= last))

    @classmethod
    def logarithmic(cls, values: Iterable[float], start: float, end: float) -> Self:
        """From the power of ten below the lowest positive value, or as far below the highest as there is room for."""
        positive = [value for value in values if value > _LEAST] or [1.0]
        high = _round_up(max(positive))
        lowest = max(min(positive), high / 10**_MOST_DECADES)
        first = math.floor(math.log10(lowest) + 1e-9)
        decades = range(first, max(first, math.ceil(math.log10(high) - 1e-9)) + 1)
        steps = (1,) if len(decades) - 1 > _FEW_DECADES else (1, 2, 5)
        low = 10.0**first
        high = max(high, low * 2)
        ticks = (step * 10.0**power for power in decades for step in steps)
        return cls(low, high, start, end, tuple(tick for tick in ticks if low <= tick <= high * (1 + 1e-9)), log=True)

    def place(self, value: float) -> float:
        """A value beyond an end is put at the end: a logarithmic axis has no place for 0."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)


def percent_place(percent: float) -> float:
    """HdrHistogram's axis: each further nine takes as much room as the one before."""
    return -math.log10(1 - percent / 100)


def number(value: float) -> str:
    """Three digits are enough to see: 0.0124, 3.5, 980, 1,234, 12.3k, 1.25M."""
    for least, unit, name in _THOUSANDS:
        if value >= least:
            return f"{value / unit:,.0f}{name}" if value >= unit * 999.5 else f"{value / unit:.3g}{name}"
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(mantissa * power for mantissa in _MANTISSAS if value <= mantissa * power * (1 + 1e-9))
