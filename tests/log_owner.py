"""A process that owns a room log: `python -m tests.log_owner URL`.

It prints the number of its writer process, then appends to room "a" for ever and prints the newest offset each time.
"""

import asyncio
import sys
from itertools import count

from tests.roomlogs import opened


async def _own(url: str) -> None:
    async with opened(url) as log:
        _say(log.engine._process.pid)  # type: ignore[attr-defined]
        for number in count(1):
            appended = await log.append("a", *[f"message {number}"] * (number % 5 + 1))
            _say(appended.newest)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_own(sys.argv[1]))
