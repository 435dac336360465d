"""The report on the terminal: a table of the figures, what was wrong in plain words, and the outcome."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiochat.loadtest.record import Record
from aiochat.loadtest.report import figures, words
from aiochat.loadtest.report.figures import Figure, middle

_STYLES: Final = {"good": "green", "bad": "bold red", "warning": "yellow", "note": "default"}
_MARKS: Final = {"good": "✔", "bad": "✘", "warning": "!", "note": "·"}


def show(record: Record, console: Console) -> None:
    """What does not apply is not shown; with several rounds the medians and their spread, and the peer beside them."""
    console.print(_heading(record))
    console.print(_table(record))
    console.print()
    for line in words.told(record):
        _say(console, line)
    if settings := words.settings(record):
        _say(console, words.Said("note", f"The server's settings that differ from the defaults: {settings}"))
    _say(console, words.outcome(record))


def _say(console: Console, said: words.Said) -> None:
    """The second line of a long one stands under the first."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(_MARKS[said.look], _STYLES[said.look]), Text(said.text, _STYLES[said.look]))
    if said.details:
        details = Table.grid(padding=(0, 1))
        for detail in said.details:
            details.add_row("-", Text(detail))
        grid.add_row("", details)
    console.print(grid)


def _heading(record: Record) -> Text:
    title = record.scenario.get("title")
    heading = Text(words.plain(record.scenario_name), "bold")
    if isinstance(title, str) and title:
        heading.append(f"  {words.plain(title)}", "default")
    return heading.append(f"\n{words.server(record)}\n", "dim")


def _table(record: Record) -> Table:
    rounds = len(record.rounds)
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=rounds > 1 or bool(record.peer_rounds))
    table.add_column(f"medians of {rounds} rounds" if rounds > 1 else "", no_wrap=True)
    table.add_column("aiochat" if record.peer_rounds else "", justify="right", no_wrap=True)
    if rounds > 1:
        table.add_column("±", justify="right", style="dim", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    if record.peer_rounds:
        table.add_column("peer", justify="right", no_wrap=True)
        table.add_column("ratio", justify="right", no_wrap=True)
    for row in _rows(record):
        table.add_row(*row)
    return table


def _rows(record: Record) -> Iterator[list[str]]:
    for index, group in enumerate(figures.GROUPS):
        rows = [row for figure in group if (row := _row(figure, record))]
        if index and rows:
            yield []
        yield from rows


def _row(figure: Figure, record: Record) -> list[str]:
    ours, peers = middle(figure.values(record.rounds)), middle(figure.values(record.peer_rounds))
    if ours is None:
        return []
    row = [figure.label, figures.text(ours.median)]
    if len(record.rounds) > 1:
        row.append(ours.percent)
    row.append(figure.unit)
    if peers:
        row += [figures.text(peers.median), figures.ratio(ours, peers)]
    return row
