"""The benchmark: what it makes of its samples, the page and chart it writes, and one short run of it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import msgspec
import pytest

from aiochat.loadtest.record import Machine
from benchmarks import bench, docs
from benchmarks.compared import words
from benchmarks.figures import CPU, Sample, Spread, against, summary, verdict
from benchmarks.meters import Aiochat, Load, behind
from benchmarks.parts import python
from benchmarks.report import grid
from benchmarks.results import Results, merged, read, write
from benchmarks.servers import Codec, Running
from benchmarks.workloads import BY_NAME, WORKLOADS

CHECKOUT: Final = Path(__file__).parent.parent
CODECS: Final[tuple[Codec, ...]] = ("json", "text", "socketio")
MACHINE: Final = Machine(cpu="A|B <CPU>", cores=2, memory_bytes=8_000_000_000, system="Linux", versions={})


def results(samples: Mapping[str, Mapping[str, Sequence[Sample]]], **changed: object) -> Results:
    """Of these samples: workload -> server -> rounds."""
    said: dict[str, object] = {
        "commands": ["make bench"],
        "started": "2030-01-02T03:04:05+00:00",
        "machine": MACHINE,
        "meter": "aiochat",
        "pinned": True,
        "versions": {"aiochat": "aiochat 0.1.0"},
        "left_out": {},
        "samples": samples,
    }
    return Results(**said | changed)  # type: ignore[arg-type]


def chat(**microseconds: list[float]) -> dict[str, Mapping[str, Sequence[Sample]]]:
    """CPU per delivery of each server in each round of the chat workload."""
    return {"chat": {server: [{CPU: value} for value in values] for server, values in microseconds.items()}}


def test_median_and_spread_are_of_what_was_measured() -> None:
    """A round without a value counts for nothing, and a key that no round has is not there."""
    found = summary({"ws": [{"a": 3.0, "b": None}, {"a": 1.0, "b": None}, {"a": None}, {"a": 2.0}]})
    assert found == {"ws": {"a": Spread(2.0, 1.0, 3.0)}}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"), [(1.0, 1.0, "met"), (1.1, 1.0, "missed"), (1.0, None, "not measured")]
)
def test_a_figure_is_met_missed_or_not_measured(ours: float, theirs: float | None, said: str) -> None:
    """A peer that was left out makes no figure true or false."""
    figure = against("ws", CPU, "CPU", 1)
    assert verdict(figure, summary({"aiochat": [{CPU: ours}], "ws": [{CPU: theirs}]})) == said


def test_a_table_has_a_row_for_each_server_and_the_range_where_there_is_one() -> None:
    """The reader sees how much the rounds differed, and a dash for what was not measured."""
    heading, rows = grid(results(chat(aiochat=[1.0, 3.0, 2.0], ws=[4.0])), BY_NAME["chat"])
    assert heading == ["", "CPU per delivery, µs"]
    assert rows == [["aiochat", "2.000 (1.000–3.000)"], ["ws (Node)", "4.000"]]


def test_the_words_name_a_peer_that_is_better_as_plainly_as_one_that_is_worse() -> None:
    """Only ranges that do not overlap make somebody better."""
    assert words(results(chat(aiochat=[2.0, 2.1], ws=[1.0, 1.1], nchan=[9.0]))).peers_better == [
        "`chat`, CPU per delivery, µs: aiochat 2.050; ws (Node) 1.050"
    ]
    assert words(results(chat(aiochat=[1.0], ws=[2.0], nchan=[9.0]))).ours_best == [
        "`chat`, CPU per delivery, µs: aiochat 1.000; the best peer is ws (Node) with 2.000 (2 times as much)"
    ]
    assert words(results(chat(aiochat=[1.0, 3.0], ws=[2.0], nchan=[9.0]))).too_close == [
        "`chat`, CPU per delivery, µs: aiochat 2.000; ws (Node) 2.000"
    ]


def test_the_floor_is_no_peer() -> None:
    """It is ours, and nobody would use it: beating it or not says nothing about others."""
    assert not any(words(results(chat(aiochat=[2.0], floor=[1.0]))))


def test_a_peer_that_loses_messages_is_starred_and_listed() -> None:
    """A server that delivers less needs less CPU, and the reader has to know."""
    samples = {"chat": {"aiochat": [{CPU: 2.0, "wrong": 0}], "gorilla": [{CPU: 1.0, "wrong": 7, "dropped": 2}]}}
    said = words(results(samples))
    assert said.peers_better == ["`chat`, CPU per delivery, µs: aiochat 2.000; gorilla (Go) 1.000*"]
    assert said.not_delivered == ["`chat`, gorilla (Go): lost, doubled, disordered: 7, clients dropped: 2"]


def test_a_busy_meter_is_told() -> None:
    """Where the meter was the limit, a server may be faster than it looks."""
    samples = {"chat": {"ws": [{"meter_cpu_percent": 99.0}], "nchan": [{"meter_cpu_percent": 40.0}]}}
    assert words(results(samples)).meter_busy == ["`chat`: ws (Node) 99 %"]


def test_page_and_chart_are_made_from_the_json_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--from FILE --docs` writes what the run itself would have written, and measures nothing."""
    measured = results(chat(aiochat=[1.0, 1.2], ws=[2.0]) | {"idle": {"aiochat": [{"memory_kb": 2.5}]}})
    write(measured, tmp_path / "bench.json")
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    assert bench.main(["--from", str(tmp_path / "bench.json"), "--docs"]) == 0
    assert (tmp_path / "benchmarks.md").read_text() == docs.page(measured)
    assert (tmp_path / "benchmarks.svg").read_text() == docs.chart(measured)


def test_the_page_says_when_where_with_what_and_who_was_left_out() -> None:
    """What this machine and a server's last line say cannot break the page."""
    page = docs.page(results(chat(aiochat=[1.0]), left_out={"nchan": "<b>no</b> | nginx"}))
    assert "2030-01-02" in page
    assert "    make bench\n" in page
    assert "A&#124;B &lt;CPU&gt;, 2 cores," in page
    assert "| aiochat | aiochat 0.1.0 |" in page
    assert "| nchan (nginx) | left out: &lt;b&gt;no&lt;/b&gt; &#124; nginx |" in page


def test_the_chart_has_a_bar_for_each_server_but_the_floor() -> None:
    """aiochat and its peers, and nothing else."""
    drawn = docs.chart(results(chat(aiochat=[1.0], floor=[0.5], ws=[2.0])))
    said = " ".join(ET.fromstring(drawn).itertext())
    assert "aiochat: 1 µs" in said
    assert "ws (Node): 2 µs" in said
    assert "floor" not in said


def test_runs_of_one_machine_are_put_together() -> None:
    """A long benchmark can be run in parts, and a part of it again."""
    first = results(chat(aiochat=[1.0]) | {"idle": {"aiochat": [{"memory_kb": 2.5}]}})
    again = results(chat(aiochat=[3.0]), commands=["make bench ARGS='--only chat'"])
    assert merged([first, again]).samples == chat(aiochat=[3.0]) | {"idle": {"aiochat": [{"memory_kb": 2.5}]}}
    assert merged([first, again]).commands == ["make bench", "make bench ARGS='--only chat'"]


def test_runs_of_two_machines_are_not_put_together() -> None:
    """Their figures are not comparable."""
    other = msgspec.structs.replace(MACHINE, cores=64)
    with pytest.raises(ValueError, match="they differ in machine"):
        merged([results(chat(aiochat=[1.0])), results(chat(ws=[1.0]), machine=other)])


@pytest.mark.parametrize("content", ["", "{}", '{"samples": 1}'])
def test_a_file_that_is_no_result_is_one_line(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The user reads which file, not a traceback."""
    (tmp_path / "bench.json").write_text(content)
    assert bench.main(["--from", str(tmp_path / "bench.json")]) == 2
    assert "bench.json is no result of this benchmark" in capsys.readouterr().err


def test_a_file_of_workloads_that_are_gone_is_refused(tmp_path: Path) -> None:
    """Rather than leaving them out in silence."""
    write(results({"chat": {"aiochat": [{CPU: 1.0}]}}), tmp_path / "bench.json")
    text = (tmp_path / "bench.json").read_text().replace('"samples": {\n    "chat"', '"samples": {\n    "chatter"')
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(ValueError, match="there is no workload chatter"):
        read(tmp_path / "bench.json")


def test_an_unknown_name_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error costs no run."""
    with pytest.raises(SystemExit):
        bench.main(["--servers", "aiochat,nginx"])
    assert "nginx; it takes aiochat, floor, uwebsockets, nchan" in capsys.readouterr().err


def test_a_part_that_is_not_installed_is_named() -> None:
    """The peer is left out with this reason."""
    assert python("aiohttp", "no-such-thing").missing() == "the Python package no-such-thing is not installed"


def test_what_is_not_delivered_in_time_is_a_share_of_what_was_due() -> None:
    """Senders are drawn evenly, so large rooms are spoken in more often: 59 receivers for each message of `chat`."""
    load = Load(BY_NAME["chat"], {})
    assert behind(load.scenario, 59_000) == 0
    assert behind(load.scenario, 29_500) == pytest.approx(50)
    assert behind(Load(BY_NAME["json"], {}).scenario, 29_500) is None


def test_servers_that_pass_on_bytes_are_sent_as_many_of_them() -> None:
    """In the JSON rows a peer gets lines of text as long as the JSON, and Socket.IO what it speaks."""
    load = Load(BY_NAME["json"], {"seconds": 1.0})
    sent = {codec: Aiochat().command(load, Running(8080, 1, codec))[-1] for codec in CODECS}
    assert sent == {"json": "seconds=1.0", "text": "size=158", "socketio": "codec=socketio"}


def test_every_scenario_can_be_read() -> None:
    """A key that the meter does not know would be found after minutes of measuring."""
    assert all(workload.title and workload.scenario().clients for workload in WORKLOADS)


def test_a_short_run_measures_ours_and_a_peer(tmp_path: Path) -> None:
    """Servers are started, loaded, measured and ended; the file has what the table shows."""
    asked = ("--only", "rate", "--servers", "aiochat,picows", "--rounds", "1", "--seconds", "1")
    command = [sys.executable, "-m", "benchmarks", *asked, "--json", str(tmp_path / "bench.json")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "bench.json").summary(BY_NAME["rate"])
    assert found["aiochat"]["wrong"].median == found["picows"]["wrong"].median == 0
    assert found["aiochat"][CPU].median > 0
    assert found["picows"][CPU].median > 0
    assert "rate: 100 clients, 500 messages a second" in done.stdout
