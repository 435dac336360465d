"""What the command does: checks all that is asked, runs the rounds, writes the reports; the exit code says how."""

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from aiochat.loadtest import rounds, server, target
from aiochat.loadtest.descriptors import fitted, limits
from aiochat.loadtest.interrupts import Interrupts
from aiochat.loadtest.machine import cores, machine
from aiochat.loadtest.record import Record
from aiochat.loadtest.record import Server as Described
from aiochat.loadtest.report import compare, page, table
from aiochat.loadtest.report.compare import IncomparableError
from aiochat.loadtest.rounds import Plan, Rounds
from aiochat.loadtest.scenario import FOLDER, CannotRun, Scenario, content, load, names, override
from aiochat.loadtest.server import Server

CLEAN: Final = 0
FAULTY: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
STDOUT: Final = "-"
PAGE: Final = "loadtest-report.html"
MAX_PROCESSES: Final = 16  # more receive faster than any server of one core sends


def main(arguments: argparse.Namespace) -> int:
    """The exit code: 0; 1 where something went wrong or is worse; 2 where it cannot be run; 130 after Ctrl-C."""
    if arguments.list:
        return _list()
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    interrupts = Interrupts()
    try:
        with interrupts:
            scenario = _scenario(arguments)
            old = _old(arguments, scenario)
            _check_files(arguments)
            plan = _plan(arguments, scenario)
            record = _record(arguments, scenario, plan, rounds.run(plan, interrupts), started)
            code = _reported(arguments, record, old)
            return INTERRUPTED if interrupts.requested else code
    except (CannotRun, IncomparableError) as error:
        _say(str(error))
        return MISUSED
    except KeyboardInterrupt:
        _say(
            "interrupted again: there is no report" if interrupts.count > 1 else "interrupted, and nothing was measured"
        )
        return INTERRUPTED


def _list() -> int:
    for name in names():
        print(f"{name:<12}{load(name, {}).title}")
    print(f"\nEach is a file in {FOLDER}: copy one, change it, and run it with aiochat loadtest FILE.toml")
    return CLEAN


def _say(line: str) -> None:
    print(f"aiochat loadtest: {line}", file=sys.stderr)


def _scenario(arguments: argparse.Namespace) -> Scenario:
    """--set, and over it --clients and --seconds."""
    overrides = dict(map(override, arguments.set))
    for key in ("clients", "seconds"):
        if (value := getattr(arguments, key)) is not None:
            overrides |= [override(f"{key}={value}")]
    return load(arguments.scenario, overrides)


def _old(arguments: argparse.Namespace, scenario: Scenario) -> Record | None:
    if arguments.compare is None:
        return None
    old = compare.read(Path(arguments.compare))
    compare.check(old, content(scenario))
    return old


def _check_files(arguments: argparse.Namespace) -> None:
    """A report that cannot be written is no news to have after a minute."""
    for flag in ("json", "html"):
        path = getattr(arguments, flag)
        if path not in (None, STDOUT) and not Path(path).absolute().parent.is_dir():
            raise CannotRun(f"--{flag} {path!r}: there is no such folder")


def _plan(arguments: argparse.Namespace, scenario: Scenario) -> Plan:
    if arguments.peer and not scenario.steady:
        raise CannotRun(
            f"--peer: it only sends on what it gets, and {arguments.scenario} does more than that; broadcast does not"
        )
    for flag in ("rounds", "processes"):
        if (number := getattr(arguments, flag)) is not None and number < 1:
            raise CannotRun(f"--{flag} is {number}; it takes 1 or more")
    found = _server(arguments, scenario)
    processes = arguments.processes or max(1, min(MAX_PROCESSES, cores() - 1))
    scenario = fitted(scenario, limits(processes, found.pids if found else (), own=found is None))
    return Plan(
        name=Path(arguments.scenario).stem,
        scenario=scenario,
        server=found,
        processes=min(processes, scenario.clients),
        rounds=arguments.rounds,
        peer=arguments.peer,
        quiet=arguments.quiet,
    )


def _server(arguments: argparse.Namespace, scenario: Scenario) -> Server | None:
    if arguments.pid is not None and len(arguments.url or ()) != 1:
        raise CannotRun("--pid goes with one --url: it is the process of the server there")
    if arguments.url is None:
        return None
    found = server.at_urls(arguments.url, arguments.pid)
    for node in found.target.nodes:
        target.check(node, scenario)
    return found


def _record(arguments: argparse.Namespace, scenario: Scenario, plan: Plan, measured: Rounds, started: str) -> Record:
    own = plan.server is None
    return Record(
        scenario_name=plan.name,
        scenario=content(scenario),
        command=target.shown(arguments.command),
        started=started,
        machine=machine(),
        server=Described(measured.url, own, measured.pinned, server.settings() if own else {}),
        rounds=measured.ours,
        peer_rounds=measured.peers,
        processes=plan.processes,
    )


def _reported(arguments: argparse.Namespace, record: Record, old: Record | None) -> int:
    only_json = arguments.json == STDOUT
    console = Console(stderr=only_json)
    if only_json:
        print(msgspec.json.encode(record).decode())
    else:
        table.show(record, console)
    _write(arguments, record, console)
    clean = all(each.outcome.clean for each in record.rounds)
    clean = clean and not any(each.ended_early for each in (*record.rounds, *record.peer_rounds))
    if old is not None:
        comparison = compare.compare(old, record)
        compare.show(comparison, console)
        clean = clean and not comparison.worse
    return CLEAN if clean else FAULTY


def _write(arguments: argparse.Namespace, record: Record, console: Console) -> None:
    html = arguments.html or (PAGE if sys.stdout.isatty() and arguments.json != STDOUT else None)
    try:
        if arguments.json not in (None, STDOUT):
            Path(arguments.json).write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        if html is not None:
            page.write(record, Path(html))
            console.print(f"the report with charts is in {html}", markup=False, highlight=False, soft_wrap=True)
    except OSError as error:
        raise CannotRun(f"{error.filename!r} cannot be written: {error.strerror}") from None
