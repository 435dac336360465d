"""Comparing two load tests: noise is not worse, what is worse is found, and what says nothing is not compared."""

import io
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aiochat.loadtest.record import Outcome, Record, Round
from aiochat.loadtest.report.compare import Comparison, IncomparableError, check, compare, read, show
from aiochat.loadtest.report.figures import middle
from tests.records import FAULTY, latency, measured, record

CPU = "server CPU per delivery"
NOISE = st.lists(st.floats(0.96, 1.04), min_size=1, max_size=7)
FIGURE = st.none() | st.floats(0, 1e9)


def _verdicts(old: Record, new: Record) -> dict[str, str]:
    return {change.label: change.verdict for change in compare(old, new).changes}


def _rounds(factors: Sequence[float], times: float = 1.0) -> list[Round]:
    """On a machine that is slower or faster each round by a factor."""
    return [measured(cpu=4.0 * times * each, p99=10.0 * times * each) for each in factors]


def _with_peer(factors: Sequence[float], times: float = 1.0) -> Record:
    """Ours `times` as slow as it is, the peer as ever."""
    return record(*_rounds(factors, times), peers=_rounds(list(reversed(factors)), 0.5))


@given(
    st.lists(st.builds(measured, FIGURE, FIGURE, outcome=st.sampled_from([Outcome(), FAULTY])), max_size=5), st.data()
)
def test_a_load_test_is_never_worse_than_itself(rounds: list[Round], data: st.DataObject) -> None:
    """Whatever was measured, how often, and with which peer."""
    peers = data.draw(st.lists(st.builds(measured, FIGURE, FIGURE), max_size=5))
    same = record(*rounds, peers=peers)
    assert compare(same, same).worse == []


@given(NOISE, NOISE)
def test_twice_the_cpu_is_worse_and_half_is_better(before: list[float], after: list[float]) -> None:
    """However many rounds there were, as long as their noise is less than that."""
    assert _verdicts(_with_peer(before), _with_peer(after, times=2.2))[CPU] == "worse"
    assert _verdicts(_with_peer(before, times=2.2), _with_peer(after))[CPU] == "better"


@given(NOISE, NOISE, st.floats(0.1, 10))
def test_another_machine_is_neither_better_nor_worse(before: list[float], after: list[float], speed: float) -> None:
    """What slows ours and the peer alike says nothing about ours."""
    slower = record(*_rounds([each * speed for each in after]), peers=_rounds([each * speed for each in after], 0.5))
    assert _verdicts(_with_peer(before), slower)[CPU] == "the same"


def test_one_round_that_is_far_off_neither_alarms_nor_hides() -> None:
    """Another program that ran for a while does not fail a build, nor let a slower server through."""
    calm, disturbed = [1.0, 1.01, 0.99, 1.0, 1.02], [1.0, 1.01, 5.0, 1.0, 1.02]
    peers = _rounds([1.0] * 5, 0.5)
    old = record(*_rounds(calm), peers=peers)
    assert _verdicts(old, record(*_rounds(disturbed), peers=peers))[CPU] == "the same"
    assert _verdicts(old, record(*_rounds(disturbed, times=1.3), peers=peers))[CPU] == "worse"


def test_fewer_rounds_take_a_larger_change() -> None:
    """One round does not show its noise, so 30 percent of it may be nothing; of five rounds they are something."""
    one, five = [1.0], [1.0, 1.01, 0.99, 1.0, 1.02]
    assert _verdicts(_with_peer(one), _with_peer(one, times=1.3))[CPU] == "the same"
    assert _verdicts(_with_peer(five), _with_peer(five, times=1.3))[CPU] == "worse"
    assert _verdicts(_with_peer(five), _with_peer(five, times=1.08))[CPU] == "the same"


def test_noisy_rounds_take_a_larger_change() -> None:
    """What lies within the noise of either file is not told as a change."""
    noisy = [1.0, 1.3, 0.8, 1.2, 0.9]
    peers = _rounds([1.0] * 5)
    old, new = record(*_rounds(noisy), peers=peers), record(*_rounds(noisy, times=1.3), peers=peers)
    assert _verdicts(old, new)[CPU] == "the same"


def test_without_a_peer_times_are_not_compared() -> None:
    """Neither CPU nor latency nor rate, however much they differ; memory is, and it takes no peer."""
    new = record(*[measured(cpu=40.0, p99=100.0, delivered_per_second=1.0, connection_bytes=60_000.0)] * 5)
    verdicts = _verdicts(record(*[measured()] * 5), new)
    assert verdicts[CPU] == verdicts["latency, p99"] == verdicts["messages delivered"] == "not comparable"
    assert verdicts["server memory per client"] == "worse"
    assert verdicts["server memory, peak"] == "the same"


def test_a_peer_in_one_of_the_files_is_not_enough() -> None:
    """A ratio is compared with a ratio."""
    assert _verdicts(record(*_rounds([1.0])), _with_peer([1.0], times=4))[CPU] == "not comparable"


def test_fewer_deliveries_are_worse() -> None:
    """Of a rate more is better."""
    peers = [measured()] * 5
    old = record(*peers, peers=peers)
    new = record(*[measured(delivered_per_second=7_000.0)] * 5, peers=peers)
    assert _verdicts(old, new)["messages delivered"] == "worse"
    assert _verdicts(new, old)["messages delivered"] == "better"


def test_the_first_lost_message_is_worse() -> None:
    """No noise excuses it, and no round without makes it good; of what is never wrong nothing is said."""
    old, new = record(*[measured()] * 5), record(*[measured()] * 4, measured(outcome=Outcome(lost=1, gaps=2)))
    assert [change.label for change in compare(old, new).worse] == ["lost", "resumes with a gap"]
    assert _verdicts(new, old)["lost"] == "better"
    assert "doubled" not in _verdicts(old, new)


def test_what_only_one_has_measured_is_not_compared() -> None:
    """A server whose process is not known has no memory to hold against."""
    bare = measured(cpu=None, p99=None, connection_bytes=None, memory_peak_bytes=None, connect_cpu_us=None)
    assert set(_verdicts(record(), record(bare))) == {"messages delivered"}


def test_the_middle_of_rounds_is_their_median_and_its_absolute_deviation() -> None:
    """As in the books: of 1, 1, 2, 2, 4, 6, 9 the median is 2, and the median distance from it is 1."""
    found = middle([1, 1, 2, 2, 4, 6, 9])
    assert found is not None
    assert (found.median, found.spread) == (2, 1)
    assert middle([]) is None


def test_another_scenario_is_refused_with_the_key_that_differs() -> None:
    """A key that is new, gone or different; the title and how a list came to be say nothing about the load."""
    check(record(title="Called otherwise"), {"title": "x", **record().scenario, "rooms": ({"size": 5},)})
    with pytest.raises(IncomparableError, match="clients was 1000, is 2000"):
        compare(record(), record(clients=2000))
    with pytest.raises(IncomparableError, match="storms was not there, is 2"):
        compare(record(), record(storms=2))


def test_what_json_has_written_is_read_again(tmp_path: Path) -> None:
    """The whole record, with its dicts and tuples."""
    written = record(measured(outcome=FAULTY), peers=[measured(outcome=Outcome(resume_ms=latency(3.0)))])
    (tmp_path / "old.json").write_bytes(msgspec.json.encode(written))
    assert read(tmp_path / "old.json") == written


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not what --json writes"),
        (b"\xff\xfe", "is not what --json writes"),
        (b'{"rounds": []}', "is not what --json writes: .*version"),
        (b'{"version": 1}', "is not what --json writes: .*scenario_name"),
        (b'{"version": 2}', "is version 2 of the file; this aiochat compares version 1"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(content: bytes | None, reason: str, tmp_path: Path) -> None:
    """It names the file, and what is wrong with it."""
    file = tmp_path / "old.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(IncomparableError, match=reason) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def _shown(comparison: Comparison) -> str:
    output = io.StringIO()
    show(comparison, Console(file=output, width=80))
    return output.getvalue()


def test_the_table_names_what_is_worse_in_its_last_line() -> None:
    """Who reads only that knows; and it fits in 80 columns."""
    factors = [random.Random(each).uniform(0.98, 1.02) for each in range(5)]
    shown = _shown(compare(_with_peer(factors), _with_peer(factors, times=2)))
    assert CPU in shown.splitlines()[-1]
    assert "+100%" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80


def test_without_a_peer_the_table_says_how_to_get_one() -> None:
    """And a good comparison ends in a good word."""
    shown = _shown(compare(record(), record()))
    assert "--peer" in shown
    assert shown.splitlines()[-1] == "Nothing is worse than before"
