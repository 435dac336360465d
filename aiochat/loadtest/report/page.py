"""The report as a page: one self-contained HTML file with no script, made of a record alone; page.html frames it."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Final

import msgspec

from aiochat.loadtest.record import Record
from aiochat.loadtest.report import figures, graphs, words
from aiochat.loadtest.report.figures import Figure, middle
from aiochat.loadtest.report.words import plain

_FRAME: Final = Path(__file__).with_name("page.html")
_TILES: Final = (
    ("Clients", figures.CLIENTS),
    ("Delivered", figures.DELIVERED),
    ("Latency, p50", figures.LATENCIES[0]),
    ("Latency, p99", figures.LATENCIES[2]),
    ("Server CPU", figures.CPU),
    ("CPU per delivery", figures.CPU_PER_DELIVERY),
    ("Client memory", figures.CONNECTION),
)


def write(record: Record, path: Path) -> None:
    """Raises OSError."""
    path.write_text(html(record), encoding="utf-8")


def html(record: Record) -> str:
    shown = graphs.typical(record.rounds)
    outcome = words.outcome(record)
    title = record.scenario.get("title") or record.scenario_name
    which = (
        f", in round {shown + 1} of {len(record.rounds)}, whose p99 is in the middle" if len(record.rounds) > 1 else ""
    )
    return Template(_FRAME.read_text(encoding="utf-8")).substitute(
        title=_safe(f"{record.scenario_name} · aiochat load test"),
        name=_safe(record.scenario_name),
        heading=_safe(title),
        server=_safe(words.server(record)),
        started=_safe(record.started[:19].replace("T", " ")),
        look=outcome.look,
        outcome=_safe(outcome.text),
        tiles="\n".join(_tiles(record)),
        told="\n".join(map(_told, words.told(record))),
        over_time=_charts(f"Over time{which}", graphs.over_time(record)),
        distributions=_charts("Distributions", graphs.distributions(record)),
        figures="\n".join(_figures(record)),
        command=_safe(record.command),
        facts="\n".join(_facts(record)),
    )


def _safe(value: object) -> str:
    return escape(plain(value if isinstance(value, str) else msgspec.json.encode(value).decode()))


def _tiles(record: Record) -> Iterator[str]:
    for name, figure in _TILES:
        if found := middle(figure.values(record.rounds)):
            unit = f" <small>{_safe(figure.unit)}</small>" if figure.unit else ""
            yield f"<div><dt>{_safe(name)}</dt><dd>{figures.text(found.median)}{unit}</dd></div>"


def _charts(title: str, drawn: Sequence[str]) -> str:
    if not drawn:
        return ""
    return "\n".join([f"<h2>{title}</h2>", '<div class="charts">', *drawn, "</div>"])


def _told(said: words.Said) -> str:
    details = "".join(f"<li>{_safe(detail)}</li>" for detail in said.details)
    return f'<li class="{said.look}">{_safe(said.text)}{f"<ul>{details}</ul>" if details else ""}</li>'


def _figures(record: Record) -> Iterator[str]:
    several, peer = len(record.rounds) > 1, bool(record.peer_rounds)
    if several or peer:
        heads = [
            f"medians of {len(record.rounds)} rounds" if several else "",
            "aiochat" if record.server.own else "server",
        ]
        heads += [*(["±"] if several else []), "", *(["peer", "ratio"] if peer else [])]
        yield f"<thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>"
    for group in figures.GROUPS:
        if rows := "".join(_row(figure, record) for figure in group):
            yield f"<tbody>{rows}</tbody>"


def _row(figure: Figure, record: Record) -> str:
    ours, peers = middle(figure.values(record.rounds)), middle(figure.values(record.peer_rounds))
    if ours is None:
        return ""
    cells = f"<th>{_safe(figure.label)}</th><td>{figures.text(ours.median)}</td>"
    if len(record.rounds) > 1:
        cells += f'<td class="spread">{ours.percent}</td>'
    cells += f'<td class="unit">{_safe(figure.unit)}</td>'
    if record.peer_rounds:
        cells += (
            f"<td>{figures.text(peers.median)}</td><td>{figures.ratio(ours, peers)}</td>"
            if peers
            else "<td></td><td></td>"
        )
    return f"<tr>{cells}</tr>"


def _facts(record: Record) -> Iterator[str]:
    machine = record.machine
    yield _card(
        "Machine",
        {
            "CPU": machine.cpu,
            "cores": machine.cores,
            "memory": f"{machine.memory_bytes / 1e9:.1f} GB",
            "system": machine.system,
            "processes of the meter": record.processes,
        },
    )
    yield _card("Versions", machine.versions)
    yield _card("Scenario", {key: value for key, value in record.scenario.items() if key != "title"})
    if record.server.settings:
        yield _card("Server settings that differ from the defaults", record.server.settings)


def _card(title: str, facts: Mapping[str, object]) -> str:
    rows = "".join(f"<tr><th>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in facts.items())
    return f'<div class="card"><h3>{_safe(title)}</h3><table>{rows}</table></div>'
