"""The load test's report as a page, and its charts: complete in itself, for everybody's eyes, nobody's markup."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.loadtest.record import Machine, Outcome, Record, Server, Violation
from aiochat.loadtest.report import charts, graphs, page
from aiochat.loadtest.report.axes import Axis, number, percent_place
from aiochat.loadtest.report.words import plain
from tests.browser import People, needs_chromium
from tests.hostile import TEXTS
from tests.records import FAULTY, latency, measured, record, timeline

SVG = "{http://www.w3.org/2000/svg}"
VALUE = st.floats(0, 1e12)
NAME = st.text(max_size=40)


def _texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter(f"{SVG}text")]


def _saying(texts: Sequence[str]) -> Record:
    """With all of these wherever a server, a user or the machine has its say."""
    text = " ".join(texts)
    outcome = Outcome(
        lost=1, errors=1, first_error=text, violations=[Violation("lost", 1, text, 1, (1, 1))], dropped={4000: 1}
    )
    faulty = measured(outcome=outcome, ended_early=text)
    numbered = {f"{index} {each}": each for index, each in enumerate(texts)}
    return Record(
        scenario_name=text,
        scenario={"title": text, "codec": text, "rooms": [numbered], **numbered},
        command=text,
        started=text,
        machine=Machine(text, 1, 1, text, numbered),
        server=Server(text, own=False, pinned=False, settings=numbered),
        rounds=[faulty, faulty],
        peer_rounds=[faulty],
    )


@given(st.lists(VALUE, min_size=1), st.booleans())
def test_an_axis_has_room_for_all_values_and_keeps_their_order(values: list[float], log: bool) -> None:
    """Nothing is drawn outside, more is never drawn below less, and the ends are not beside the ticks' range."""
    axis = (Axis.logarithmic if log else Axis.linear)(values, 0, 100)
    assert axis.high >= max(values)
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    assert all(axis.low <= tick <= axis.high * (1 + 1e-9) for tick in axis.ticks)
    assert 2 <= len(axis.ticks) <= 40


def test_an_axis_has_ticks_that_people_expect() -> None:
    """A linear one begins at 0; a logarithmic one has powers of ten, and 2 and 5 where there are few of those."""
    assert Axis.linear([87.0], 0, 100).ticks == (0, 50, 100)
    assert Axis.logarithmic([0.4, 87.0, 4000], 0, 100).ticks == (0.1, 1, 10, 100, 1000)
    assert Axis.logarithmic([3.0, 40.0], 0, 100).ticks == (1, 2, 5, 10, 20, 50)


def test_numbers_are_short() -> None:
    """Three digits of any size fit beside an axis."""
    shown = [number(value) for value in (0, 0.01239, 3.456, 98.76, 1234, 12_345, 999_700, 2.5e9)]
    assert shown == ["0", "0.0124", "3.46", "98.8", "1,234", "12.3k", "1M", "2,500M"]


def test_each_nine_takes_as_much_room_as_the_one_before() -> None:
    """From 90 to 99 percent as far as from 99 to 99.9: where the slow ones are there is something to see."""
    assert percent_place(0) == 0
    steps = [percent_place(after) - percent_place(before) for before, after in ((90, 99), (99, 99.9), (99.9, 99.99))]
    assert steps == pytest.approx([1, 1, 1])


@given(NAME, st.lists(st.tuples(NAME, st.none() | VALUE), max_size=8), st.booleans())
def test_a_chart_is_well_formed_whatever_it_is_told(
    text: str, values: list[tuple[str, float | None]], log: bool
) -> None:
    """Any name and any value, none and gaps: an image of its own that any reader can parse."""
    points = [(float(at), value) for at, (_, value) in enumerate(values)]
    measured_values = [(name, value) for name, value in values if value is not None]
    for svg in (
        charts.lines(text, [(text, points), ("other", points)], text, log=log),
        charts.percentiles(text, [(text, points)], text, log=log),
        charts.columns(text, measured_values, text, text),
        charts.bars(text, [(text, values)], text, log=log),
    ):
        root = ET.fromstring(svg)
        assert {each.tag.removeprefix(SVG) for each in root} >= {"title", "desc", "style", "text"}
        assert "nan" not in svg
        assert "inf" not in {value for each in root.iter() for value in each.attrib.values()}


def test_a_chart_is_complete_in_itself() -> None:
    """No script, no link, no font from elsewhere; its colours follow the reader's scheme."""
    svg = charts.lines("Latency", [("p99", [(1.0, 2.0), (2.0, None), (3.0, 4.0)])], "ms")
    assert svg.count("http") == svg.count('xmlns="http://www.w3.org/2000/svg"') == 1
    assert "<script" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert svg.count('class="line l0"') == 0  # on both sides of the gap there is but a point
    assert svg.count('r="3"') == 2


def test_a_chart_says_in_words_what_it_shows() -> None:
    """Who cannot see the lines hears from where to where they go."""
    svg = charts.lines("Latency", [("p99", [(1.0, 2.0), (2.0, 40.5)]), ("max", [(1.0, None)])], "milliseconds")
    described = ET.fromstring(svg).findtext(f"{SVG}desc")
    assert described == "milliseconds, by seconds. p99 from 2 to 40.5; max: no values"


def test_bars_stand_out_beside_their_peers_and_say_what_was_not_measured() -> None:
    """One colour for ours, a quiet one for all others, and words where there is no bar."""
    svg = charts.bars("CPU", [("chat", [("aiochat", 0.3), ("ws (Node)", 3.1), ("nchan", None)])], "µs", log=True)
    root = ET.fromstring(svg)
    looks = {each.findtext(f"{SVG}title"): each.get("class") for each in root.iter(f"{SVG}rect")}
    assert looks["aiochat: 0.3 µs"] == "f0"
    assert looks["ws (Node): 3.1 µs"] == "soft"
    assert {"not measured", "µs, logarithmic", "0.3", "3.1"} <= set(_texts(svg))


def test_bars_are_as_long_as_their_values() -> None:
    """On a linear axis, twice as much is twice as long."""
    svg = charts.bars("CPU", [("chat", [("a", 10.0), ("b", 20.0)])], "µs")
    widths = [float(each.get("width", "")) for each in ET.fromstring(svg).iter(f"{SVG}rect") if len(each)]
    assert widths[1] == pytest.approx(2 * widths[0])


def _titles(drawn: Sequence[str]) -> list[str]:
    return [ET.fromstring(svg).findtext(f"{SVG}title") or "" for svg in drawn]


def test_only_what_was_measured_is_drawn() -> None:
    """Of a server elsewhere no memory, of an idle one no latency, of clients that all stay neither how many nor who."""
    drawn = ["Latency", "Delivered", "Sent", "CPU", "Server memory", "Lag of the meter"]
    assert _titles(graphs.over_time(record())) == drawn
    bare = timeline(3, p50_ms=None, p99_ms=None, max_ms=None, server_cpu_percent=None, server_memory_bytes=None)
    assert _titles(graphs.over_time(record(measured(timeline=bare)))) == [
        "Delivered",
        "Sent",
        "CPU",
        "Lag of the meter",
    ]
    moving = timeline(3) + timeline(5, connected=900)[3:]
    assert _titles(graphs.over_time(record(measured(timeline=moving))))[-1] == "Connected"
    assert _titles(graphs.over_time(record(measured(timeline=timeline(3, dropped=1)))))[-1] == "Dropped"
    assert _titles(graphs.distributions(record(measured(p99=None, batches=[])))) == []
    back = Outcome(resume_ms=latency(3.0), newcomer_ms=latency(4.0))
    assert len(graphs.distributions(record(measured(outcome=back)))) == 4
    assert graphs.over_time(record(measured(timeline=[]))) == []


def test_of_several_rounds_the_typical_one_is_drawn() -> None:
    """That whose p99 is the median, and the page says which."""
    rounds = [measured(p99=p99) for p99 in (30.0, 10.0, 20.0)]
    assert graphs.typical(rounds) == 2
    assert "in round 3 of 3" in page.html(record(*rounds))


@needs_chromium
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_is_complete_in_itself_light_and_dark_wide_and_narrow(people: People, tmp_path: Path) -> None:
    """It asks nobody for anything and runs no script, its colours follow the reader's, and a phone shows it whole."""
    file = tmp_path / "report.html"
    back = measured(outcome=Outcome(cuts=3, resumed=3, resume_ms=latency(9.0)))
    page.write(record(*[back] * 3, peers=[measured()] * 3), file)
    asked: list[str] = []
    colours = set()
    for scheme, width in (("light", 1200), ("dark", 360)):
        shown = await people.blank("", color_scheme=scheme, viewport={"width": width, "height": 800})
        shown.on("request", lambda request: asked.append(request.url))
        await shown.goto(file.as_uri())
        assert await shown.locator("svg.chart").count() == 9
        assert await shown.evaluate("document.documentElement.scrollWidth") <= width
        for part in ("body", ".chart .card", ".chart .title"):
            style = "node => getComputedStyle(node).backgroundColor + getComputedStyle(node).fill"
            colours.add(await shown.locator(part).first.evaluate(style))
    assert set(asked) == {file.as_uri()}
    assert len(colours) == 6
    assert "<script" not in file.read_text(encoding="utf-8")


@needs_chromium
@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_from_outside_becomes_markup_of_the_page(people: People, tmp_path: Path) -> None:
    """What servers, rooms, scenarios and machines are called is shown as text: no element is more for it."""
    file = tmp_path / "report.html"
    shown = await people.blank("")
    counts = []
    for texts in (["harmless"] * len(TEXTS), list(TEXTS)):
        page.write(_saying(texts), file)
        await shown.goto(file.as_uri())
        counts.append(await shown.evaluate("document.querySelectorAll('*').length"))
    assert counts[0] == counts[1]
    assert await shown.locator("script, img, iframe, a, form, base, link").count() == 0
    said = await shown.locator("body").text_content() or ""
    assert [text for text in TEXTS if plain(text) not in said] == []


@needs_chromium
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_says_what_was_wrong_and_how_it_was_measured(people: People, tmp_path: Path) -> None:
    """The outcome, each violation, the machine and the command, all in text that one can copy."""
    file = tmp_path / "report.html"
    page.write(record(measured(outcome=FAULTY)), file)
    shown = await people.blank("")
    await shown.goto(file.as_uri())
    text = await shown.inner_text("body")
    assert await shown.locator(".outcome.bad").count() == 1
    for part in (
        "Not well: 13 lost",
        "receiver 17 in room room-3 did not get messages 100 to 112 of sender 5 (offsets 2,001 to 2,013)",
        "aiochat loadtest chat --seconds 10",
        "2026-11-23 02:58:11 UTC",
        "A CPU",
        "3.11.7",
    ):
        assert part in text


def test_batches_that_never_came_leave_a_gap_in_their_histogram() -> None:
    """Sizes are powers of two, and one that is missing between others is shown with 0."""
    (drawn,) = graphs.distributions(record(measured(p99=None, batches=[(1, 60), (2, 30), (8, 10)])))
    described = ET.fromstring(drawn).findtext(f"{SVG}desc")
    assert described == "% of WebSocket messages, by messages. 1: 60, 2: 30, 3–4: 0, 5–8: 10"


def test_a_line_tells_its_values_under_the_pointer() -> None:
    """Without a script: each place has a strip with the values of all lines there; not more strips than one can hit."""
    p50, p99 = [(float(at), 2.5) for at in range(1, 1000)], [(1.0, 12.5), (2.0, None)]
    root = ET.fromstring(charts.lines("Latency", [("p50", p50), ("p99", p99)], "milliseconds"))
    told = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}g")]
    assert told[0] == "1 seconds\np50 2.5 milliseconds\np99 12.5 milliseconds"
    assert 100 <= len(told) <= 120
