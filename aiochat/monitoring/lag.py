"""How late the event loop comes to what is due, as the keepalive's ticks see it."""

from typing import Final

import structlog

from aiochat.monitoring.counts import Histogram

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Lag:
    """Counts every tick, and logs one line for each time that ticks came `limit_seconds` late, when it is over."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._since: float | None = None
        self._worst = 0.0
        self.seconds = Histogram(_BOUNDS)

    def tick(self, due: float, now: float) -> None:
        """One was due, and came now; both in seconds of the loop's clock."""
        late = max(0.0, now - due)
        self.seconds.add(late)
        if late >= self._limit:
            self._since = due if self._since is None else self._since
            self._worst = max(self._worst, late)
        elif self._since is not None:
            _log.warning("loop_lagged", seconds=round(due - self._since, 3), worst_seconds=round(self._worst, 3))
            self._since, self._worst = None, 0.0
