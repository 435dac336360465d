"""What is looked at in a workload, over its rounds, and what aiochat has to reach there."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final, Literal, NamedTuple

Sample = Mapping[str, float | None]  # one run; None is what was not measured
Samples = Mapping[str, Sequence[Sample]]  # of each server, in one workload


class Spread(NamedTuple):
    """Over the rounds."""

    median: float
    low: float
    high: float


Summary = Mapping[str, Mapping[str, Spread]]  # of each server, what was measured in one workload


class Measure(NamedTuple):
    """A column of the workload's table. Servers are compared by their costs, and should have no faults."""

    key: str
    label: str
    shape: str = ",.0f"
    kind: Literal["cost", "fault", ""] = ""
    tolerated: float = 0  # of a fault


class Figure(NamedTuple):
    """What aiochat has to reach: `value` of the medians, None where something was not measured, is at most `limit`."""

    text: str
    limit: float
    value: Callable[[Summary], float | None]


Verdict = Literal["met", "missed", "not measured"]

CPU: Final = "cpu_us_per_delivery"


def summary(samples: Samples) -> Summary:
    return {server: _spreads(rounds) for server, rounds in samples.items()}


def _spreads(rounds: Sequence[Sample]) -> dict[str, Spread]:
    keys = dict.fromkeys(key for sample in rounds for key in sample)
    measured = {key: [value for sample in rounds if (value := sample.get(key)) is not None] for key in keys}
    return {key: Spread(median(values), min(values), max(values)) for key, values in measured.items() if values}


def verdict(figure: Figure, found: Summary) -> Verdict:
    value = figure.value(found)
    if value is None:
        return "not measured"
    return "met" if value <= figure.limit else "missed"


def against(server: str, key: str, text: str, limit: float) -> Figure:
    """The median of aiochat as a share of that server's."""
    return Figure(text, limit, lambda found: ratio(found, ("aiochat", key), (server, key)))


def ours(key: str, text: str, limit: float) -> Figure:
    return Figure(text, limit, lambda found: find(found, "aiochat", key))


def find(found: Summary, server: str, key: str) -> float | None:
    spread = found.get(server, {}).get(key)
    return spread.median if spread else None


def ratio(found: Summary, over: tuple[str, str], under: tuple[str, str]) -> float | None:
    dividend, divisor = find(found, *over), find(found, *under)
    return dividend / divisor if dividend is not None and divisor else None
