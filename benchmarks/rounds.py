"""All runs of the benchmark, in interleaved rounds; what they gave, and which servers were left out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aiochat.loadtest.report.words import plain
from benchmarks.figures import Sample
from benchmarks.meters import MeterError
from benchmarks.runs import Bench
from benchmarks.servers import CannotStartError, Server
from benchmarks.workloads import Workload


class Run(NamedTuple):
    workload: Workload
    server: Server
    number: int


class Rounds:
    """`samples` and `left_out` may be read at any time, also after Ctrl-C."""

    def __init__(
        self, console: Console, bench: Bench, workloads: Sequence[Workload], servers: Sequence[Server]
    ) -> None:
        self.console, self.bench, self.workloads = console, bench, workloads
        self.servers = list(servers)
        self.left_out: dict[str, str] = {}
        self.samples: defaultdict[str, defaultdict[str, list[dict[str, float | None]]]]
        self.samples = defaultdict(lambda: defaultdict(list))

    def run(self, rounds: int) -> None:
        for server in list(self.servers):
            if reason := server.parts.missing():
                self._leave_out(server, reason)
        runs = list(self._runs(rounds))
        columns = (
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=len(runs))
            for done, run in enumerate(runs):
                if not self.console.is_terminal:
                    self.console.print(f"{done + 1} of {len(runs)}: {run.workload.name}, {run.server.title}")
                progress.update(task, description=f"{run.workload.name}: {run.server.title}")
                self._one(run)
                progress.advance(task)

    def versions(self) -> Mapping[str, str]:
        measured = {name for samples in self.samples.values() for name in samples}
        return {server.name: server.parts.version() for server in self.servers if server.name in measured}

    def _runs(self, rounds: int) -> Iterator[Run]:
        """Server by server within a round, so that what else the machine does meets all alike."""
        for workload in self.workloads:
            for number in range(rounds):
                for server in self.servers:
                    if workload.is_for(server.name):
                        yield Run(workload, server, number)

    def _one(self, run: Run) -> None:
        if run.server not in self.servers:
            return
        try:
            sample: Sample = self.bench.sample(*run)
            self.samples[run.workload.name][run.server.name].append(dict(sample))
        except CannotStartError as error:
            self._leave_out(run.server, str(error))
        except MeterError as error:
            self.console.print(
                f"{run.server.title}, {run.workload.name}: no figures: {plain(str(error))}", markup=False
            )

    def _leave_out(self, server: Server, reason: str) -> None:
        self.servers.remove(server)
        self.left_out[server.name] = reason
        self.console.print(f"{server.title} is left out: {plain(reason)}", markup=False)
