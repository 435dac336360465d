"""What is counted as it happens, in plain integers: once for a turn or a connection; metrics shows it."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

OTHER: Final = "other"


class Counts:
    """How often each of a few known things happened; all else counts as one, so that nobody can add to them."""

    __slots__ = ("_counts",)

    def __init__(self, known: Iterable[object]) -> None:
        self._counts = dict.fromkeys([*map(str, known), OTHER], 0)

    def __getitem__(self, what: str) -> int:
        return self._counts[what]

    def add(self, what: str, count: int = 1) -> None:
        """It happened; or, with a negative `count`, is over."""
        self._counts[what if what in self._counts else OTHER] += count

    def items(self) -> Iterable[tuple[str, int]]:
        """Each thing and how often it happened, those that never did included."""
        return self._counts.items()


class Histogram:
    """How many values there were up to each of `bounds`, and their sum: a third of what prometheus_client's costs."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound with the number of values up to it, as Prometheus has them."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))
