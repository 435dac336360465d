"""What happens a thousand times a second under attack, in a few lines of the log."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog

_LINES: Final = 5  # of one kind that are logged within _SECONDS, where who logs says nothing else
_SECONDS: Final = 10.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Tally:
    """Logs the first few of a kind as they are, and how many more there were at the end of ten seconds.

    The kinds are few, and ours: never what a client says.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def info(self, event: str, kind: str, *, lines: int = _LINES, **fields: Any) -> None:
        """Log the event, unless so many `lines` of this kind were; costs nothing but a number then."""
        self._add(_log.info, event, kind, lines, fields)

    def warning(self, event: str, kind: str, **fields: Any) -> None:
        """The same for what somebody should look into."""
        self._add(_log.warning, event, kind, _LINES, fields)

    def _add(self, log: Callable[..., object], event: str, kind: str, lines: int, fields: dict[str, Any]) -> None:
        key = event, kind
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        if not count:
            asyncio.get_running_loop().call_later(_SECONDS, partial(self._tell, event, kind, lines))
        if count < lines:
            log(event, **fields)

    def _tell(self, event: str, kind: str, lines: int) -> None:
        count = self._counts.pop((event, kind))
        if count > lines:
            _log.info("more_of_the_same", of=event, kind=kind, count=count - lines, seconds=_SECONDS)
