"""What a hundred normal clients notice of ten attackers: their latency and the server's memory, without and with them.

    .venv/bin/python -m benchmarks.siege      # after `make test`

The attackers of tests/attackers.py, ten processes with an address of their own, yield to the meter (nice 19), which
shares the other core with them: what is measured is the server, not who gets that core.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.attackers import NAMES, besieging
from tests.servers import Server, running

ROOM: Final = "siege"
SECONDS: Final = 15
LOAD: Final = ("broadcast", "--clients", "100", "--processes", "1", "--set", "senders=100", "--set", "rate=100")


async def measured(server: Server, folder: Path) -> dict[str, Any]:
    """A hundred clients in one room, each with a message a second: what `aiochat loadtest` says of it."""
    record = folder / "record.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "loadtest", *LOAD, "--seconds", str(SECONDS)),
        *("--url", server.ws_url.replace("http", "ws", 1), "--quiet", "--json", str(record)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        sys.exit("the load test failed: see above")
    found: dict[str, Any] = json.loads(record.read_text())
    return found


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running() as server:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, {0})
                os.sched_setaffinity(0, set(range(1, os.cpu_count() or 2)) or {0})
            tell("without attackers", await measured(server, Path(folder)))
            before = server.rss_bytes()
            async with besieging(server.port, ROOM, len(NAMES), nice=19) as siege:
                await siege.under_way()
                tell("beside ten attackers", await measured(server, Path(folder)))
            print(f"memory: {(server.peak_bytes() - before) / (1 << 20):.1f} MB more at its peak")


def tell(title: str, record: dict[str, Any]) -> None:
    run = record["rounds"][0]
    latency, outcome = run["latency"], run["outcome"]
    lost = sum(outcome[key] for key in ("lost", "doubled", "out_of_order", "unacknowledged"))
    print(
        f"{title}: p50 {latency['p50']:.1f}, p99 {latency['p99']:.1f}, max {latency['max']:.1f} ms; {lost} lost or out"
        f" of order; server {run['cpu_percent']:.0f} %, meter {run['meter_cpu_percent']:.0f} % of a core"
    )


if __name__ == "__main__":
    asyncio.run(main())
