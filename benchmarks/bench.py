"""Runs aiochat and its peers side by side, in interleaved rounds, and prints one table (`make bench`)."""

import argparse
import contextlib
import json
import platform
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.meters import Aiochat, MeterError, Wsload
from benchmarks.report import as_json, table, verdicts
from benchmarks.runs import Bench
from benchmarks.servers import AIOCHAT, SERVERS, CannotStartError, Cores, Server
from benchmarks.workloads import WORKLOADS, Sample, Workload

TABLE_WIDTH: Final = 120  # a narrower terminal breaks the lines of the table


def main() -> int:
    arguments = _arguments()
    _raise_file_limit()
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    meter = Wsload(arguments.wsload) if arguments.wsload else Aiochat()
    bench = Bench(meter, Cores.of_this_machine(), arguments.seconds)
    if not bench.cores.server:
        console.print(
            "Server and meter are not pinned to a core each (this system can't, or has one): figures vary more."
        )
    rounds = Rounds(console, bench, [each for each in WORKLOADS if each.name in arguments.only], arguments.servers)
    with contextlib.suppress(KeyboardInterrupt):  # and shows what there is by then
        rounds.run(arguments.rounds)
    rounds.show()
    if arguments.json:
        conditions = {"meter": arguments.meter, "pinned": bool(bench.cores.server), "python": platform.python_version()}
        arguments.json.write_text(json.dumps(as_json(rounds.workloads, rounds.results, conditions), indent=2) + "\n")
    return 0


class Run(NamedTuple):
    workload: Workload
    server: Server
    number: int


class Rounds:
    """All runs of the benchmark, what they gave, and which servers were left out."""

    def __init__(self, console: Console, bench: Bench, workloads: Sequence[Workload], servers: Sequence[str]) -> None:
        self.console, self.bench, self.workloads = console, bench, workloads
        self.servers = [server for server in SERVERS if server.name in servers]
        self.results: defaultdict[str, defaultdict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))

    def run(self, rounds: int) -> None:
        for server in list(self.servers):
            if reason := server.missing():
                self._leave_out(server, reason)
        runs = list(self._runs(rounds))
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=len(runs))
            for run in runs:
                progress.update(task, description=f"{run.workload.title}: {run.server.title}")
                self._one(run)
                progress.advance(task)

    def _runs(self, rounds: int) -> Iterator[Run]:
        """Server by server within a round, so that what else the machine does meets all alike."""
        for workload in self.workloads:
            for number in range(workload.rounds or rounds):
                for server in self.servers:
                    if server is AIOCHAT or not workload.ours_alone:
                        yield Run(workload, server, number)

    def _one(self, run: Run) -> None:
        if run.server not in self.servers:
            return
        try:
            sample = self.bench.sample(*run)
            self.results[run.workload.name][run.server.name].append(sample)
        except CannotStartError as error:
            self._leave_out(run.server, str(error))
        except MeterError as error:
            self.console.print(f"{run.server.title}, {run.workload.title}: no figures: {error}", markup=False)

    def _leave_out(self, server: Server, reason: str) -> None:
        self.servers.remove(server)
        self.console.print(f"{server.title} is left out: {reason}", markup=False)

    def show(self) -> None:
        self.console.print(table(self.workloads, self.results))
        for verdict in verdicts(self.workloads, self.results):
            self.console.print(verdict, markup=False, highlight=False, soft_wrap=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__)
    add = parser.add_argument
    for flag, known in (("--only", [each.name for each in WORKLOADS]), ("--servers", [each.name for each in SERVERS])):
        add(flag, metavar="NAME,...", type=_names(known), default=known, help=f"of {', '.join(known)}; default: all")
    add("--rounds", metavar="N", type=int, default=3, help="of each workload but the slow one; default: %(default)s")
    add("--seconds", metavar="S", type=float, default=3, help="of each run; default: %(default)s")
    add("--meter", choices=("aiochat", "wsload"), default="aiochat", help="default: %(default)s")
    add("--wsload", metavar="PROGRAM", type=Path, help="the compiled wsload, for --meter wsload")
    add("--json", metavar="FILE", type=Path, help="write all that was measured to a file, too")
    arguments = parser.parse_args()
    if (arguments.meter == "wsload") != bool(arguments.wsload):
        parser.error("--meter wsload and --wsload PROGRAM go together")
    return arguments


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        if unknown := set(given := text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; it takes {', '.join(known)}")
        return given

    return names


def _raise_file_limit() -> None:
    """The servers and the meter inherit it; the default of many systems is 1024 connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS: "unlimited", but not for the asking
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
