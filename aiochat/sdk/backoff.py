"""When a client comes back after a break, and after which not (docs/protocol.md, "Close codes")."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiochat.errors import Close

_FINAL: Final = {Close.NORMAL, Close.PROTOCOL_ERROR, Close.WRONG_TYPE, Close.NOT_UTF8, Close.TOO_BIG}
_FINAL_STATUSES: Final = {400, 401, 403}
TOKEN_EXPIRED: Final = 4003


class Lost(Exception):
    """The end of one connection, or that there was none.

    `code` is of a Close, an HTTP status, or None. `after_seconds` is how long the server asked to stay away, and
    `reconnect` what it said about coming back. `error` is what to raise instead of `ChatClosed`, where the chat ends.
    """

    def __init__(
        self,
        code: int | None,
        reason: str,
        *,
        after_seconds: float | None = None,
        reconnect: bool | None = None,
        error: Exception | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.after_seconds = after_seconds
        self.error = error
        self._reconnect = reconnect

    def is_final(self, *, new_token: bool) -> bool:
        """Whether it is no use to come back; `new_token`: there is another one for each connection."""
        if self._reconnect is not None:
            return not self._reconnect
        if self.code == TOKEN_EXPIRED:
            return not new_token
        return self.code is not None and (
            self.code in _FINAL or self.code in _FINAL_STATUSES or 4400 <= self.code <= 4999
        )


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: a random time up to a bound that doubles with each failure in a row, and never under the shortest.

    A connection that held for `steady_seconds` ends the row. `uniform` and `sleep` are there for tests.
    """

    shortest_seconds: float = 0.5
    longest_seconds: float = 20.0
    steady_seconds: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def delay(self, failures: int) -> float:
        """In seconds, after so many failures in a row, 1 or more."""
        bound = self.shortest_seconds * 2 ** min(failures, 16)
        return self.uniform(self.shortest_seconds, min(self.longest_seconds, bound))
