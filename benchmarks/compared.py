"""Plain words on who is better in what, made from the figures alone."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from benchmarks.figures import Measure, Spread, Summary
from benchmarks.results import Results
from benchmarks.servers import AIOCHAT, FLOOR, SERVERS
from benchmarks.workloads import BUSY_PERCENT, Workload

# The floor is ours too, and nobody would use it.
PEERS: Final = {server.name: server.title for server in SERVERS if server not in (AIOCHAT, FLOOR)}
TITLES: Final = {server.name: server.title for server in SERVERS}


class Words(NamedTuple):
    """Lists of lines; a peer is better, or worse, where the ranges of the rounds do not overlap."""

    peers_better: list[str]
    ours_best: list[str]
    too_close: list[str]
    not_delivered: list[str]
    meter_busy: list[str]


def words(results: Results) -> Words:
    said = Words([], [], [], [], [])
    for workload in results.workloads:
        found = results.summary(workload)
        for measure in workload.measures:
            if measure.kind == "cost":
                _compare(said, workload, measure, found)
        said.not_delivered.extend(_faults(workload, found))
        said.meter_busy.extend(_busy_meter(workload, found))
    return said


def _compare(said: Words, workload: Workload, measure: Measure, found: Summary) -> None:
    ours = found.get(AIOCHAT.name, {}).get(measure.key)
    peers = {name: spreads[measure.key] for name, spreads in found.items() if name in PEERS and measure.key in spreads}
    if ours is None or not peers:
        return
    head = f"`{workload.name}`, {measure.label}: aiochat {_value(measure, ours)}"
    better = {name: spread for name, spread in peers.items() if spread.high < ours.low}
    close = {name: spread for name, spread in peers.items() if spread.low <= ours.high and spread.high >= ours.low}
    if better:
        said.peers_better.append(f"{head}; {_named(workload, measure, better, found)}")
    elif close:
        said.too_close.append(f"{head}; {_named(workload, measure, close, found)}")
    else:
        name, spread = min(peers.items(), key=lambda item: item[1].median)
        times = f" ({spread.median / ours.median:.2g} times as much)" if ours.median else ""
        said.ours_best.append(f"{head}; the best peer is {PEERS[name]} with {_value(measure, spread)}{times}")


def _named(workload: Workload, measure: Measure, peers: Mapping[str, Spread], found: Summary) -> str:
    """The best first; a star says that this peer did not deliver all."""
    ordered = sorted(peers.items(), key=lambda item: item[1].median)
    return ", ".join(
        f"{PEERS[name]} {_value(measure, spread)}{'*' if any(_faults_of(workload, found[name])) else ''}"
        for name, spread in ordered
    )


def _value(measure: Measure, spread: Spread) -> str:
    return format(spread.median, measure.shape)


def _faults(workload: Workload, found: Summary) -> Iterator[str]:
    for name, spreads in found.items():
        if faults := list(_faults_of(workload, spreads)):
            yield f"`{workload.name}`, {TITLES[name]}: {', '.join(faults)}"


def _faults_of(workload: Workload, spreads: Mapping[str, Spread]) -> Iterator[str]:
    for measure in workload.measures:
        spread = spreads.get(measure.key)
        if measure.kind == "fault" and spread and spread.median > measure.tolerated:
            yield f"{measure.label}: {_value(measure, spread)}"


def _busy_meter(workload: Workload, found: Summary) -> Iterator[str]:
    """Where it may have been the meter that was late, in an open loop; a closed one is as fast as both together."""
    if not workload.scenario().rate:
        return
    shares = {name: spreads["meter_cpu_percent"].median for name, spreads in found.items() if _met(spreads)}
    if busy := [f"{TITLES[name]} {share:.0f} %" for name, share in shares.items() if share > BUSY_PERCENT]:
        yield f"`{workload.name}`: {', '.join(busy)}"


def _met(spreads: Mapping[str, Spread]) -> bool:
    return "meter_cpu_percent" in spreads
