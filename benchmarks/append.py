"""How long an append takes, from the hub's handing it over to its answer in the hub, while the loop is saturated.

`.venv/bin/python -m benchmarks.append`: 200 JSON clients, 20 x 20 in flight, on SQLite; beside them as many connects a
second as there is time for, 2,000 at most. Nothing is pinned to a core.
"""

import asyncio
import atexit
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiochat.cli import main as aiochat
from aiochat.logqueue import LogQueue
from benchmarks.presence import join_all
from benchmarks.servers import AIOCHAT, Cores, running

SECONDS = 10
CONNECTS = 2000


def serve() -> int:
    """The server, with each append timed; it prints them at its end."""
    began: list[float] = []
    milliseconds: list[float] = []
    begin, appended = LogQueue._begin, LogQueue._appended  # noqa: SLF001 -- between them is what is measured

    def timed_begin(self: LogQueue, batch: Mapping[str, list[Any]], then: Callable[..., None]) -> None:
        began[:] = [time.perf_counter()]
        begin(self, batch, then)

    def timed_appended(self: LogQueue, *arguments: Any) -> None:
        milliseconds.append((time.perf_counter() - began[0]) * 1000)
        appended(self, *arguments)

    setattr(LogQueue, "_begin", timed_begin)  # noqa: B010 -- mypy knows that they are methods
    setattr(LogQueue, "_appended", timed_appended)  # noqa: B010
    atexit.register(lambda: report(sorted(milliseconds)))
    return aiochat(sys.argv[2:])


def report(milliseconds: list[float]) -> None:
    count = len(milliseconds)
    shares = (0.5, 0.9, 0.99, 1)
    said = [f"{milliseconds[min(count - 1, int(count * share))]:.1f}" for share in shares] if count else []
    print(f"{count} appends: p50, p90, p99, max = {', '.join(said)} ms", file=sys.stderr)


async def beside(port: int) -> float:
    """Connects a second, as long as the load lasts."""
    began, connects = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        for transport in await join_all(port, CONNECTS, 10):
            transport.abort()
        connects += CONNECTS
    return connects / (time.perf_counter() - began)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        environment = {"AIOCHAT_STORE__URL": f"sqlite:///{folder}/chat.db", "AIOCHAT_PRESENCE__INTERVAL_MS": "0"}
        command = (sys.executable, "-m", "benchmarks.append", "--serve", *AIOCHAT.command[3:])
        cores = Cores(frozenset(), frozenset())
        with running(AIOCHAT._replace(command=command), cores, environment, show=True) as server:
            url = f"ws://127.0.0.1:{server.port}/ws"
            load = [
                sys.executable,
                "-m",
                "aiochat",
                "loadtest",
                "saturate",
                "--url",
                url,
                "--seconds",
                str(SECONDS + 2),
            ]
            with subprocess.Popen([*load, "--json", "-"], stdout=subprocess.DEVNULL) as process:
                connects = asyncio.run(beside(server.port))
                process.wait()
    print(f"beside them {connects:,.0f} connects a second")
    return 0


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1:2] == ["--serve"] else main())
