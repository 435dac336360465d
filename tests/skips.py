"""A pytest plugin: every skipped test is listed with its reason at the end of a run.

Where the environment says CI=true, a skip that `tests/skips.txt` does not allow fails the run.
"""

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from _pytest.terminal import TerminalReporter

ALLOWED_FILE: Final = Path("tests", "skips.txt")
_HOW_TO_ENABLE: Final = (
    "`sudo make parts` (Debian, Ubuntu) or `brew install node redis google-chrome` (macOS) installs what they need."
)
_SYSTEM_PARTS: Final = ("chromium", "npm", "redis-server")


class Skip(NamedTuple):
    """`test` is a node id, or a file of which nothing was collected."""

    test: str
    reason: str


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped what it should not have."""
    if session.exitstatus == pytest.ExitCode.OK and _forbidden(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    skips = list(_skips(config))
    if not skips:
        return
    terminalreporter.section("skipped tests")
    for skip in skips:
        terminalreporter.line(f"{skip.test}: {skip.reason}")
    for skip in _forbidden(config):
        terminalreporter.line(f"FAILED: {skip.test} is skipped, and {ALLOWED_FILE} does not allow it", red=True)
    if not all(map(shutil.which, _SYSTEM_PARTS)):
        terminalreporter.line(_HOW_TO_ENABLE)


def _skips(config: pytest.Config) -> Iterator[Skip]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for report in reporter.stats.get("skipped", []) if reporter else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        yield Skip(report.nodeid, reason.removeprefix("Skipped: "))


def _forbidden(config: pytest.Config) -> list[Skip]:
    if os.environ.get("CI") != "true":
        return []
    allowed = _globs(config.rootpath / ALLOWED_FILE)
    return [skip for skip in _skips(config) if not any(fnmatchcase(skip.test, glob) for glob in allowed)]


def _globs(file: Path) -> list[str]:
    """The test globs in `file`; each line says why after it."""
    lines = [line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line[0].startswith("#")]
    for line in wanted:
        if len(line) < 2:
            raise pytest.UsageError(f"{file}: {line[0]} needs a reason")
    return [glob for glob, _ in wanted]
