"""docs/benchmarks.md and its chart, made whole from the results; nothing in them is written by hand."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from aiochat.loadtest.report.charts import bars
from aiochat.loadtest.report.words import plain
from benchmarks.compared import words
from benchmarks.figures import CPU, verdict
from benchmarks.report import compared, grid
from benchmarks.results import Results
from benchmarks.servers import AIOCHAT, FLOOR, SERVERS
from benchmarks.workloads import BY_NAME, Workload

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs"
CHARTED: Final = ("chat", "json")
TITLES: Final = {server.name: server.title for server in SERVERS}


def write_docs(results: Results, folder: Path) -> None:
    (folder / "benchmarks.md").write_text(page(results), encoding="utf-8")
    (folder / "benchmarks.svg").write_text(chart(results), encoding="utf-8")


def chart(results: Results) -> str:
    groups = [(workload.scenario().title, _bars(results, workload)) for workload in map(BY_NAME.__getitem__, CHARTED)]
    return bars(
        "CPU of the server for each message delivered",
        [group for group in groups if group[1]],
        "µs",
        log=True,
        highlight=AIOCHAT.title,
    )


def _bars(results: Results, workload: Workload) -> list[tuple[str, float]]:
    """The shortest first. The floor would need explaining where the chart stands alone."""
    found = results.summary(workload)
    measured = {name: spreads[CPU].median for name, spreads in found.items() if CPU in spreads and name != FLOOR.name}
    return [(TITLES[name], value) for name, value in sorted(measured.items(), key=lambda item: item[1])]


def page(results: Results) -> str:
    return "\n".join([*_head(results), *_words(results), *_tables(results), *_versions(results)]) + "\n"


def _head(results: Results) -> Iterator[str]:
    machine, rounds = results.machine, _rounds(results)
    alone = "each server alone on one core, the meter on the others" if results.pinned else "nothing pinned to a core"
    yield "<!-- Written by `make bench ARGS=--docs`; benchmarks/docs.py is where to change it. -->"
    yield "# aiochat beside its peers"
    yield ""
    yield f"Measured on {results.started[:10]}, {alone}, with"
    yield ""
    yield from (f"    {plain(command)}" for command in results.commands)
    yield ""
    yield f"The machine: {_safe(machine.cpu)}, {machine.cores} cores,"
    yield f"{machine.memory_bytes / 1e9:.0f} GB, {_safe(machine.system)}."
    yield f"Medians of {rounds} interleaved rounds; where they differ, the lowest and the highest stand behind them."
    yield "Compare along a table, not with figures from elsewhere. What each server does, and each workload, is told in"
    yield "[benchmarks/README.md](../benchmarks/README.md)."
    yield ""
    yield "![CPU of the server for each message delivered, aiochat and its peers](benchmarks.svg)"


def _rounds(results: Results) -> str:
    counts = {len(rounds) for samples in results.samples.values() for rounds in samples.values()}
    return str(min(counts)) if len(counts) == 1 else f"{min(counts, default=0)} to {max(counts, default=0)}"


def _words(results: Results) -> Iterator[str]:
    said = words(results)
    yield from _list(
        "Where a peer is better",
        "All rounds of the peers named were better than all of aiochat's. A star: it did not deliver everything.",
        said.peers_better,
    )
    yield from _list("Where aiochat is better than every peer", "", said.ours_best)
    yield from _list("Too close to call", "The ranges of the rounds overlap.", said.too_close)
    yield from _list("What was lost, late or dropped", "", said.not_delivered)
    yield from _list(
        "Where the meter was busy",
        "Its busiest process took most of a core: these servers may have been faster than the figures say.",
        said.meter_busy,
    )


def _list(heading: str, explained: str, lines: Sequence[str]) -> Iterator[str]:
    yield from ("", f"## {heading}", "")
    if lines and explained:
        yield from (explained, "")
    yield from (f"- {line}" for line in lines or ["nothing"])


def _tables(results: Results) -> Iterator[str]:
    for workload in results.workloads:
        heading, rows = grid(results, workload)
        yield from ("", f"## `{workload.name}`: {workload.title}", "")
        yield f"| {' | '.join(heading)} |"
        yield "|---" + "|---:" * (len(heading) - 1) + "|"
        yield from (_row(row) for row in rows)
        yield from _figures(results, workload)


def _row(cells: Sequence[str]) -> str:
    bold = cells[0] == AIOCHAT.title
    return "| " + " | ".join(f"**{each}**" if bold else each for each in cells) + " |"


def _figures(results: Results, workload: Workload) -> Iterator[str]:
    found = results.summary(workload)
    if workload.figures:
        yield from ("", "What aiochat has to reach:", "")
    yield from (f"- {verdict(figure, found)}: {compared(figure, found)}" for figure in workload.figures)


def _versions(results: Results) -> Iterator[str]:
    yield from ("", "## Versions", "", "| | |", "|---|---|")
    yield from (f"| {TITLES[name]} | {version} |" for name, version in results.versions.items())
    yield from (f"| {TITLES[name]} | left out: {_safe(reason)} |" for name, reason in results.left_out.items())
    yield f"| the meter | {'aiochat loadtest' if results.meter == 'aiochat' else results.meter} |"


def _safe(text: str) -> str:
    """What this machine, or a server's last line, says."""
    return escape(plain(text)).replace("|", "&#124;")
