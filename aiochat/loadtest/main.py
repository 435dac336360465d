"""What the command does: the workloads in turn, a progress bar, the verdict as table or JSON and as exit code."""

import argparse
import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from aiochat.loadtest.plan import PlanError, Workload, workloads
from aiochat.loadtest.report import Result, as_json, print_table
from aiochat.loadtest.run import Tell, measure
from aiochat.loadtest.server import find, own_server

CLEAN: Final = 0
FAULTY: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
SPARE_FILES: Final = 100
MACOS_FILES: Final = 10_240  # its hard limit reads "unlimited", but more than this is refused


def main(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or 1 when messages or clients were lost, or 2 when it cannot be run so."""
    with _ended_by_sigterm():
        try:
            plans = workloads(arguments)
            _raise_file_limit(plans)
            results = _results(plans, arguments)
        except PlanError as error:
            print(f"aiochat loadtest: {error}", file=sys.stderr)
            return MISUSED
        except KeyboardInterrupt:
            print("aiochat loadtest: interrupted", file=sys.stderr)
            return INTERRUPTED
    if arguments.json:
        print(as_json(results))
    else:
        print_table(results, Console())
    return CLEAN if all(result.clean for result in results) else FAULTY


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """As by Ctrl-C: our server and workers are ended first."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _raise_file_limit(plans: list[Workload]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (MACOS_FILES, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max(plan.clients // plan.processes for plan in plans) + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise PlanError(f"that takes {needed} open files for each process, and the system allows {soft} (ulimit -Hn)")


def _results(plans: list[Workload], arguments: argparse.Namespace) -> list[Result]:
    console = Console(stderr=True)
    columns = TextColumn("{task.fields[name]}"), BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        return [_result(plan, arguments, _teller(progress, plan.name)) for plan in plans]


def _teller(progress: Progress, name: str) -> Tell:
    task = progress.add_task("", total=1, name=name)
    return lambda doing, share: progress.update(task, description=doing, completed=share)


def _result(plan: Workload, arguments: argparse.Namespace, tell: Tell) -> Result:
    if arguments.url is not None:
        return measure(plan, find(arguments.url), arguments.pid, pinned=False, tell=tell)
    tell("starting a server", 0)
    with own_server() as own:
        return measure(plan, own.target, own.pid, own.pinned, tell)
