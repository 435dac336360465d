"""The programs in docs/examples: they do what docs/embedding.md says, whose code they are."""

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import aiohttp
from aiohttp.test_utils import BaseTestServer, TestServer

from tests.programs import JSON, Program
from tests.servers import talking

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "embedding.md"
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@asynccontextmanager
async def example(name: str) -> AsyncIterator[BaseTestServer]:
    """The application of an example, on a real socket."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    async with TestServer(module.make_app()) as server:
        yield server


def ws(server: BaseTestServer, name: str) -> str:
    """Where somebody of this name talks."""
    return str(server.make_url(f"/chat/ws?name={name}"))


async def test_nobody_swears() -> None:
    """Words are starred out, too many are refused, and nobody is called so."""
    async with example("profanity_filter") as server, talking(ws(server, "ann")) as ann:
        await ann.hear()
        await ann.say("Damn it, a damned heckler")
        assert await ann.hear() == "! not sent: say it politely"
        await ann.say("/me says Damn and hello")
        assert await ann.hear() == "* ann says **** and hello"
        async with talking(ws(server, "Blaster")) as rude:
            assert await rude.hear() == "! choose another name"


async def test_the_bot_answers() -> None:
    """After the question, to all; and programs have dice rolled."""
    async with example("bot") as server, talking(ws(server, "ann")) as ann:
        await ann.hear()
        await ann.say("!time")
        assert await ann.hear() == "ann: !time"
        assert re.fullmatch(r"clock: it is \d\d:\d\d UTC", await ann.hear())
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.make_url("/chat/ws"), protocols=(JSON,)) as socket,
        ):
            program = Program(socket)
            dice = (await program.ask("call", method="roll", data=5))["data"]
            assert len(dice) == 5
            assert set(dice) <= {1, 2, 3, 4, 5, 6}
            assert (await program.refusal("call", method="roll", data="five"))[0] == "bad_dice"


async def test_who_has_logged_in_chats() -> None:
    """With the cookie that the form gave; without it one is told to log in."""
    async with example("login") as server, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.ws_connect(server.make_url("/chat/ws"), protocols=(JSON,)) as socket:
            assert (await Program(socket).closed())[0] == 4401
        assert "Log in" in await (await browser.get(server.make_url("/"))).text()
        page = await browser.post(server.make_url("/login"), data={"user": "ann"})
        assert page.url.path == "/chat/"
        async with browser.ws_connect(server.make_url("/chat/ws"), protocols=(JSON,)) as socket:
            program = Program(socket)
            assert (await program.next("welcome"))["user"] == "ann"
            assert (await program.next("joined"))["room"] == "lobby"


async def test_an_example_can_be_started() -> None:
    """As it says in its first lines, at a port of one's choice; they all begin in the same way."""
    assert len({path.read_text().partition("if __name__")[2] for path in EXAMPLES}) == 1
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES[0])),
        env={**os.environ, "PORT": "0", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        assert b"Running on http://127.0.0.1:" in await process.stdout.readline()
    finally:
        process.terminate()
        await process.wait()


def test_the_document_shows_what_is_run() -> None:
    """Each of its blocks of code stands in an example."""
    programs = [dedent(line) for line in "\n".join(path.read_text() for path in EXAMPLES).split("\n")]
    blocks = _BLOCK.findall(DOCUMENT.read_text())
    assert len(blocks) >= 5
    whole = "\n".join(programs)
    for block in blocks:
        lines = "\n".join(dedent(line) for line in block.strip().split("\n"))
        assert lines in whole, block
