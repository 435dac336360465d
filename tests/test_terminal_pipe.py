"""`aiochat chat` in a pipe, and what it shows: the parts that need no server."""

import asyncio
import gc
import os
import threading
import warnings
from unittest.mock import AsyncMock, Mock

import pytest

from aiochat.messages import HistoryPage
from aiochat.terminal.lines import lines
from aiochat.terminal.pipe import Pipe
from tests.scripted import messages


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


def test_one_line_of_history_is_one() -> None:
    """And two are two."""
    pages = [HistoryPage(room="kitchen", epoch="e", messages=messages(1, last), more=False) for last in (1, 2)]
    shown = [next(lines(page, "c1")).text for page in pages]
    assert shown == ["* the last line of kitchen:", "* the last 2 lines of kitchen:"]
