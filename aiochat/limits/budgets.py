"""Budgets, strikes and descriptors: what one client and one process may use; shares: what clients have together."""

import resource
from contextlib import suppress
from typing import Final

RESERVED_DESCRIPTORS: Final = 200  # the listeners, the store, HTTP requests, what the interpreter opens
_INSTEAD_OF_UNLIMITED: Final = (1 << 20, 10_240)  # macOS says unlimited, and takes the second if not the first


class Budget:
    """A token bucket: `rate` tokens a second, `burst` of them at once. Time is the loop's, in seconds.

    `limit` is the setting that it keeps.
    """

    __slots__ = ("_burst", "_tokens", "_updated", "limit", "rate")

    def __init__(self, rate: float, burst: float, now: float, limit: str = "") -> None:
        self.rate = rate
        self.limit = limit
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, cost: float, now: float) -> float:
        """Take `cost` tokens if they are there: 0, or the seconds until they will be."""
        self._refill(now)
        if self._tokens < cost:
            return (cost - self._tokens) / self.rate
        self._tokens -= cost
        return 0.0

    def wait(self, cost: float, now: float) -> float:
        """The seconds until there are `cost` tokens."""
        self._refill(now)
        return max(0.0, cost - self._tokens) / self.rate

    def scarcest(self, cost: float, now: float) -> "Budget":
        """Which budget that is, of several."""
        return self

    def is_full(self, now: float) -> bool:
        """Whether a new one would be no better."""
        self._refill(now)
        return self._tokens >= self._burst

    def spend(self, cost: float, now: float) -> float:
        """Spend `cost` tokens, into debt if need be: 0, or the seconds until the debt is paid."""
        self._refill(now)
        self._tokens -= cost
        return -self._tokens / self.rate if self._tokens < 0 else 0.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self.rate)
        self._updated = now


class Joint:
    """Several budgets that are spent from together: a client's own, its user's and its address's."""

    __slots__ = ("_budgets",)

    def __init__(self, budgets: tuple[Budget, ...]) -> None:
        self._budgets = budgets

    def take(self, cost: float, now: float) -> float:
        """Take `cost` tokens from each if all of them have so many: 0, or the seconds until they will."""
        wait_seconds = max((budget.wait(cost, now) for budget in self._budgets), default=0.0)
        if not wait_seconds:
            self.spend(cost, now)
        return wait_seconds

    def spend(self, cost: float, now: float) -> float:
        """Spend `cost` tokens from each: 0, or the seconds until the largest debt is paid."""
        return max((budget.spend(cost, now) for budget in self._budgets), default=0.0)

    def scarcest(self, cost: float, now: float) -> Budget:
        """The one that will have so many last."""
        return max(self._budgets, key=lambda budget: budget.wait(cost, now))


class Strikes:
    """Counts what a client does wrong: more than `allowed` within `seconds` is too much."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count = 0
        self._since = -1e9

    def add(self, allowed: int, seconds: float, now: float) -> bool:
        """Count one more; True once it is too much."""
        if now - self._since > seconds:
            self._since, self._count = now, 0
        self._count += 1
        return self._count > allowed


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the system lets us; return how many clients fit below it."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for higher in _INSTEAD_OF_UNLIMITED if hard == resource.RLIM_INFINITY else (hard,):
        if higher > limit:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (higher, hard))
                limit = higher
    return max(1, limit - RESERVED_DESCRIPTORS)
