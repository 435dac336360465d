"""Where the server's time goes: a scenario of the load test against a server of its own, with py-spy looking on.

`make profile` leaves a flame graph and prints the top of it. Where the system lets nobody look into another process,
the server runs under pyinstrument, which takes more of its time and leaves out what is not Python.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from bisect import bisect
from collections import Counter, defaultdict
from html import unescape
from pathlib import Path
from typing import Final

from benchmarks.servers import AIOCHAT, CannotStartError, Cores, pinned, running

GRAPH: Final = Path("profile.svg")
PAGE: Final = Path("profile.html")
SHOWN: Final = 15

# A box of the flame graph. Each is as wide as the boxes in it, which are in the next row, and what it did by itself.
_BOX: Final = re.compile(
    r"<title>(?P<name>[^<]*) \([\d,]+ samples?, [^)]*\)</title>"
    r'<rect [^>]*? y="(?P<y>\d+)"[^>]*? fg:x="(?P<x>\d+)" fg:w="(?P<width>\d+)"'
)


def own_samples(graph: str) -> Counter[str]:
    """By function, how often it was the innermost one."""
    rows: defaultdict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for box in _BOX.finditer(graph):
        rows[int(box["y"])].append((int(box["x"]), int(box["width"]), unescape(box["name"])))
    own: Counter[str] = Counter()
    outer: list[tuple[int, int, str]] = []
    for _, row in sorted(rows.items()):
        row.sort()
        starts = [x for x, _, _ in outer]
        for x, width, name in row:
            own[name] += width
            if outer:
                own[outer[bisect(starts, x) - 1][2]] -= width
        outer = row
    return own


def show(graph: Path) -> None:
    own = own_samples(graph.read_text(encoding="utf-8"))
    total = own.total() or 1
    print(f"\n{total} samples; {graph.absolute()} is the flame graph. Innermost:\n")
    for name, samples in own.most_common(SHOWN):
        print(f"{samples / total:7.1%}  {''.join(filter(str.isprintable, name))}")


def may_look_into(pid: int) -> bool:
    command = (*_py_spy("dump"), "--pid", str(pid))
    return not subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _py_spy(command: str) -> tuple[str, ...]:
    return str(Path(sys.executable).with_name("py-spy")), command


def _load(port: int, scenario: str, arguments: list[str]) -> int:
    url = f"ws://127.0.0.1:{port}/ws"
    command = (sys.executable, "-m", "aiochat", "loadtest", scenario, "--url", url, *arguments)
    return subprocess.run(command, check=False).returncode


def _watched(port: int, pid: int, scenario: str, arguments: list[str]) -> int:
    """The load, from its first connection to its last, under py-spy."""
    # Native frames show the system calls, which are most of it.
    flags = ("--native", "--function", "--duration", "unlimited", "--output", str(GRAPH), "--pid", str(pid))
    with tempfile.TemporaryFile() as said:
        spy = subprocess.Popen((*_py_spy("record"), *flags), stdout=said, stderr=said)
        code = _load(port, scenario, arguments)
        spy.send_signal(signal.SIGINT)
        if spy.wait():
            said.seek(0)
            print(said.read().decode(errors="replace"), file=sys.stderr)
            return 1
    show(GRAPH)
    return code


def profile(scenario: str, arguments: list[str]) -> int:
    """The load test's exit code, or 1 where there is no profile."""
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory() as folder:
        store = {"AIOCHAT_STORE__URL": f"sqlite:///{folder}/aiochat.db"}
        with running(AIOCHAT, cores, store) as server, pinned(cores.meter):
            if may_look_into(server.pid):
                return _watched(server.port, server.pid, scenario, arguments)
        python, *command = AIOCHAT.command
        under = (python, "-m", "pyinstrument", "--renderer", "html", "--outfile", str(PAGE), *command)
        with running(AIOCHAT._replace(command=under), cores, store) as server, pinned(cores.meter):
            code = _load(server.port, scenario, arguments)
    print(f"\n{PAGE.absolute()} is the profile; py-spy may not look into another process here, root may")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.profile", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="chat", help="a name, or a file; chat by default")
    scenario, arguments = parser.parse_known_args()
    try:
        return profile(scenario.scenario, arguments)
    except CannotStartError as error:
        print(f"benchmarks.profile: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
