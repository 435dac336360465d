"""One round from the parent's side: workers connect, the load runs, what they found is judged and added up."""

import math
import time
from pathlib import Path
from typing import Final

from aiochat.loadtest import totals
from aiochat.loadtest.interrupts import Interrupts
from aiochat.loadtest.links import Connected, FromWorker, Judged, Loaded, Progress, Sent, Start, Stop, Tick
from aiochat.loadtest.record import Round
from aiochat.loadtest.report.live import View
from aiochat.loadtest.scenario import CannotRun, Scenario
from aiochat.loadtest.server import CONFIG, Server
from aiochat.loadtest.totals import Looks
from aiochat.loadtest.workers import Workers, started

SETTLE_SECONDS: Final = 0.3  # after connecting, before the memory is read
LEAD_SECONDS: Final = 0.1  # until the load starts, for all workers to hear of it
TURN_SECONDS: Final = 0.1  # in which a server that has died is noticed
SILENT_SECONDS: Final = 5.0  # of load without any message that comes back: none will
_RATE_LIMITED: Final = "rate_limited"  # the code of the error
INTERRUPTED: Final = "interrupted"


def measure(scenario: Scenario, server: Server, processes: int, view: View, interrupts: Interrupts) -> Round:
    """CannotRun if the clients cannot connect, if nothing that they send comes back, or if it is refused."""
    alone = server.usage()
    with started(scenario, server.target, processes) as workers:
        _connect(workers, scenario, server, view)
        time.sleep(SETTLE_SECONDS)
        with interrupts.noted():
            run = _Run(scenario, server, workers, view, interrupts)
            run.go(Looks(alone, server.usage(), []))
            workers.leave()
    measured = totals.round_of(run.load)
    if _RATE_LIMITED in measured.outcome.first_error:
        raise CannotRun(_refused(measured.outcome.errors, server))
    return measured


def _connect(workers: Workers, scenario: Scenario, server: Server, view: View) -> None:
    connected = dict.fromkeys(range(len(workers)), 0)
    waiting = set(connected)
    while waiting:
        for worker, message in workers.heard(TURN_SECONDS):
            if isinstance(message, Progress | Connected):
                connected[worker] = message.connected
            if isinstance(message, Connected):
                waiting.discard(worker)
                if message.failures:
                    raise CannotRun(_not_connected(message.failures, sum(connected.values()), server))
        view.stage("connecting", sum(connected.values()), scenario.clients)
        if end := server.end():
            raise CannotRun(f"{end}, while clients connected")


def _refused(errors: int, server: Server) -> str:
    config = CONFIG.relative_to(Path.cwd()) if CONFIG.is_relative_to(Path.cwd()) else CONFIG
    return (
        f"{server.target.shown} refused {errors:,} messages ({_RATE_LIMITED}): a few clients here send as much as "
        f"thousands would; start it without that limit: aiochat serve --config {config}"
    )


def _not_connected(failures: list[str], connected: int, server: Server) -> str:
    why = server.end() or failures[0]
    return f"after {connected:,} clients, more could not connect to {server.target.shown}: {why}"


class _Run:
    """One load, from its start to the judgement of what came of it."""

    def __init__(
        self, scenario: Scenario, server: Server, workers: Workers, view: View, interrupts: Interrupts
    ) -> None:
        self.scenario = scenario
        self.server = server
        self.workers = workers
        self.view = view
        self.interrupts = interrupts
        self.warmup = math.ceil(scenario.warmup)  # whole seconds, so that the timeline has none that is of both
        self.ticks: dict[int, dict[int, Tick]] = {}
        self.sent: dict[int, Loaded] = {}
        self.judged: dict[int, Judged] = {}
        self.stopped = ""  # why, if before its time
        self.shown = 0  # seconds of the timeline

    @property
    def load(self) -> totals.Load:
        ticks = [[each[worker] for worker in sorted(each)] for each in self._complete()]
        judged = list(self.judged.values())
        return totals.Load(self.scenario.clients, self.warmup, ticks, self.looks, judged, self.stopped)

    def go(self, looks: Looks) -> None:
        self.looks = looks
        start = time.monotonic() + LEAD_SECONDS
        self.times = Start(start, start + self.warmup, start + self.warmup + self.scenario.seconds)
        self.workers.tell(self.times)
        self._until_loaded()
        self._judge()
        self.stopped = self.stopped or self.server.end()

    def _until_loaded(self) -> None:
        while len(self.sent) < len(self.workers):
            self._look()
            self._stop_early()
            for worker, message in self.workers.heard(self._turn()):
                self._heard(worker, message)
            self._show()
        self._heard_nothing(self.stopped == "")

    def _judge(self) -> None:
        counts = {sender: count for each in self.sent.values() for sender, count in each.sent.items()}
        self.workers.tell(Sent(counts))
        self.view.stage("waiting for the last messages", 0, 0)
        while len(self.judged) < len(self.workers):
            for worker, message in self.workers.heard(TURN_SECONDS):
                self._heard(worker, message)

    def _heard(self, worker: int, message: FromWorker) -> None:
        if isinstance(message, Tick):
            self.ticks.setdefault(message.number, {})[worker] = message
        elif isinstance(message, Loaded):
            self.sent[worker] = message
        elif isinstance(message, Judged):
            self.judged[worker] = message

    def _turn(self) -> float:
        return min(TURN_SECONDS, self._next_look() - time.monotonic())

    def _next_look(self) -> float:
        return min(self.times.start + len(self.looks.seconds), self.times.end)

    def _look(self) -> None:
        """At the beginning, after each second, and at the end."""
        wanted = math.ceil(self.times.end - self.times.start) + 1
        if not self.stopped and len(self.looks.seconds) < wanted and time.monotonic() >= self._next_look():
            self.looks.seconds.append(self.server.usage())

    def _stop_early(self) -> None:
        if self.stopped:
            return
        self.stopped = INTERRUPTED if self.interrupts.requested else self.server.end() or self._deserted()
        if self.stopped:
            self.looks.seconds.append(self.server.usage())
            self.workers.tell(Stop())
        self._heard_nothing(len(self._complete()) >= SILENT_SECONDS)

    def _deserted(self) -> str:
        """A server that is not ours to look at has ended if nobody is connected and nobody can be."""
        complete = self._complete()
        if not complete or any(tick.connected for tick in complete[-1].values()) or self.server.answers():
            return ""
        return f"the server at {self.server.target.shown} is gone"

    def _heard_nothing(self, enough: bool) -> None:
        ticks = [tick for each in self._complete() for tick in each.values()]
        if enough and any(tick.sent for tick in ticks) and not any(tick.delivered for tick in ticks):
            raise CannotRun(
                f"no message came back from {self.server.target.shown}: it is no chat server, "
                f"or not one that speaks {self.scenario.codec}"
            )

    def _complete(self) -> list[dict[int, Tick]]:
        """The seconds that all workers have told of."""
        whole = (self.ticks.get(number, {}) for number in range(1, len(self.ticks) + 1))
        return [each for each in whole if len(each) == len(self.workers)]

    def _show(self) -> None:
        load, now = self.load, time.monotonic()
        while self.shown < min(len(load.ticks), len(load.looks.seconds) - 1):
            self.shown += 1
            self.view.second(totals.second(load, self.shown))
        stage, since, until = ("warming up", self.times.start, self.times.measure)
        if now >= self.times.measure:
            stage, since, until = "measuring", self.times.measure, self.times.end
        self.view.stage(stage, max(0.0, min(now, until) - since), until - since)
