"""The medians as one table and as JSON, and for each figure whether it was reached."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

from rich.table import Table

from benchmarks.servers import SERVERS
from benchmarks.workloads import Figure, Medians, Sample, Workload

Samples = Mapping[str, Sequence[Sample]]  # of each server, in one workload
Results = Mapping[str, Samples]  # of each workload
NOT_MEASURED: Final = "-"


def medians(samples: Samples) -> Medians:
    return {server: _median(rounds) for server, rounds in samples.items()}


def _median(rounds: Sequence[Sample]) -> Sample:
    values = {
        key: [value for each in rounds if (value := each.get(key)) is not None] for each in rounds for key in each
    }
    return {key: median(measured) if measured else None for key, measured in values.items()}


def table(workloads: Sequence[Workload], results: Results) -> Table:
    servers = [server for server in SERVERS if any(server.name in samples for samples in results.values())]
    grid = Table(box=None, pad_edge=False)
    grid.add_column("medians of the rounds", no_wrap=True)
    for server in servers:
        grid.add_column(server.title, justify="right", no_wrap=True)
    for workload in workloads:
        if not (found := medians(results.get(workload.name, {}))):
            continue
        grid.add_row(f"[bold]{workload.title}")
        for measure in workload.measures:
            values = [found.get(server.name, {}).get(measure.key) for server in servers]
            if any(value is not None for value in values):
                grid.add_row(f"  {measure.label}", *(_cell(value, measure.shape) for value in values))
    return grid


def _cell(value: float | None, shape: str) -> str:
    if value is None:
        return NOT_MEASURED
    return "never" if value == math.inf else format(value, shape)


def verdicts(workloads: Sequence[Workload], results: Results) -> Iterator[str]:
    for workload in workloads:
        found = medians(results.get(workload.name, {}))
        for figure in workload.figures:
            yield f"{_verdict(figure, found):>12}  {workload.title}: {figure.text}: {_compared(figure, found)}"


def _verdict(figure: Figure, found: Medians) -> str:
    value = figure.value(found)
    if value is None:
        return "not measured"
    return "met" if value <= figure.limit else "missed"


def _compared(figure: Figure, found: Medians) -> str:
    value = figure.value(found)
    return f"at most {_number(figure.limit)}" + ("" if value is None else f", got {_number(value)}")


def _number(value: float) -> str:
    if value == math.inf:
        return "never"
    return f"1/{1 / value:.3g}" if 0 < value < 0.2 else f"{value:.3g}"


def as_json(workloads: Sequence[Workload], results: Results, conditions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **conditions,
        "workloads": {
            workload.name: {
                "title": workload.title,
                "medians": _finite(medians(results.get(workload.name, {}))),
                "rounds": _finite(results.get(workload.name, {})),
                "figures": [_figure(figure, medians(results.get(workload.name, {}))) for figure in workload.figures],
            }
            for workload in workloads
        },
    }


def _figure(figure: Figure, found: Medians) -> dict[str, Any]:
    value = figure.value(found)
    return {"text": figure.text, "limit": figure.limit, "value": _finite(value), "verdict": _verdict(figure, found)}


def _finite(value: Any) -> Any:
    """JSON has no infinity: what never happened is null."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if value == math.inf else value
