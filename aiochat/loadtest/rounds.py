"""All rounds: each against a fresh server of our own, or against the one at the URL, and the peer in turn with it."""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from rich.console import Console

from aiochat.loadtest import server
from aiochat.loadtest.interrupts import Interrupts
from aiochat.loadtest.record import Round
from aiochat.loadtest.report.live import View
from aiochat.loadtest.run import measure
from aiochat.loadtest.scenario import Scenario
from aiochat.loadtest.server import Server

_PEER_CODEC: Final = "text"  # it sends on what it gets, and acknowledges nothing


class Plan(NamedTuple):
    """What is asked for, checked: it can be run. `server` is the one at the URL, or None for our own."""

    name: str
    scenario: Scenario
    server: Server | None
    processes: int
    rounds: int
    peer: bool
    quiet: bool


class Rounds:
    """Those that were measured, of ours and of the peer, and what is known of the server."""

    def __init__(self) -> None:
        self.ours: list[Round] = []
        self.peers: list[Round] = []
        self.url = ""
        self.pinned = False

    @property
    def ended_early(self) -> bool:
        return any(each.ended_early for each in (*self.ours, *self.peers))


def run(plan: Plan, interrupts: Interrupts) -> Rounds:
    """Raises KeyboardInterrupt where nothing was measured; a later round that is interrupted costs only itself."""
    rounds = Rounds()
    try:
        for number in range(1, plan.rounds + 1):
            _round(plan, number, rounds, interrupts)
            if rounds.ended_early:
                break
    except KeyboardInterrupt:
        if interrupts.count > 1 or not rounds.ours:
            raise
    return rounds


def _round(plan: Plan, number: int, rounds: Rounds, interrupts: Interrupts) -> None:
    title = f"{plan.name}, round {number} of {plan.rounds}" if plan.rounds > 1 else plan.name
    with _server(plan, interrupts) as measured:
        rounds.url, rounds.pinned = measured.target.shown, measured.pinned
        with _view(title, plan) as view:
            rounds.ours.append(measure(plan.scenario, measured, plan.processes, view, interrupts))
    if plan.peer and not rounds.ended_early:
        scenario = msgspec.structs.replace(plan.scenario, codec=_PEER_CODEC)
        with server.peer(interrupts) as peer, _view(f"{title}, the peer", plan) as view:
            rounds.peers.append(measure(scenario, peer, plan.processes, view, interrupts))


def _view(title: str, plan: Plan) -> View:
    return View(title, Console(stderr=True), quiet=plan.quiet)


@contextlib.contextmanager
def _server(plan: Plan, interrupts: Interrupts) -> Iterator[Server]:
    if plan.server is not None:
        yield plan.server
        return
    with server.own(interrupts) as own:
        yield own
