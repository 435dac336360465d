"""`aiochat chat` in a pipe, and what it shows: the parts that need no server."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterable
from functools import partial
from unittest.mock import AsyncMock, Mock

import pytest

from aiochat.errors import Reply
from aiochat.messages import HistoryPage, Publish
from aiochat.sdk import ChatEvent
from aiochat.terminal.lines import Line, lines, refusal
from aiochat.terminal.pipe import Pipe
from aiochat.terminal.talk import Talk, talk
from tests.scripted import Script, message, messages


class OneLine:
    """A face at which one line is typed, and no more."""

    def __init__(self, typed: asyncio.Event, shown: list[str], talk: Talk) -> None:
        self._typed = typed
        self._shown = shown
        self._talk = talk

    def heard(self, event: ChatEvent) -> bool:
        return True

    def show(self, shown: Iterable[Line]) -> None:
        self._shown += [line.text for line in shown]

    async def type(self) -> int:
        await self._talk.do(Publish(room="lobby", text="bye"))
        self._typed.set()
        return 0

    async def finish(self) -> None:
        """It has been."""


async def test_what_was_said_last_is_shown_before_the_end(script: Script) -> None:
    """Its ack is there first: the talk ends once it has come itself."""
    typed, shown = asyncio.Event(), list[str]()
    talking = asyncio.create_task(talk(script.url, "lobby", "alice", partial(OneLine, typed, shown)))
    peer = await script.connection()
    await peer.welcome()
    await peer.admit(offset=5)
    await peer.acknowledge(6)
    await typed.wait()
    await peer.tell(message(6))
    assert (await talking, shown[-1]) == (0, "bob: message 6")


def test_what_comes_after_the_end_of_a_chat_is_left_in_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word: the loop is closed, and the thread that reads may still have got a line."""
    reader, writer = os.pipe()
    talk = Mock()
    talk.do = AsyncMock(return_value=False)
    before = set(threading.enumerate())
    with os.fdopen(reader) as typed, os.fdopen(writer, "w") as typing, warnings.catch_warnings(record=True) as warned:
        monkeypatch.setattr("sys.stdin", typed)
        typing.write("/quit\n")
        typing.flush()
        assert asyncio.run(asyncio.wait_for(Pipe(talk).type(), 5)) == 0
        typing.write("one\ntwo\n")
        typing.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
        gc.collect()
    assert warned == []


@pytest.mark.parametrize(
    ("code", "shown"),
    [("unavailable", "! perhaps not sent: so it is"), ("forbidden", "! not sent: so it is")],
)
def test_what_may_come_all_the_same_is_not_said_to_be_refused(code: str, shown: str) -> None:
    """A message that the history was too late for was tried for seconds, and each time may have got there."""
    assert [line.text for line in refusal(Reply(code, "so it is"), Publish(room="lobby", text="hi"))] == [shown]


def test_one_line_of_history_is_one() -> None:
    """And two are two."""
    pages = [HistoryPage(room="kitchen", epoch="e", messages=messages(1, last), more=False) for last in (1, 2)]
    shown = [next(lines(page, "c1")).text for page in pages]
    assert shown == ["* the last line of kitchen:", "* the last 2 lines of kitchen:"]
