"""What the node asks of Redis: one connection, one pipeline in flight, and what waits is in the next ones.

There are two lines: what people say and read goes first, so that no crowd of what may wait holds it up. The answers of
each come in the order of the calls. After a lost connection what was not answered is asked again, which scripts and
their callers allow, until it has waited for `store.wait_seconds`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from aiochat.errors import StoreError
from aiochat.roomlog.redis.connections import PASSING, Connect, Connection, NoScriptError, ResponseError, pack

_CALLS_AT_ONCE: Final = 32  # of each line; a read may be answered with 256 KiB
_WAITING_BYTES: Final = 128 << 20  # of what may wait: a membership that is registered anew takes 2.5 KiB
_CALL_BYTES: Final = 512  # what a call takes beside its commands
_BACKOFF_SECONDS: Final = (0.0, 0.05, 0.1, 0.2, 0.5)
_FAILURES_SECONDS: Final = 60.0  # between two log events about what Redis refused

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()

Command = tuple[str | bytes | int, ...]
Replies = Callable[[list[Any] | StoreError], object]


class _Call(msgspec.Struct, frozen=True, eq=False):
    packed: Sequence[bytes]
    answer: Replies
    deadline: float
    must_be_replicated: bool
    size: int  # in bytes, if it may wait, else 0


class Away(Exception):
    """Redis cannot be asked at the moment, or not in time."""


class Pipeline:
    """`scripts` are loaded where Redis does not know them."""

    def __init__(self, connect: Connect, scripts: Sequence[str], wait_seconds: float, wait_replicas: int) -> None:
        self._connect = connect
        self._scripts = list(scripts)
        self._wait_seconds = wait_seconds
        self._wait_replicas = wait_replicas
        self._time = asyncio.get_running_loop().time
        self._connection: Connection | None = None
        self._first: deque[_Call] = deque()
        self._waiting: deque[_Call] = deque()  # what may wait
        self._waiting_bytes = 0
        self._is_asked = asyncio.Event()
        self._is_closing = False
        self._failures = 0  # attempts since the last that worked
        self._away_since: float | None = None  # the first that was asked without an answer
        self._next_failure = 0.0  # when one is logged again

    @property
    def is_away(self) -> bool:
        return self._away_since is not None

    def load(self, script: str) -> None:
        """One more, before it is called."""
        self._scripts.append(script)

    @property
    def _has_calls(self) -> bool:
        return bool(self._first or self._waiting)

    def ask(
        self, commands: Sequence[Command], answer: Replies, *, must_be_replicated: bool = False, may_wait: bool = False
    ) -> None:
        """Send `commands`; `answer` is called once with their replies, errors of Redis among them, or a `StoreError`.

        Held for `store.wait_seconds` at most from when Redis was last there; beyond it there is an answer at once, and
        so there is if more than 128 MiB would wait of what may.
        """
        now = self._time()
        if self._is_closing or (self._away_since is not None and now - self._away_since >= self._wait_seconds):
            answer(StoreError("Redis is away"))
            return
        packed = [pack(command) for command in commands]
        size = sum(map(len, packed)) + _CALL_BYTES if may_wait else 0
        if may_wait and self._waiting_bytes + size > _WAITING_BYTES:
            answer(StoreError("too much waits for Redis"))
            return
        self._waiting_bytes += size
        line = self._waiting if may_wait else self._first
        line.append(_Call(packed, answer, now + self._wait_seconds, must_be_replicated, size))
        self._is_asked.set()

    async def run(self) -> None:
        """Until everything is answered after `close`."""
        while self._has_calls or not self._is_closing:
            if self._connection is not None and not self._has_calls:
                self._is_asked.clear()
                await self._is_asked.wait()
                continue
            began = self._time()
            try:
                await self._round_trip()
            except Exception as error:  # whatever it was: this connection is of no use
                await self._give_up(error, began)
        await self._disconnect()

    def close(self) -> None:
        self._is_closing = True
        self._is_asked.set()

    def refuse_all(self, reason: str) -> None:
        """Answer what is left, after the end of `run`."""
        for line in (self._first, self._waiting):
            while line:
                self._answer(self._next(line), StoreError(reason))

    def _next(self, line: deque[_Call]) -> _Call:
        call = line.popleft()
        self._waiting_bytes -= call.size
        return call

    async def _round_trip(self) -> None:
        calls = [*islice(self._first, _CALLS_AT_ONCE), *islice(self._waiting, _CALLS_AT_ONCE)]
        async with asyncio.timeout(max(0.1, self._wait_seconds / 2)):
            if self._connection is None:
                await self._begin()
            replies = await self._replies(calls)
        self._failures = 0
        self._came_back()
        for call, replied in zip(calls, replies, strict=True):
            self._answer(self._next(self._waiting if call.size else self._first), replied)

    async def _begin(self) -> None:
        connection = self._connect()
        try:
            await connection.connect()
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def _replies(self, calls: Sequence[_Call]) -> list[list[Any] | StoreError]:
        packed = [command for call in calls for command in call.packed]
        replies = await self._send(packed)
        while (unknown := _first(replies, NoScriptError)) is not None:
            await self._send([pack(("SCRIPT", "LOAD", script)) for script in self._scripts])
            replies[unknown:] = await self._send(packed[unknown:])
        passing = _first(replies, PASSING)
        if passing is not None:
            raise Away(str(replies[passing]))
        lost = (
            None if await self._is_replicated(calls) else StoreError(f"not on {self._wait_replicas} replicas in time")
        )
        each = iter(replies)
        replied = [list(islice(each, len(call.packed))) for call in calls]
        return [
            lost if lost is not None and call.must_be_replicated else its
            for call, its in zip(calls, replied, strict=True)
        ]

    async def _is_replicated(self, calls: Sequence[_Call]) -> bool:
        """Whether enough replicas have all that was just written."""
        if not self._wait_replicas or not any(call.must_be_replicated for call in calls):
            return True
        wait_ms = int(self._wait_seconds * 250)
        (count,) = await self._send([pack(("WAIT", self._wait_replicas, wait_ms))])
        return isinstance(count, int) and count >= self._wait_replicas

    async def _send(self, packed: Sequence[bytes]) -> list[Any]:
        connection = self._connection
        assert connection is not None
        if packed:
            await connection.send(packed)
        return [await connection.reply() for _ in packed]

    def _answer(self, call: _Call, replied: list[Any] | StoreError) -> None:
        if isinstance(replied, list):
            refused = next((reply for reply in replied if isinstance(reply, ResponseError)), None)
            if refused is not None and self._time() >= self._next_failure:
                self._next_failure = self._time() + _FAILURES_SECONDS
                _logger.error("redis_refused", reason=str(refused))
        try:
            call.answer(replied)
        except Exception:  # a defect of whoever asked must not cost the others their answers
            _logger.exception("redis_answer_failed")

    async def _give_up(self, error: Exception, began: float) -> None:
        await self._disconnect()
        if self._away_since is None:
            self._away_since = began
            _logger.warning("redis_lost", reason=reason_of(error))
        is_over = self._is_closing
        for line in (self._first, self._waiting):
            while line and (is_over or line[0].deadline <= self._time()):
                self._answer(self._next(line), StoreError(f"Redis is away: {reason_of(error)}"))
        if not is_over:
            await asyncio.sleep(_BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)])
        self._failures += 1

    def _came_back(self) -> None:
        if self._away_since is not None:
            _logger.info("redis_back", seconds=round(self._time() - self._away_since, 1))
            self._away_since = None

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _first(replies: Sequence[Any], kind: type[Exception] | tuple[type[Exception], ...]) -> int | None:
    return next((place for place, reply in enumerate(replies) if isinstance(reply, kind)), None)


def reason_of(error: Exception) -> str:
    """In one line, for people."""
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
