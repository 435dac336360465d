"""Budgets, strikes, addresses and descriptors: what one client, one address and one process may use."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.limits.budgets import Budget, Strikes, raise_descriptor_limit

costs = st.sampled_from([1, 10])
pauses = st.floats(0, 20)


def test_a_burst_passes_at_once_and_then_only_the_rate() -> None:
    """Ten at once, then five a second."""
    budget = Budget(rate=5, burst=10, now=100)
    assert [budget.take(1, 100) for _ in range(10)] == [0] * 10
    assert budget.take(1, 100) == pytest.approx(0.2)
    assert budget.take(1, 100.2) == 0
    assert budget.take(1, 100.2) == pytest.approx(0.2)


def test_what_is_refused_costs_nothing() -> None:
    """The wait that a refusal names is right however often it is asked for."""
    budget = Budget(rate=5, burst=10, now=0)
    budget.take(10, 0)
    assert [budget.take(10, 0) for _ in range(3)] == [2, 2, 2]
    assert budget.take(10, 2) == 0


def test_a_budget_fills_up_to_the_burst_and_no_further() -> None:
    """A night of silence earns no more than a few seconds of it."""
    budget = Budget(rate=5, burst=10, now=0)
    assert budget.take(10, 100_000) == 0
    assert budget.take(1, 100_000) > 0


@given(st.lists(st.tuples(costs, pauses), max_size=60))
def test_nobody_gets_more_than_burst_and_rate(asked: list[tuple[int, float]]) -> None:
    """Over any stretch of time, whatever is asked for and when; and who waits as long as told gets it."""
    budget, now = Budget(rate=5, burst=20, now=0), 0.0
    taken = [(0.0, 0)]
    for cost, pause in asked:
        now += pause
        if (wait := budget.take(cost, now)) > 0:
            now += wait + 1e-6
            assert budget.take(cost, now) == 0
        taken.append((now, cost))
    for begin in range(len(taken)):
        stretch = taken[begin][0]
        assert sum(cost for _, cost in taken[begin:]) <= 20 + 5 * (now - stretch) + 1e-3


def test_a_debt_is_paid_by_waiting() -> None:
    """Bytes that were read cannot be refused: they are owed."""
    budget = Budget(rate=100, burst=100, now=0)
    assert budget.spend(100, 0) == 0
    assert budget.spend(50, 0) == pytest.approx(0.5)
    assert budget.spend(50, 0) == pytest.approx(1.0)
    assert budget.spend(0, 1.0) == 0


@given(st.lists(st.tuples(st.integers(0, 1000), pauses), max_size=40))
def test_who_pauses_for_its_debt_keeps_to_the_rate(spent: list[tuple[int, float]]) -> None:
    """Reading that stops for as long as told never averages more than the rate."""
    budget, now, total = Budget(rate=100, burst=100, now=0), 0.0, 0
    for size, pause in spent:
        now += pause
        total += size
        now += budget.spend(size, now)
        assert total <= 100 + 100 * now + 1e-3


def test_strikes_are_too_many_only_within_their_time() -> None:
    """Three within ten seconds are allowed, the fourth is too much, and later they count anew."""
    strikes = Strikes()
    assert [strikes.add(3, 10, now) for now in (0, 1, 10, 10)] == [False, False, False, True]
    assert strikes.add(3, 10, 10.1) is False


class System:
    """Limits of open files; above `most` the soft one cannot be set."""

    def __init__(self, soft: int, hard: int, most: int) -> None:
        self.limits = (soft, hard)
        self.most = most

    def getrlimit(self, kind: int) -> tuple[int, int]:
        assert kind == resource.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, kind: int, limits: tuple[int, int]) -> None:
        if limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("system", "raised_to"),
    [
        (System(256, 4096, 4096), 4096),
        (System(4096, 4096, 4096), 4096),
        (System(1024, 4096, 1024), 1024),
        (System(256, UNLIMITED, 1 << 30), 1 << 20),
        (System(256, UNLIMITED, 61_440), 10_240),
        (System(61_440, UNLIMITED, 61_440), 61_440),
        (System(256, UNLIMITED, 256), 256),
    ],
    ids=[
        "raised",
        "as high as can be",
        "not ours to raise",
        "unlimited",
        "macOS",
        "macOS, raised by hand",
        "macOS, stubborn",
    ],
)
def test_the_descriptor_limit_is_raised(monkeypatch: pytest.MonkeyPatch, system: System, raised_to: int) -> None:
    """To the hard limit or what the system takes instead, never lowered; some are kept for what is no client."""
    hard = system.limits[1]
    monkeypatch.setattr(resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", system.setrlimit)
    assert raise_descriptor_limit() == raised_to - 200
    assert system.limits == (raised_to, hard)


def test_there_is_place_for_one_client_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the limit."""
    monkeypatch.setattr(resource, "getrlimit", System(64, 64, 64).getrlimit)
    assert raise_descriptor_limit() == 1
