"""What one sees while a load test runs: how far it is, and the newest second. Nothing where nobody looks."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiochat.loadtest.record import Second
from aiochat.loadtest.report.axes import number
from aiochat.loadtest.report.figures import text as digits
from aiochat.loadtest.report.words import plain

_KEPT_SECONDS: Final = 24  # as many as a sparkline has places
_REDRAW_SECONDS: Final = 0.1  # no eye sees more, and connecting tells thousands of steps
_BAR_WIDTH: Final = 50
_WORDS_WIDTH: Final = 33
_LEVELS: Final = "▁▂▃▄▅▆▇█"


def _latency(second: Second) -> str:
    parts = (("p50", second.p50_ms), ("p99", second.p99_ms), ("max", second.max_ms))
    return "  ".join(f"{name} {number(value)}" for name, value in parts if value is not None) + " ms"


def _part(value: float | None, unit: str, scale: float = 1.0) -> str:
    return "" if value is None else f"{digits(value / scale)} {unit}"


Value = Callable[[Second], float | None]
# What a row is called, which value its line draws, and what it says of the newest second.
_ROWS: Final[tuple[tuple[str, Value, Callable[[Second], str]], ...]] = (
    ("sent", lambda second: second.sent, lambda second: f"{second.sent:,.0f} /s"),
    ("delivered", lambda second: second.delivered, lambda second: f"{second.delivered:,.0f} /s"),
    ("latency", lambda second: second.p99_ms, _latency),
    ("server CPU", lambda second: second.server_cpu_percent, lambda second: _part(second.server_cpu_percent, "%")),
    (
        "server memory",
        lambda second: second.server_memory_bytes,
        lambda second: _part(second.server_memory_bytes, "MB", 1e6),
    ),
    ("connected", lambda second: second.connected, lambda second: f"{second.connected:,}"),
    ("dropped", lambda second: second.dropped, lambda second: f"{second.dropped:,}"),
    ("meter CPU", lambda second: second.meter_cpu_percent, lambda second: f"{second.meter_cpu_percent:.0f} %"),
)


class View:
    """Shown on a terminal alone (usually `Console(stderr=True)`), and gone when it ends.

    It draws when it is told something and has no thread of its own, so the meter is not disturbed between.
    """

    def __init__(self, title: str, console: Console, *, quiet: bool = False) -> None:
        self._title = plain(title)
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._shown = console.is_terminal and not console.is_dumb_terminal and not quiet
        self._stage = ("starting", 0.0, 0.0)
        self._seconds: deque[Second] = deque(maxlen=_KEPT_SECONDS)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._shown:
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def stage(self, text: str, done: float, total: float) -> None:
        """What is done now, as "connecting", and how much of it; 0 of 0 where nobody knows."""
        is_new = text != self._stage[0]
        self._stage = (text, done, total)
        if is_new or done >= total or time.monotonic() >= self._drawn + _REDRAW_SECONDS:
            self._draw()

    def second(self, second: Second) -> None:
        """The newest second of the load; those of a round before it are forgotten."""
        if self._seconds and second.at <= self._seconds[-1].at:
            self._seconds.clear()
        self._seconds.append(second)
        self._draw()

    def _draw(self) -> None:
        if self._shown:
            self._drawn = time.monotonic()
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        text, done, total = self._stage
        count = f"{done:,.0f} of {total:,.0f}" if total else ""
        stage = Text.assemble((self._title, "bold"), ": ", plain(text), no_wrap=True, overflow="ellipsis")
        bar = Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total or 1, done, width=_BAR_WIDTH), Text(count))
        return Group(stage, bar, self._panel()) if self._seconds else Group(stage, bar)

    def _panel(self) -> Panel:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", width=13)
        rows.add_column(width=_KEPT_SECONDS, style="cyan")
        rows.add_column(no_wrap=True, width=_WORDS_WIDTH)  # as wide as it gets, so that nothing jumps
        newest = self._seconds[-1]
        for name, value, said in _ROWS:
            if value(newest) is not None:
                style = "bold red" if name == "dropped" and newest.dropped else ""
                rows.add_row(name, sparkline(map(value, self._seconds)), Text(said(newest), style))
        return Panel(rows, expand=False, border_style="dim")


def sparkline(values: Iterable[float | None]) -> str:
    """From 0, so that what hardly moves looks as if it hardly moves; a gap where nothing was measured."""
    drawn = list(values)
    highest = max((value for value in drawn if value is not None), default=0.0) or 1.0
    steps = len(_LEVELS) - 1
    return "".join(" " if value is None else _LEVELS[round(max(value, 0.0) / highest * steps)] for value in drawn)
