"""docs/operations.md has all that an operator meets: settings, metrics, log events, close codes, tests that exist."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

import aiochat
from aiochat.config import DEFAULT_FILE
from aiochat.errors import Close

CHECKOUT = Path(__file__).parent.parent
DOCUMENT = CHECKOUT.joinpath("docs", "operations.md").read_text(encoding="utf-8")
LEVELS = {"info", "warning", "error", "exception", "critical"}


def section(title: str) -> str:
    """What stands below this heading."""
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> set[str]:
    """The names in the first column of the section's table."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}


def strings(node: ast.expr) -> Iterator[str]:
    """A constant, or the two of a condition."""
    for branch in (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,):
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield branch.value


def logged_events() -> set[str]:
    """All that the package logs by name."""
    files = [file for file in Path(aiochat.__file__).parent.rglob("*.py") if "loadtest" not in file.parts]
    calls = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    return {
        event
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS and call.args
        for event in strings(call.args[0])
    }


def test_every_setting_is_there_with_its_default() -> None:
    """As default.toml has it."""
    settings = tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", section("Settings"), re.MULTILINE))
    wanted = {f"{name}.{key}": value for name, keys in settings.items() for key, value in keys.items()}
    assert {name: tomllib.loads(f"value = {default}")["value"] for name, default in rows.items()} == wanted


async def test_every_metric_is_there() -> None:
    """Also those that only an application with hooks has."""
    app = web.Application()
    chat = aiochat.setup(app, aiochat.load(None, {"store": {"url": "memory:"}}), hooks=aiochat.Hooks())
    runner = web.AppRunner(app)
    await runner.setup()
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in chat.metrics.collect()}
    await runner.cleanup()
    assert first_cells("Metrics") == names


def test_every_log_event_is_there() -> None:
    """Whatever the package logs, and nothing that it does not."""
    assert first_cells("Log") == logged_events()


def test_every_close_code_is_there() -> None:
    """Those of RFC 6455 that are used, and our own."""
    rows = re.findall(r"^\| ([\d, ]+?) \|", section("Close codes"), re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(", ")} == set(map(int, Close))


def test_the_tests_it_names_exist() -> None:
    """Each line of who can do what is shown by some."""
    named = set(re.findall(r"`(test_\w+)`", section("Who can do what, and what stops them")))
    assert len(named) > 30
    assert [name for name in named if not CHECKOUT.joinpath("tests", f"{name}.py").exists()] == []
