"""All that the benchmark has measured, as its JSON file holds it; table, chart and page are made of this alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiochat.loadtest.record import Machine
from benchmarks.figures import Summary, summary, verdict
from benchmarks.servers import SERVERS, Server
from benchmarks.workloads import BY_NAME, WORKLOADS, Workload


class Results(msgspec.Struct, frozen=True):
    """`samples` are of each workload, server and round; a run that failed has none."""

    commands: list[str]
    started: str  # ISO 8601, UTC
    machine: Machine
    meter: str
    pinned: bool
    versions: dict[str, str]  # of each server that was measured
    left_out: dict[str, str]  # why
    samples: dict[str, dict[str, list[dict[str, float | None]]]]

    @property
    def workloads(self) -> list[Workload]:
        """Those with samples, in their order."""
        return [workload for workload in WORKLOADS if any(self.samples.get(workload.name, {}).values())]

    @property
    def servers(self) -> list[Server]:
        measured = {name for samples in self.samples.values() for name in samples}
        return [server for server in SERVERS if server.name in measured]

    def summary(self, workload: Workload) -> Summary:
        return summary(self.samples.get(workload.name, {}))


def write(results: Results, file: Path) -> None:
    """With what follows from the samples, for other programs to read."""
    made = {
        workload.name: {
            "title": workload.title,
            "servers": {
                server: {key: spread._asdict() for key, spread in spreads.items()}
                for server, spreads in results.summary(workload).items()
            },
            "figures": [
                {"text": figure.text, "limit": figure.limit, "value": figure.value(found), "verdict": said}
                for found in [results.summary(workload)]
                for figure in workload.figures
                for said in [verdict(figure, found)]
            ],
        }
        for workload in results.workloads
    }
    file.write_text(json.dumps(msgspec.to_builtins(results) | {"workloads": made}, indent=2) + "\n")


def merged(parts: Sequence[Results]) -> Results:
    """Of runs on one machine; a workload that is in several of them is taken from the last."""
    first = parts[0]
    for other in parts[1:]:
        for name in ("machine", "meter", "pinned"):
            if getattr(other, name) != getattr(first, name):
                raise ValueError(f"these files cannot be put together: they differ in {name}")
    versions = {name: version for part in parts for name, version in part.versions.items()}
    left_out = {name: reason for part in parts for name, reason in part.left_out.items()}
    return msgspec.structs.replace(
        first,
        commands=[command for part in parts for command in part.commands],
        versions=versions,
        left_out={name: reason for name, reason in left_out.items() if name not in versions},
        samples={name: samples for part in parts for name, samples in part.samples.items()},
    )


def read(file: Path) -> Results:
    """ValueError, with one line that says why, if it is not such a file."""
    try:
        results = msgspec.json.decode(file.read_bytes(), type=Results)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"{file} is no result of this benchmark: {error}") from None
    known: dict[str, Any] = {"workload": BY_NAME, "server": {server.name for server in SERVERS}}
    said = {"workload": set(results.samples), "server": {name for each in results.samples.values() for name in each}}
    for kind, names in said.items():
        if unknown := names.difference(known[kind]):
            raise ValueError(f"{file}: there is no {kind} {', '.join(sorted(unknown))}")
    return results
