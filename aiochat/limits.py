"""Budgets of one client, and how many clients an address may have."""

import resource
from contextlib import suppress
from typing import Final

RESERVED_DESCRIPTORS: Final = 200  # the listeners, the store, HTTP requests, what the interpreter opens
_INSTEAD_OF_UNLIMITED: Final = (1 << 20, 10_240)  # macOS says unlimited, and takes the second if not the first


class Budget:
    """A token bucket: `rate` tokens a second, `burst` of them at once. Time is the loop's, in seconds."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, cost: float, now: float) -> float:
        """Take `cost` tokens if they are there: 0, or the seconds until they will be."""
        self._refill(now)
        if self._tokens < cost:
            return (cost - self._tokens) / self._rate
        self._tokens -= cost
        return 0.0

    def spend(self, cost: float, now: float) -> float:
        """Spend `cost` tokens, into debt if need be: 0, or the seconds until the debt is paid."""
        self._refill(now)
        self._tokens -= cost
        return -self._tokens / self._rate if self._tokens < 0 else 0.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now


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


class Addresses:
    """How many clients each address has; at most `max_addresses` are counted."""

    def __init__(self, per_address: int, max_addresses: int) -> None:
        self._per_address = per_address
        self._max_addresses = max_addresses
        self._clients: dict[str, int] = {}

    def admit(self, address: str) -> bool:
        """Count one more client, or refuse it."""
        if not self._per_address:
            return True
        clients = self._clients.get(address, 0)
        if clients >= self._per_address or (not clients and len(self._clients) >= self._max_addresses):
            return False
        self._clients[address] = clients + 1
        return True

    def release(self, address: str) -> None:
        """Take back one `admit` that said yes."""
        if not self._per_address:
            return
        clients = self._clients.pop(address) - 1
        if clients:
            self._clients[address] = clients


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as the system lets us; return how many clients fit below it."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for higher in _INSTEAD_OF_UNLIMITED if hard == resource.RLIM_INFINITY else (hard,):
        if higher > limit:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (higher, hard))
                limit = higher
    return max(1, limit - RESERVED_DESCRIPTORS)
