"""Charts as SVG text, for the report's page and the README: each stands alone, light or dark, without script or links.

Our own, since pygal (tried) puts a script and links into each file and has no colours that follow the reader's scheme.
"""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from aiochat.loadtest.report.axes import Axis, number, percent_place
from aiochat.loadtest.report.words import plain

Points = Sequence[tuple[float, float | None]]  # None leaves a gap
Series = Sequence[tuple[str, Points]]
Bars = Sequence[tuple[str, float | None]]
Placed = Sequence[tuple[str, Sequence[tuple[float, float, float | None]]]]  # (place, what it stands for, value)

_WIDTH: Final = 480
_HEIGHT: Final = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, _WIDTH - 14, 62, _HEIGHT - 42
_SWATCHES: Final = 4
_MAX_HITS: Final = 120  # places that show their values under the pointer
_PERCENTS: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_LOG: Final = ", logarithmic"

_STYLE: Final = """<style>
.chart { --card: #fff; --text: #1d2421; --quiet: #5b6762; --grid: #e3e8e5; --soft: #c3cdc8;
  --s0: #2f6f5e; --s1: #c2611f; --s2: #6a5acd; --s3: #8a9691; font: 13px system-ui, sans-serif; }
@media screen and (prefers-color-scheme: dark) {
  .chart { --card: #1c2220; --text: #e6ebe8; --quiet: #9caaa4; --grid: #2d3633; --soft: #4a5752;
    --s0: #7cc7b0; --s1: #f0a35e; --s2: #aaa0f5; --s3: #76847e; } }
.chart text { fill: var(--quiet); stroke: var(--card); stroke-width: 3px; paint-order: stroke; }
.chart .title { fill: var(--text); font-size: 15px; font-weight: 600; }
.chart .value { fill: var(--text); } .chart .card { fill: var(--card); } .chart .grid { stroke: var(--grid); }
.chart .shade { fill: var(--grid); opacity: .5; } .chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .area { opacity: .13; } .chart .end { text-anchor: end; } .chart .middle { text-anchor: middle; }
.chart .hit rect { fill: transparent; } .chart .hit :not(rect, title) { opacity: 0; }
.chart .hit:hover rect { fill: var(--quiet); opacity: .12; } .chart .hit:hover :not(rect, title) { opacity: 1; }
.chart .soft { fill: var(--soft); } .chart .f0 { fill: var(--s0); } .chart .l0 { stroke: var(--s0); }
.chart .f1 { fill: var(--s1); } .chart .l1 { stroke: var(--s1); } .chart .f2 { fill: var(--s2); }
.chart .l2 { stroke: var(--s2); } .chart .f3 { fill: var(--s3); } .chart .l3 { stroke: var(--s3); }
</style>"""


def lines(title: str, series: Series, unit: str, *, log: bool = False, warmup: float = 0.0) -> str:
    """Over the seconds of a load; the first `warmup` of them are shaded."""
    across = Axis.ending(max((at for _, points in series for at, _ in points), default=0.0), _LEFT, _RIGHT)
    shade = ""
    if warmup > 0:
        width = across.place(warmup) - _LEFT
        shade = _rect("shade", _LEFT, _TOP, width, _BOTTOM - _TOP) + _words(_LEFT + 5, _BOTTOM - 7, "warming up")
    marks = [(across.place(tick), number(tick)) for tick in across.ticks]
    placed = [(name, [(across.place(at), at, value) for at, value in points]) for name, points in series]
    return _plot(title, placed, unit, log, marks, "seconds", shade)


def percentiles(title: str, series: Series, unit: str, *, of: str = "deliveries", log: bool = True) -> str:
    """Over percents of something, on HdrHistogram's axis; a point at 100 has no place on it and is left out."""
    kept = [(name, [point for point in points if 0 <= point[0] < 100]) for name, points in series]
    end = max((percent_place(percent) for _, points in kept for percent, _ in points), default=1.0) or 1.0

    def place(percent: float) -> float:
        return round(_LEFT + percent_place(percent) / end * (_RIGHT - _LEFT), 1)

    marks = [(place(each), f"{each:g}") for each in _PERCENTS if percent_place(each) <= end + 1e-9]
    placed = [(name, [(place(percent), percent, value) for percent, value in points]) for name, points in kept]
    return _plot(title, placed, unit, log, marks, f"% of {of}")


def columns(title: str, values: Sequence[tuple[str, float]], unit: str, across: str) -> str:
    """A histogram: each column with what it counts under it, `across` saying what that is."""
    up = Axis.linear([value for _, value in values], _BOTTOM, _TOP)
    each = (_RIGHT - _LEFT) / max(len(values), 1)
    body = _grid(up)
    for index, (name, value) in enumerate(values):
        left, top = _LEFT + index * each, up.place(value)
        body += _rect("f0", left + each * 0.12, top, each * 0.76, _BOTTOM - top, f"{name}: {number(value)} {unit}")
        body += _words(left + each / 2, top - 5, number(value), "middle value")
        body += _words(left + each / 2, _BOTTOM + 17, name, "middle")
    body += _words(_RIGHT, _HEIGHT - 8, across, "end")
    told = ", ".join(f"{name}: {number(value)}" for name, value in values)
    return _svg(_WIDTH, _HEIGHT, title, f"{unit}, by {across}. {told}", unit, body)


def bars(
    title: str, groups: Sequence[tuple[str, Bars]], unit: str, *, log: bool = False, highlight: str = "aiochat"
) -> str:
    """Horizontal, in groups; the one that is called `highlight` stands out, None is told as not measured."""
    width, row, gap, top = 720, 22, 34, 56
    names = [name for _, members in groups for name, _ in members]
    left = 24 + min(230, 8 * max(map(len, names), default=0))
    values = [value for _, members in groups for _, value in members if value is not None]
    below = [min(filter(None, values), default=1.0) / 2]  # what the shortest bar rises from
    axis = Axis.logarithmic(values + below, left, width - 90) if log else Axis.linear(values, left, width - 90)
    body, y = "", float(top)
    for group, members in groups:
        body += _words(16, y + 20, group, "value")
        y += gap
        for name, value in members:
            body += _bar(name, value, axis, y, unit, "f0" if name == highlight else "soft")
            y += row
    frame = "".join(
        f'<path class="grid" d="M{axis.place(tick)} {top}V{y + 6}"/>'
        + _words(axis.place(tick), y + 22, number(tick), "middle")
        for tick in axis.ticks
    )
    told = "; ".join(
        f"{group}: {', '.join(f'{name} {_told(value)}' for name, value in each)}" for group, each in groups
    )
    return _svg(width, y + 36, title, f"{unit}. {told}", unit + (_LOG if log else ""), frame + body)


def _bar(name: str, value: float | None, axis: Axis, y: float, unit: str, look: str) -> str:
    label = _words(axis.start - 8, y + 14, _short(name), "end" if look == "soft" else "end value")
    if value is None:
        return label + _words(axis.start + 6, y + 14, "not measured")
    length = max(axis.place(value) - axis.start, 1.0)
    bar = _rect(look, axis.start, y + 2, length, 16, f"{name}: {number(value)} {unit}")
    return label + bar + _words(axis.start + length + 6, y + 14, number(value), "value")


def _told(value: float | None) -> str:
    return "not measured" if value is None else number(value)


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"


def _plot(
    title: str, series: Placed, unit: str, log: bool, marks: Iterable[tuple[float, str]], across: str, under: str = ""
) -> str:
    values = [value for _, points in series for _, _, value in points if value is not None]
    up = Axis.logarithmic(values, _BOTTOM, _TOP) if log else Axis.linear(values, _BOTTOM, _TOP)
    body = under + _grid(up)
    for place, text in marks:
        body += f'<path class="grid" d="M{place} {_BOTTOM}v5"/>' + _words(
            place, _BOTTOM + 18, text, "middle" if place < _RIGHT - 15 else "end"
        )
    body += _words(_RIGHT, _HEIGHT - 6, across, "end")
    for index, (_, points) in enumerate(series):
        body += _line(points, up, index % _SWATCHES, area=len(series) == 1 and not log)
    body += _hits(series, up, unit, across) + (_legend([name for name, _ in series]) if len(series) > 1 else "")
    return _svg(_WIDTH, _HEIGHT, title, _range(series, unit, across), unit + (_LOG if log else ""), body)


def _line(points: Sequence[tuple[float, float, float | None]], up: Axis, look: int, *, area: bool) -> str:
    drawn = ""
    for run in _runs([(place, value if value is None else up.place(value)) for place, _, value in points]):
        path = "L".join(f"{x} {y}" for x, y in run)
        if len(run) == 1:
            drawn += f'<circle class="f{look}" cx="{run[0][0]}" cy="{run[0][1]}" r="3"/>'
            continue
        if area:
            drawn += f'<path class="area f{look}" d="M{path}L{run[-1][0]} {_BOTTOM}L{run[0][0]} {_BOTTOM}Z"/>'
        drawn += f'<path class="line l{look}" d="M{path}"/>'
    return drawn


def _runs(points: Iterable[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Without the gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _hits(series: Placed, up: Axis, unit: str, across: str) -> str:
    """Strips over the plot: each shows the values of its place, in a browser's own way."""
    found: dict[float, list[tuple[int, str, float, float]]] = {}
    for index, (name, points) in enumerate(series):
        for place, at, value in points:
            if value is not None:
                found.setdefault(place, []).append((index % _SWATCHES, name, at, value))
    places = sorted(found)
    places = places[:: len(places) // _MAX_HITS + 1]
    edges = [_LEFT, *((a + b) / 2 for a, b in pairwise(places)), _RIGHT]
    strips = ""
    for place, (left, right) in zip(places, pairwise(edges), strict=False):
        said = "\n".join(f"{name} {number(value)} {unit}" for _, name, _, value in found[place])
        dots = "".join(
            f'<circle class="f{look}" cx="{place}" cy="{up.place(value)}" r="3.5"/>'
            for look, _, _, value in found[place]
        )
        head = f"<title>{_safe(f'{found[place][0][2]:g} {across}')}\n{_safe(said)}</title>"
        strips += f'<g class="hit">{head}{_rect("", left, _TOP, right - left, _BOTTOM - _TOP)}{dots}</g>'
    return strips


def _grid(up: Axis) -> str:
    return "".join(
        f'<path class="grid" d="M{_LEFT} {up.place(tick)}H{_RIGHT}"/>'
        + _words(_LEFT - 7, up.place(tick) + 4, number(tick), "end")
        for tick in up.ticks
    )


def _legend(names: Sequence[str]) -> str:
    drawn, x = "", float(_RIGHT)
    for index, name in reversed(list(enumerate(names))):
        x -= 8 * len(_short(name))
        drawn += _words(x, 44, _short(name)) + _rect(f"f{index % _SWATCHES}", x - 16, 34, 11, 11)
        x -= 28
    return drawn


def _range(series: Placed, unit: str, across: str) -> str:
    """For who cannot see the lines."""
    told = []
    for name, points in series:
        values = [value for _, _, value in points if value is not None]
        told.append(f"{name} from {number(min(values))} to {number(max(values))}" if values else f"{name}: no values")
    return f"{unit}, by {across}. " + "; ".join(told)


def _rect(look: str, x: float, y: float, width: float, height: float, said: str = "") -> str:
    shape = f'<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f"{shape}><title>{_safe(said)}</title></rect>" if said else f"{shape}/>"


def _words(x: float, y: float, text: str, look: str = "") -> str:
    return f'<text class="{look}" x="{x:.1f}" y="{y:.1f}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    return "\n".join(escape(plain(line)) for line in text.split("\n"))


def _svg(width: float, height: float, title: str, said: str, unit: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img"><title>{_safe(title)}</title><desc>{_safe(said)}</desc>{_STYLE}'
        f'<rect class="card" width="100%" height="100%" rx="8"/>{_words(16, 26, title, "title")}'
        f"{_words(16, 44, unit)}{body}</svg>"
    )
