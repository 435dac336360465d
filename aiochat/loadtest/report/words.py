"""What a load test found, in plain words, for terminal and page. What others have sent is made harmless here."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from aiochat.codecs.text import clean
from aiochat.loadtest.record import Outcome, Record, Round, Violation, added
from aiochat.loadtest.report.figures import text

Look = Literal["good", "bad", "warning", "note"]

MOST_VIOLATIONS: Final = 20
METER_CPU_PERCENT: Final = 90.0  # with less of its core to spare, what arrives waits for the meter
METER_LAG_MS: Final = 10.0  # what arrives meanwhile is stamped so much too late
SERVER_FULL_PERCENT: Final = 95.0  # of a core

_WRONG: Final = {
    "lost": "receiver {receiver} in room {room} did not get {what} of sender {sender}",
    "doubled": "receiver {receiver} in room {room} got {what} of sender {sender} twice",
    "out of order": "receiver {receiver} in room {room} got {what} of sender {sender} out of order",
    "not acknowledged": "sender {sender} in room {room} got no acknowledgement of {what}",
}


class Said(msgspec.Struct, frozen=True):
    look: Look
    text: str
    details: tuple[str, ...] = ()


def plain(text: str) -> str:
    """One line that drives nobody's terminal, and that any file can hold."""
    return clean(text.encode("utf-8", "replace").decode("utf-8")).translate({0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD})


def outcome(record: Record) -> Said:
    """The whole in one line, as the exit code says it."""
    early = not record.rounds or any(each.ended_early for each in record.rounds)
    faults = [*(["it ended early"] if early else []), *_faults(_total(record.rounds))]
    return Said("bad", f"Not well: {'; '.join(faults)}") if faults else Said("good", "All well")


def told(record: Record) -> list[Said]:
    """What was wrong, what was right, and what one should know of how it was measured; most important first."""
    total = _total(record.rounds)
    lines = [
        *_ends(record),
        *_judged(total, record),
        *_comebacks(total, record),
        *_unacknowledging(total, record),
        *_limits(record.rounds),
        *_peer(record),
    ]
    lines.append(Said("note", _pinning(record)))
    return [Said(each.look, plain(each.text), tuple(map(plain, each.details))) for each in lines]


def _violations(record: Record) -> tuple[str, ...]:
    several = len(record.rounds) > 1
    found = [
        (f"round {index}: " if several else "") + _violation(each)
        for index, measured in enumerate(record.rounds, 1)
        for each in measured.outcome.violations
    ]
    return tuple(found[:MOST_VIOLATIONS])


def settings(record: Record) -> str:
    """Of our own server, where they differ from the defaults."""
    return plain(", ".join(f"{name} = {value}" for name, value in record.server.settings.items()))


def server(record: Record) -> str:
    """Which one, and for how long it was measured."""
    name = "aiochat, started for this test" if record.server.own else plain(record.server.url)
    seconds = f"{max((each.seconds for each in record.rounds), default=0.0):.3g}"
    rounds = f"{len(record.rounds)} rounds of {seconds} s" if len(record.rounds) > 1 else f"{seconds} s measured"
    return f"{name}; {rounds}"


def _violation(found: Violation) -> str:
    said = _WRONG[found.kind].format(
        receiver=found.receiver, room=found.room, sender=found.sender, what=_span("message", found.sequences)
    )
    return said if found.offsets is None else f"{said} ({_span('offset', found.offsets)})"


def _span(name: str, span: tuple[int, int]) -> str:
    first, last = span
    return f"{name} {first:,}" if first == last else f"{name}s {first:,} to {last:,}"


def _total(rounds: Sequence[Round]) -> Outcome:
    """Of all rounds; what cannot be added up is left out."""
    each = [measured.outcome for measured in rounds]
    dropped: Counter[int] = Counter()
    for one in each:
        dropped.update(one.dropped)
    counted = ("lost", "doubled", "out_of_order", "unacknowledged", "errors", "slow_dropped", "cuts", "resumed", "gaps")
    return Outcome(
        **{name: sum(getattr(one, name) for one in each) for name in (*counted, "newcomers")},
        acknowledged=added(one.acknowledged for one in each),
        dropped=dict(sorted(dropped.items())),
        first_error=next((one.first_error for one in each if one.first_error), ""),
        slow_dropped_after_seconds=max(
            (one.slow_dropped_after_seconds for one in each if one.slow_dropped_after_seconds is not None), default=None
        ),
    )


def _faults(total: Outcome) -> Iterator[str]:
    counts = {
        "lost": total.lost,
        "doubled": total.doubled,
        "out of order": total.out_of_order,
        "not acknowledged": total.unacknowledged,
    }
    wrong = ", ".join(f"{count:,} {fault}" for fault, count in counts.items() if count)
    if wrong:
        yield wrong
    if total.dropped:
        yield _counted(sum(total.dropped.values()), "client") + " dropped"
    if total.errors:
        yield _counted(total.errors, "error") + " from the server"


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _ends(record: Record) -> Iterator[Said]:
    if not record.rounds:
        yield Said("bad", "Nothing was measured")
    for index, measured in enumerate(record.rounds, 1):
        if measured.ended_early:
            which = f"Round {index}" if len(record.rounds) > 1 else "It"
            yield Said("bad", f"{which} ended after {measured.seconds:.3g} measured seconds: {measured.ended_early}")


def _judged(total: Outcome, record: Record) -> Iterator[Said]:
    wrong = next(_faults(Outcome(total.lost, total.doubled, total.out_of_order, total.unacknowledged)), "")
    if wrong:
        yield Said("bad", f"Messages, counted for each receiver: {wrong}", _violations(record))
    elif any(measured.delivered_per_second for measured in record.rounds):
        acks = "; each was acknowledged" if total.acknowledged else ""
        yield Said("good", f"No message was lost, doubled or out of order, at any receiver{acks}")
    elif record.rounds and not total.dropped:
        yield Said("good", "Every client stayed connected")
    if total.dropped:
        codes = ", ".join(f"{count:,} with close code {code}" for code, count in total.dropped.items())
        yield Said("bad", f"Clients that should have stayed were dropped: {codes}")
    if total.errors:
        yield Said("bad", f"{_counted(total.errors, 'error')} from the server, the first: {total.first_error}")


def _comebacks(total: Outcome, record: Record) -> Iterator[Said]:
    if total.cuts:
        came = f"{total.resumed:,} came back and had missed nothing"
        missed = f", {total.gaps:,} were told what is missing" if total.gaps else ""
        yield Said("note", f"{_counted(total.cuts, 'connection')} cut on purpose: {came}{missed}")
    if total.newcomers:
        yield Said("note", f"{_counted(total.newcomers, 'newcomer')} came, spoke and went")
    slow = record.scenario.get("slow")
    if isinstance(slow, int) and slow:
        last = total.slow_dropped_after_seconds
        when = "" if last is None else f", the last after {last:.1f} s"
        of_all = f"{total.slow_dropped:,} of {_counted(slow * len(record.rounds), 'client')}"
        yield Said("note", f"Dropped: {of_all} that stopped reading{when}")


def _unacknowledging(total: Outcome, record: Record) -> Iterator[Said]:
    """The clients spoke aiochat.v1.json, and the server sent on what it got."""
    if record.rounds and record.scenario.get("codec") == "json" and total.acknowledged is None:
        yield Said(
            "note", "The server chose no subprotocol and acknowledges nothing: what came back was checked, no acks"
        )


def _limits(rounds: Sequence[Round]) -> Iterator[Said]:
    if not rounds:
        return
    cpu, lag = max(each.meter_cpu_percent for each in rounds), max(each.meter_lag_ms for each in rounds)
    figures = f"its busiest process took {text(cpu)} % of a core, its loop lagged {text(lag)} ms (p99)"
    if cpu > METER_CPU_PERCENT:
        remedy = "Latencies are too high and rates too low; give it more --processes on more cores, or ask for less"
        yield Said("warning", f"The meter was at its limit, not only the server: {figures}. {remedy}")
    elif lag > METER_LAG_MS:
        remedy = "What else runs on its cores? Latencies are too high by as much"
        yield Said("warning", f"The meter was held up: {figures}. {remedy}")
    else:
        yield Said("note", f"The meter had room to spare: {figures}")
    if any((each.cpu_percent or 0) >= SERVER_FULL_PERCENT for each in rounds):
        yield Said("note", "The server used a whole core: this is all that it can do")


def _peer(record: Record) -> Iterator[Said]:
    total = _total(record.peer_rounds)
    if record.peer_rounds:
        yield Said("note", "The peer, a bare picows broadcast server, was measured in the same run, in turns with ours")
    if not total.clean:
        yield Said("warning", f"The peer was not clean: {'; '.join(_faults(total))}")


def _pinning(record: Record) -> str:
    if record.server.pinned:
        return "The server was pinned to one core, the meter to the others"
    return "Nothing was pinned to a core: the figures depend on what else runs, and on where"
