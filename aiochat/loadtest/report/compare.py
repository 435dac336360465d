"""Two load tests beside each other: what is better, what worse, and what no more than noise.

Times of two runs say as much about the machines, and what else ran there, as about the servers: what is compared of
them is the ratio to a peer that was measured in the same run, in turns. Counts and memory are compared as they are.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiochat.loadtest.record import VERSION, Record
from aiochat.loadtest.report import figures
from aiochat.loadtest.report.figures import Figure, middle
from aiochat.loadtest.report.words import plain

Verdict = Literal["better", "worse", "the same", "not comparable"]

LEAST_CHANGE: Final = 0.10  # below it nobody cares
ONE_ROUND_CHANGE: Final = 0.50  # one does not show its noise, and two show little of it: divided by their number
NOISE_WIDTHS: Final = (
    4  # median absolute deviations: of five rounds 1 comparison in 100 is a false alarm, with 3 1 in 60
)
_NO_PEER: Final = (
    "Times are compared where both runs have measured a peer too: --peer, in a scenario such as broadcast."
)
_STYLES: Final = {"better": "green", "worse": "bold red", "the same": "", "not comparable": "dim"}


class IncomparableError(Exception):
    """One line for the user, exit code 2: no such file, not a load test's, other version, other scenario."""


class Change(msgspec.Struct, frozen=True):
    """Of one figure. `old` and `new` are medians, of times those of the ratios to the peer's; noise is their share."""

    label: str
    unit: str
    verdict: Verdict
    old: float
    new: float
    noise: float


class Comparison(msgspec.Struct, frozen=True):
    changes: list[Change]
    with_peer: bool

    @property
    def worse(self) -> list[Change]:
        return [change for change in self.changes if change.verdict == "worse"]


def read(path: Path) -> Record:
    """What `--json` has written, or IncomparableError."""
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise IncomparableError(
                f"{plain(str(path))} is version {version} of the file; this aiochat compares version {VERSION}"
            )
        return msgspec.json.decode(content, type=Record)
    except OSError as error:
        raise IncomparableError(f"{plain(str(path))} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IncomparableError(f"{plain(str(path))} is not what --json writes: {plain(str(error))}") from None


def check(old: Record, scenario: dict[str, object]) -> None:
    """IncomparableError if `old` ran another scenario; its title does not matter."""
    before, after = _as_file(old.scenario), _as_file(scenario)
    for key in sorted((before.keys() | after.keys()) - {"title"}):
        if before.get(key) != after.get(key):
            raise IncomparableError(f"not the same scenario: {key} was {_shown(before, key)}, is {_shown(after, key)}")


def compare(old: Record, new: Record) -> Comparison:
    """Raises IncomparableError if the two ran different scenarios."""
    check(old, new.scenario)
    with_peer = bool(old.peer_rounds and new.peer_rounds)
    return Comparison([*_counts(old, new), *_others(old, new, with_peer)], with_peer)


def show(comparison: Comparison, console: Console) -> None:
    """One line for each figure, and a last one with the verdict."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("compared", no_wrap=True)
    for name in ("before", "now", "change", "noise"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in comparison.changes:
        table.add_row(*_cells(change), Text(change.verdict, _STYLES[change.verdict]))
    console.print(table)
    if not comparison.with_peer:
        console.print(_NO_PEER, soft_wrap=True)
    worse = comparison.worse
    said = (
        f"Worse than before: {'; '.join(change.label for change in worse)}" if worse else "Nothing is worse than before"
    )
    console.print(Text(said, "bold red" if worse else "green"), soft_wrap=True)


class _Version(msgspec.Struct):
    version: int


def _as_file(scenario: dict[str, object]) -> dict[str, object]:
    """A list that was a tuple is no difference."""
    return msgspec.json.decode(msgspec.json.encode(scenario), type=dict[str, object])


def _shown(scenario: dict[str, object], key: str) -> str:
    return plain(msgspec.json.encode(scenario[key]).decode()) if key in scenario else "not there"


def _counts(old: Record, new: Record) -> Iterator[Change]:
    """Means, since rounds may differ in number; from none to one is worse, however little that is."""
    for figure in figures.COUNTS:
        before, after = (sum(figure.values(each.rounds)) / max(len(each.rounds), 1) for each in (old, new))
        if before or after:
            yield _change(figure, [before], [after], LEAST_CHANGE)


def _others(old: Record, new: Record, with_peer: bool) -> Iterator[Change]:
    rounds = min(len(old.rounds), len(new.rounds))
    least = max(LEAST_CHANGE, ONE_ROUND_CHANGE / max(rounds, 1))
    for figure in (figure for group in figures.GROUPS for figure in group):
        before, after = figure.values(old.rounds), figure.values(new.rounds)
        if figure.kind == "memory" and before and after:
            yield _change(figure, before, after, least)
        elif figure.kind == "time" and before and after:
            ratios = _ratios(figure, old), _ratios(figure, new)
            if with_peer and all(ratios):
                yield _change(figure, *ratios, least, unit="x peer")
            else:
                yield _absolute(figure, before, after)


def _ratios(figure: Figure, record: Record) -> list[float]:
    """Round by round: what slowed the machine for a while slowed both."""
    pairs = ((figure.of(ours), figure.of(peer)) for ours, peer in zip(record.rounds, record.peer_rounds, strict=False))
    return [ours / peer for ours, peer in pairs if ours is not None and peer]


def _change(
    figure: Figure, before: Sequence[float], after: Sequence[float], least: float, unit: str | None = None
) -> Change:
    old, new = middle(before), middle(after)
    assert old is not None
    assert new is not None
    noise = max(each.spread / each.median if each.median else 0.0 for each in (old, new)) * NOISE_WIDTHS
    verdict = _verdict(figure, old.median, new.median, max(least, noise))
    return Change(figure.label, figure.unit if unit is None else unit, verdict, old.median, new.median, noise)


def _absolute(figure: Figure, before: Sequence[float], after: Sequence[float]) -> Change:
    changed = _change(figure, before, after, LEAST_CHANGE)
    return msgspec.structs.replace(changed, verdict="not comparable")


def _verdict(figure: Figure, old: float, new: float, least: float) -> Verdict:
    """By the factor between them, so that twice as much and half as much are equally far."""
    low, high = sorted((old, new))
    if low <= 0 and figure.kind != "count":
        return "not comparable"
    if high <= low * (1 + least):
        return "the same"
    return "better" if (new > old) == figure.more_is_better else "worse"


def _cells(change: Change) -> list[str]:
    unit = f", {change.unit}" if change.unit else ""
    percent = f"{change.new / change.old - 1:+.0%}" if change.old else ""
    noise = f"{change.noise:.0%}" if change.noise else ""
    return [f"{change.label}{unit}", figures.text(change.old), figures.text(change.new), percent, noise]
