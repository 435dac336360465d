"""The Autobahn test suite, the one that WebSocket libraries are held against, on the connection of this server.

The suite runs on Python 2.7 alone; its environment is made once, in .venv/autobahn.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PINNED: Final = ROOT / "tests" / "autobahn.txt"
FOLDER: Final = ROOT / ".venv" / "autobahn"
CASES: Final = [f"{group}.*" for group in range(1, 11)]  # 12 and 13 are of compression, which is not offered
LATE: Final = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}  # UTF-8 is checked once a message is whole, not byte by byte

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def _interpreters() -> Iterator[str]:
    for name in ("python2.7", "pypy", "pypy2"):
        found = shutil.which(name)
        if found is not None:
            yield found
    yield from map(str, Path.home().glob(".pyenv/versions/*2.7*/bin/python2.7"))


def _is_python_2(interpreter: str) -> bool:
    """A shim of pyenv may be there and lead nowhere."""
    script = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    return not subprocess.run([interpreter, "-c", script], capture_output=True, check=False).returncode


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert not done.returncode, done.stdout


def _install(python_2: str) -> None:
    """virtualenv 20.21 is the newest that can make an environment of Python 2.7."""
    tool, suite = FOLDER / "virtualenv", FOLDER / "suite"
    shutil.rmtree(FOLDER, ignore_errors=True)
    _run(sys.executable, "-m", "venv", tool)
    _run(tool / "bin" / "python", "-m", "pip", "install", "--quiet", "virtualenv<20.22")
    _run(tool / "bin" / "virtualenv", "--quiet", "--python", python_2, suite)
    _run(suite / "bin" / "pip", "install", "--quiet", "--no-deps", "--requirement", PINNED)
    shutil.copy(PINNED, FOLDER / PINNED.name)


@pytest.fixture(scope="module")
def wstest() -> Path:
    """The suite's program."""
    installed = FOLDER / PINNED.name
    if not installed.exists() or installed.read_bytes() != PINNED.read_bytes():
        python_2 = next(filter(_is_python_2, _interpreters()), None)
        if python_2 is None:
            pytest.skip("the Autobahn test suite needs Python 2.7")
        _install(python_2)
    return FOLDER / "suite" / "bin" / "wstest"


@asynccontextmanager
async def _echoing(loop: str) -> AsyncIterator[str]:
    """The URL of an echo server on this loop."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.echo_server", loop), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(await process.stdout.readline())}/echo"
    finally:
        process.kill()
        await process.wait()


def _specify(folder: Path, specification: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "specification.json").write_text(json.dumps(specification))


async def _report(wstest: Path, folder: Path, cases: list[str]) -> dict[str, dict[str, Any]]:
    """What the suite says, by agent and case."""
    async with _echoing("uvloop") as uvloop, _echoing("asyncio") as stock:
        servers = [{"agent": "uvloop", "url": uvloop}, {"agent": "asyncio", "url": stock}]
        _specify(folder, {"outdir": str(folder), "servers": servers, "cases": cases, "exclude-cases": []})
        process = await asyncio.create_subprocess_exec(
            *(wstest, "--mode", "fuzzingclient", "--spec", "specification.json"),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode(errors="replace")
    report: dict[str, dict[str, Any]] = json.loads((folder / "index.json").read_text())
    assert report.keys() == {"uvloop", "asyncio"}
    return report


def _complaints(folder: Path, report: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By case: what did not pass, and what was expected."""
    complaints = {}
    for agent, cases in report.items():
        for case, result in cases.items():
            allowed = {"OK", "INFORMATIONAL"} | ({"NON-STRICT"} if case in LATE else set())
            if not {result["behavior"], result["behaviorClose"]} <= allowed:
                said = json.loads((folder / result["reportfile"]).read_text())
                complaints[case] = (
                    f"{case} on {agent}: {said['behavior']}, {said['result']}\n  {said['description']}\n"
                    f"  expected {said['expected']!s:.1000}\n  received {said['received']!s:.1000}\n"
                    f"  {said['behaviorClose']}, {said['resultClose']}"
                )
    return complaints


async def test_every_case_of_the_suite_passes(wstest: Path, tmp_path: Path) -> None:
    """On both loops: framing, pings, fragments, UTF-8, closing, and messages of 16 MiB; what is late is late only."""
    report = await _report(wstest, tmp_path / "all", CASES)
    assert all(len(cases) > 300 for cases in report.values())
    complaints = _complaints(tmp_path / "all", report)
    if complaints:  # its deadlines of a second are too short for a machine that does something else: once more, alone
        again = await _report(wstest, tmp_path / "again", list(complaints))
        complaints = _complaints(tmp_path / "again", again)
    assert not complaints, "\n".join(complaints.values())
