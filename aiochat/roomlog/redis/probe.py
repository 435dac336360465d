"""Whether the subscription still hears: every few seconds the node says something to itself, and it has to come."""

from collections.abc import Callable
from typing import Final

import structlog

_SECONDS: Final = 3.0  # between two
_DEAF_SECONDS: Final = 4.0  # for one to come; with that and a look every second, deafness is noticed within 8 s

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class Probe:
    """Publishing tells that Redis is there, which is not what is asked."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._next = 0.0
        self._said = 0
        self._heard = 0
        self._unheard_since: float | None = None
        self.is_deaf = False

    def is_due(self) -> bool:
        """Whether it is time to say something."""
        return self._time() >= self._next

    def next(self) -> int:
        """What to say now."""
        self._next = self._time() + _SECONDS
        self._said += 1
        return self._said

    def published(self, said: int) -> None:
        """Redis has taken it; it may have come already."""
        if self._heard < said and self._unheard_since is None:
            self._unheard_since = self._time()

    def heard(self, said: int) -> None:
        """It has come."""
        self._heard = said
        self._unheard_since = None
        if self.is_deaf:
            self.is_deaf = False
            _logger.info("redis_heard_again")

    def is_overdue(self) -> bool:
        """Whether it is time to try another subscription; it then has as long."""
        if self._unheard_since is None or self._time() - self._unheard_since < _DEAF_SECONDS:
            return False
        self._unheard_since = self._time()
        if not self.is_deaf:
            self.is_deaf = True
            _logger.error("redis_deaf")
        return True
