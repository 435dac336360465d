"""The medians as tables for a terminal, and for each figure whether it was reached."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, Group
from rich.table import Table

from benchmarks.figures import Figure, Measure, Spread, Summary, verdict
from benchmarks.results import Results
from benchmarks.workloads import Workload

NOT_MEASURED: Final = "-"


def grid(results: Results, workload: Workload) -> tuple[list[str], list[list[str]]]:
    """A heading and a row for each server: the median and, where they differ, the lowest and highest of the rounds."""
    found = results.summary(workload)
    measures = [each for each in workload.measures if any(each.key in spreads for spreads in found.values())]
    rows = [
        [server.title, *(cell(found[server.name].get(measure.key), measure) for measure in measures)]
        for server in results.servers
        if found.get(server.name)
    ]
    return ["", *(measure.label for measure in measures)], rows


def cell(spread: Spread | None, measure: Measure) -> str:
    if spread is None:
        return NOT_MEASURED
    middle, low, high = (format(value, measure.shape) for value in spread)
    return middle if low == high else f"{middle} ({low}–{high})"


def show(results: Results, console: Console) -> None:
    console.print(Group(*(_table(results, workload) for workload in results.workloads)))
    for workload in results.workloads:
        for line in verdicts(workload, results.summary(workload)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(results: Results, workload: Workload) -> Table:
    heading, rows = grid(results, workload)
    table = Table(
        title=f"{workload.name}: {workload.title}", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for index, label in enumerate(heading):
        table.add_column(label, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def verdicts(workload: Workload, found: Summary) -> Iterator[str]:
    for figure in workload.figures:
        yield f"{verdict(figure, found):>12}  {workload.name}: {compared(figure, found)}"


def compared(figure: Figure, found: Summary) -> str:
    value = figure.value(found)
    got = "" if value is None else f", got {_number(value)}"
    return f"{figure.text}: at most {_number(figure.limit)}{got}"


def _number(value: float) -> str:
    return f"1/{1 / value:.3g}" if 0 < value < 0.2 else f"{value:.3g}"


def listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
