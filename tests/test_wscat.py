"""The tutorial's session with the real `wscat`, in pseudo-terminals."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pexpect
import pytest

from tests.servers import Server

_INSTALLED: Final = Path(__file__).parent / "node_modules" / ".bin" / "wscat"
WSCAT: Final = str(_INSTALLED) if _INSTALLED.exists() else shutil.which("wscat")

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(WSCAT is None, reason="wscat is absent; `make test` installs it where there is npm"),
    # A pseudo-terminal takes a fork, and a worker of pytest-xdist has a thread; the child runs wscat and nothing else.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Terminal:
    """wscat in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._child = pexpect.spawn(str(WSCAT), ["--no-color", *arguments], encoding="utf-8", echo=False, timeout=30)

    async def shows(self, text: str) -> str:
        """Wait until it stands in the terminal; what was written to the terminal before it."""
        await asyncio.to_thread(self._child.expect_exact, text)
        return self._child.before or ""

    async def ended(self) -> None:
        """wscat has ended by itself."""
        await asyncio.to_thread(self._child.expect_exact, pexpect.EOF)

    def type(self, line: str) -> None:
        """As from the keyboard, with Enter."""
        self._child.send(line + "\r")

    def press_ctrl_c(self) -> None:
        self._child.sendintr()

    def close(self) -> None:
        self._child.close(force=True)


@pytest.fixture
def wscat() -> Iterator[Callable[..., Terminal]]:
    """Starts `wscat` with these arguments; it ends with the test."""
    with ExitStack() as stack:

        def started(*arguments: str) -> Terminal:
            terminal = Terminal(*arguments)
            stack.callback(terminal.close)
            return terminal

        yield started


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_the_tutorials_session(shared: Server, wscat: Callable[..., Terminal], scheme: str) -> None:
    """Two terminals: type in one, read in the other, and the sender sees its own line."""
    url = f"{scheme}://127.0.0.1:{shared.port}/ws"
    first, second = wscat("-c", url), wscat("-c", url)
    for terminal in (first, second):
        await terminal.shows("Connected (press CTRL+C to quit)")
    first.type("hello, world")
    for terminal in (first, second):
        assert "< " not in await terminal.shows("< hello, world"), "this is the first line it shows"
    second.type("grüße 🙂")
    for terminal in (first, second):
        assert "< " not in await terminal.shows("< grüße 🙂")
    first.press_ctrl_c()
    await first.ended()
    second.type("alone")
    assert "< " not in await second.shows("< alone")


async def test_a_named_session(shared: Server, wscat: Callable[..., Terminal], room: str) -> None:
    """Names, commands and notices as they stand in a terminal; `/quit` ends wscat."""
    url = f"http://127.0.0.1:{shared.port}/ws/{room}"
    alice, other = wscat("-c", f"{url}?name=alice"), wscat("-c", url)
    await alice.shows(f"< * you are in {room} as alice; ")
    await other.shows("Connected")
    other.type("/nick bob")
    await other.shows(f"< * you are bob in {room}")
    other.type("hello")
    for terminal in (alice, other):
        await terminal.shows("< bob: hello")
    other.type("/quit")
    await other.shows('Disconnected (code: 1000, reason: "bye")')
    await other.ended()


async def test_nobody_drives_another_ones_terminal(shared: Server, wscat: Callable[..., Terminal], room: str) -> None:
    """What would clear the screen, set the title or ring the bell arrives as harmless characters."""
    url = f"http://127.0.0.1:{shared.port}/ws/{room}"
    reading = wscat("-c", url)
    await reading.shows("Connected")
    wscat("-c", url, "-x", "begin", "-x", "\x1b[2J\x1b]0;owned\x07\x9b31m\b\bend", "-w", "0")
    await reading.shows("< begin")
    shown = await reading.shows("end")
    assert "\ufffd[2J\ufffd]0;owned\ufffd\ufffd31m\ufffd\ufffd" in shown
    for raw in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\b"):
        assert raw not in shown
