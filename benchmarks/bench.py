"""Runs aiochat and its peers side by side, in interleaved rounds, and prints tables of medians (`make bench`)."""

import argparse
import contextlib
import resource
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from aiochat.loadtest.machine import machine
from benchmarks.docs import FOLDER, write_docs
from benchmarks.meters import Aiochat, Wsload
from benchmarks.report import show
from benchmarks.results import Results, merged, read, write
from benchmarks.rounds import Rounds
from benchmarks.runs import Bench
from benchmarks.servers import SERVERS, Cores
from benchmarks.workloads import WORKLOADS

TABLE_WIDTH: Final = 150  # a narrower terminal breaks the lines of the tables


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    try:
        files = [read(file) for file in arguments.files]
        results = merged(files) if files else _measured(arguments, console)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    show(results, console)
    if arguments.json:
        write(results, arguments.json)
    if arguments.docs:
        write_docs(results, FOLDER)
    return 0


def _measured(arguments: argparse.Namespace, console: Console) -> Results:
    _raise_file_limit()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    described = machine()  # with all of its cores, before any process is pinned
    cores = Cores.of_this_machine()
    meter = Wsload(arguments.wsload) if arguments.wsload else Aiochat(len(cores.meter))
    bench = Bench(meter, cores, arguments.seconds)
    if not cores.server:
        console.print("Server and meter share cores (this system can't pin them, or has one): figures vary more.")
    rounds = Rounds(
        console,
        bench,
        [each for each in WORKLOADS if each.name in arguments.only],
        [each for each in SERVERS if each.name in arguments.servers],
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # and goes on with what there is by then
        rounds.run(arguments.rounds)
    return Results(
        commands=[_command(arguments.argv)],
        started=started,
        machine=described,
        meter=arguments.meter,
        pinned=bool(cores.server),
        versions=dict(rounds.versions()),
        left_out=rounds.left_out,
        samples={name: dict(samples) for name, samples in rounds.samples.items()},
    )


def _command(argv: Sequence[str]) -> str:
    return f"make bench ARGS={shlex.quote(shlex.join(argv))}" if argv else "make bench"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__)
    add = parser.add_argument
    for flag, known in (("--only", [each.name for each in WORKLOADS]), ("--servers", [each.name for each in SERVERS])):
        add(flag, metavar="NAME,...", type=_names(known), default=known, help=f"of {', '.join(known)}; default: all")
    add("--rounds", metavar="N", type=int, default=3, help="of each workload; default: %(default)s")
    add("--seconds", metavar="S", type=float, help="of each run; default: what its scenario says")
    add("--meter", choices=("aiochat", "wsload"), default="aiochat", help="default: %(default)s")
    add("--wsload", metavar="PROGRAM", type=Path, help="the compiled wsload, for --meter wsload")
    add("--json", metavar="FILE", type=Path, help="write all that was measured to a file, too")
    add(
        "--from",
        metavar="FILE",
        type=Path,
        dest="files",
        nargs="+",
        default=[],
        help="measure nothing; take such files",
    )
    add("--docs", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.svg")
    arguments = parser.parse_args(argv)
    arguments.argv = sys.argv[1:] if argv is None else argv
    if (arguments.meter == "wsload") != bool(arguments.wsload):
        parser.error("--meter wsload and --wsload PROGRAM go together")
    return arguments


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        if unknown := set(given := text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; it takes {', '.join(known)}")
        return given

    return names


def _raise_file_limit() -> None:
    """The servers and the meter inherit it; the default of many systems is 1024 connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS: "unlimited", but not for the asking
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
