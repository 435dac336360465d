"""How fast a client may ask: the server's own limits, kept on this side, so that next to nothing is refused."""

import asyncio
from collections.abc import Awaitable, Callable

from aiochat.messages import Command, Direct, History, Join, Limits, Refresh, Resume, Rooms, Who

_COSTLY = {History, Refresh, Resume, Rooms, Who}  # what the server counts tenfold; a page of catching up, too


def cost(command: Command) -> int:
    """What a command costs of the budget."""
    is_catching_up = isinstance(command, Join) and command.since is not None
    is_searching = isinstance(command, Direct) and command.user is not None
    return 10 if type(command) in _COSTLY or is_catching_up or is_searching else 1


class Pace:
    """A budget of `burst_messages` that refills at `messages_per_second`; who takes waits until it is not in debt."""

    def __init__(self, time: Callable[[], float], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._time = time
        self._sleep = sleep
        self._per_second = 0.0
        self._burst = 0.0
        self._budget = 0.0
        self._counted_at = time()
        self._held_until = 0.0

    def limit(self, limits: Limits) -> None:
        """Go by these from now on."""
        if not self._per_second:
            self._budget = float(limits.burst_messages)
        self._per_second = limits.messages_per_second
        self._burst = float(limits.burst_messages)

    def hold(self, seconds: float) -> None:
        """The server has had enough: nothing more for so long."""
        self._held_until = max(self._held_until, self._time() + seconds)

    async def take(self, commands: int) -> None:
        """Wait until so many may be sent, and spend them."""
        await self.wait(commands)
        self.spend(commands)

    async def wait(self, commands: int) -> bool:
        """Wait until so many may be sent; False if they may be sent at once."""
        has_waited = False
        while (seconds := self._wait_seconds(commands)) > 0:
            has_waited = True
            await self._sleep(seconds)
        return has_waited

    def spend(self, commands: int) -> None:
        """So many are sent now."""
        self._budget -= commands

    def _wait_seconds(self, commands: int) -> float:
        now = self._time()
        held = self._held_until - now
        if not self._per_second:
            return held
        self._budget = min(self._burst, self._budget + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        return max(held, (min(commands, self._burst) - self._budget) / self._per_second)
