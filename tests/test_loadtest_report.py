"""What the load test shows on a terminal: a live view that goes again, and a table with all that was wrong in words."""

import io
from typing import Any

import pyte
import pytest
from rich.console import Console

from aiochat.loadtest.record import Outcome, Record, Server, Violation
from aiochat.loadtest.report import table
from aiochat.loadtest.report.live import View, sparkline
from tests.records import FAULTY, latency, measured, record, timeline

HOSTILE = "\x1b[31m\x07[bold]red[/bold]\u202eeno\r\nand more"


def _shown(shown: Record, width: int = 80, **options: Any) -> str:
    output = io.StringIO()
    table.show(shown, Console(file=output, width=width, **options))
    return output.getvalue()


def _row(text: str, label: str) -> list[str]:
    """The cells of the row that begins with `label`."""
    return next(line.removeprefix(label).split() for line in text.splitlines() if line.startswith(label))


def test_the_table_has_each_figure_with_its_unit() -> None:
    """What was measured is there, to three digits, and its unit beside it."""
    shown = _shown(record(measured(cpu=4.321, p99=12.0)))
    assert _row(shown, "messages delivered") == ["14,000", "/s"]
    assert _row(shown, "server CPU per delivery") == ["4.32", "µs"]
    assert _row(shown, "latency, p99.9") == ["48", "ms"]
    assert _row(shown, "server memory per client") == ["30", "kB"]
    assert "All well" in shown.splitlines()[-1]


def test_what_does_not_apply_is_not_shown() -> None:
    """A server whose process nobody knows has no CPU and no memory; without cuts nobody came back."""
    bare = measured(cpu=None, p99=None, cpu_percent=None, connection_bytes=None, memory_peak_bytes=None)
    shown = _shown(record(bare))
    for absent in ("server CPU per", "memory", "latency", "back after", "newcomer", "ratio", "±", "None"):
        assert absent not in shown


def test_what_was_wrong_is_told_with_its_receiver_room_sender_and_offsets() -> None:
    """The reader can look up each violation in the room's log."""
    shown = " ".join(_shown(record(measured(outcome=FAULTY))).split())
    assert "13 lost, 1 doubled, 2 out of order, 1 not acknowledged" in shown
    assert "receiver 17 in room room-3 did not get messages 100 to 112 of sender 5 (offsets 2,001 to 2,013)" in shown
    assert "receiver 18 in room room-4 got message 77 of sender 9 twice" in shown
    assert "receiver 19 in room room-4 got messages 80 to 81 of sender 9 out of order" in shown
    assert "sender 9 in room room-4 got no acknowledgement of message 82" in shown
    assert "2 with close code 1006, 1 with close code 1011" in shown
    assert "2 errors from the server, the first: too_fast: slow down" in shown
    assert "✘ Not well: 13 lost" in shown


@pytest.mark.parametrize(
    ("codec", "acknowledged", "says"),
    [
        ("json", 2000, "at any receiver; each was acknowledged"),
        ("json", None, "acknowledges nothing"),
        ("text", None, ""),
    ],
)
def test_acknowledgements_are_spoken_of_where_they_were_counted(
    codec: str, acknowledged: int | None, says: str
) -> None:
    """A server that sends on what it gets acknowledges nothing; with text nobody expects it."""
    rounds = [measured(outcome=Outcome(acknowledged=count)) for count in (acknowledged, acknowledged)]
    shown = " ".join(_shown(record(*rounds, codec=codec)).split())
    assert says in shown
    assert shown.count("acknowledge") - shown.count("not acknowledged") == (says != "")


@pytest.mark.parametrize(
    "fault",
    [Outcome(lost=1), Outcome(doubled=1), Outcome(out_of_order=1), Outcome(unacknowledged=1), Outcome(errors=1)],
)
def test_a_single_fault_is_enough(fault: Outcome) -> None:
    """One of any kind, in one of the rounds, and it is not well."""
    shown = _shown(record(measured(), measured(outcome=fault)))
    assert "All well" not in shown
    assert "Not well: 1 " in shown


def test_violations_of_a_bad_server_do_not_fill_the_terminal() -> None:
    """Twenty in full are enough, however many rounds have told of theirs."""
    many = Outcome(lost=60, violations=[Violation("lost", each, "r", 1, (1, 1)) for each in range(15)])
    shown = _shown(record(*[measured(outcome=many)] * 4))
    assert shown.count("did not get") == 20
    assert "counted for each receiver: 240 lost" in shown
    assert "round 2: receiver 4" in shown


def test_several_rounds_are_medians_with_their_spread_and_the_peer_beside() -> None:
    """One round that is far off moves neither; the ratio is of the medians."""
    ours = [measured(cpu=cpu) for cpu in (4.0, 4.2, 4.1, 4.0, 40.0)]
    shown = _shown(record(*ours, peers=[measured(cpu=cpu) for cpu in (2.0, 2.05, 2.1)]))
    assert "medians of 5 rounds" in shown
    assert _row(shown, "server CPU per delivery") == ["4.10", "2.4%", "µs", "2.05", "2.00"]
    assert "in turns with ours" in " ".join(shown.split())


def test_a_meter_at_its_limit_is_a_warning() -> None:
    """Figures that say more about the meter than about the server do not pass for the server's."""
    assert "· The meter had room to spare" in _shown(record(measured()))
    assert "! The meter was at its limit" in _shown(record(measured(meter_cpu_percent=93.0)))
    assert "! The meter was held up" in _shown(record(measured(meter_lag_ms=25.0)))


def test_it_says_what_was_pinned_and_how_the_server_differs() -> None:
    """Figures of a server that shares its core with others are told from those of one that does not."""
    strange = Server("ws://chat.example/ws", own=False, pinned=False, settings={"store.url": "memory:"})
    assert "The server was pinned to one core" in _shown(record())
    shown = " ".join(_shown(record(server=strange)).split())
    assert "Nothing was pinned to a core" in shown
    assert "ws://chat.example/ws" in shown
    assert "store.url = memory:" in shown


def test_an_idle_load_test_has_something_good_to_say() -> None:
    """Where nothing was sent, what counts is that everybody stayed."""
    idle = {"sent_per_second": 0.0, "delivered_per_second": 0.0}
    assert "✔ Every client stayed connected" in _shown(record(measured(p99=None, **idle)))
    assert "Every client" not in _shown(record(measured(p99=None, outcome=Outcome(dropped={1006: 1}), **idle)))


def test_a_run_that_ended_early_says_why_and_shows_what_there_is() -> None:
    """The figures until then are there, and nobody takes them for the whole."""
    shown = _shown(record(measured(seconds=3.0, ended_early="the server ended with exit code -9")))
    assert "ended after 3 measured seconds: the server ended with exit code -9" in " ".join(shown.split())
    assert _row(shown, "messages delivered") == ["14,000", "/s"]
    assert "Not well: it ended early" in shown


def test_breaks_newcomers_and_slow_clients_are_told() -> None:
    """Who came back, who came for one message, and who was dropped for not reading."""
    outcome = Outcome(cuts=300, resumed=298, gaps=2, resume_ms=latency(50.0), newcomers=40, newcomer_ms=latency(20.0))
    slow = Outcome(slow_dropped=3, slow_dropped_after_seconds=10.25)
    shown = " ".join(_shown(record(measured(outcome=outcome), measured(outcome=slow), slow=2)).split())
    assert "298 came back and had missed nothing, 2 were told what is missing" in shown
    assert "40 newcomers came, spoke and went" in shown
    assert "Dropped: 3 of 4 clients that stopped reading, the last after 10.2 s" in shown
    assert "back after a cut, p99 50" in shown
    assert "newcomer's first message, p99 20" in shown


def test_it_fits_in_80_columns() -> None:
    """Also with a peer, with all that can be wrong, and with words that have no space in them."""
    faulty = measured(outcome=FAULTY, meter_lag_ms=99.0, cpu_percent=99.0, ended_early="x" * 200)
    shown = _shown(record(faulty, faulty, peers=[faulty, faulty], title="wide " * 30))
    assert max(map(len, shown.splitlines())) <= 80


def test_nothing_that_a_server_sent_drives_the_terminal() -> None:
    """Neither control characters nor the markup of the library that draws the table."""
    outcome = Outcome(
        errors=1, first_error=HOSTILE, lost=1, violations=[Violation("lost", 1, HOSTILE, 1, (1, 1))], dropped={4000: 1}
    )
    server = Server(HOSTILE, own=False, pinned=False, settings={HOSTILE: HOSTILE})
    shown = _shown(record(measured(outcome=outcome, ended_early=HOSTILE), server=server, title=HOSTILE))
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(shown)
    assert shown.count("[bold]red[/bold]") >= 6


class Terminal:
    """A terminal of 80 by 24."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(80, 24)
        self.output = io.StringIO()
        self.console = Console(file=self.output, force_terminal=True, width=80, height=24, legacy_windows=False)

    def text(self) -> str:
        self.screen.reset()
        pyte.Stream(self.screen).feed(self.output.getvalue().replace("\n", "\r\n"))
        return "\n".join(self.screen.display)


def test_the_live_view_shows_the_stage_and_the_newest_second_and_goes() -> None:
    """While it runs one sees how far it is and how it is; at the end only what was there before."""
    terminal = Terminal()
    terminal.console.print("before")
    with View("chat", terminal.console) as view:
        view.stage("connecting", 1000, 1000)
        assert "1,000 of 1,000" in terminal.text()
        for second in timeline(30, dropped=7):
            view.second(second)
        view.stage("measuring", 6, 10)
        shown = terminal.text()
    for part in ("chat: measuring", "6 of 10", "14,030 /s", "p50 1  p99 10  max 80 ms", "30 %", "90 MB", "1,000", "7"):
        assert part in shown
    assert terminal.text().split() == ["before"]


def test_the_live_view_leaves_out_what_is_not_measured() -> None:
    """Of a server elsewhere there is neither CPU nor memory to see."""
    terminal = Terminal()
    with View("chat", terminal.console) as view:
        for second in timeline(3, server_cpu_percent=None, server_memory_bytes=None, p99_ms=None):
            view.second(second)
        shown = terminal.text()
    assert "delivered" in shown
    assert "server" not in shown
    assert "latency" not in shown


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_is_drawn_where_nobody_looks(terminal: bool, quiet: bool) -> None:
    """A log file gets no bars, and who asked for quiet has it."""
    output = io.StringIO()
    with View("chat", Console(file=output, force_terminal=terminal), quiet=quiet) as view:
        view.stage("connecting", 1, 2)
        view.second(timeline(1)[0])
    assert output.getvalue() == ""


def test_a_sparkline_begins_at_zero() -> None:
    """Noise of one percent looks like noise of one percent."""
    assert sparkline([100, 99, 100, 50, 0, None]) == "███▅▁ "
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([None]) == " "
