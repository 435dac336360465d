"""What waits for the embedding application's hooks: each client's one after the other, so many at once in all.

A hook runs in a task of its own. Nobody waits for it but the client that it is about; what it answers comes to the hub
as an item of a turn. One that takes too long is cancelled, and its place is free once it has ended.
"""

import asyncio
import math
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import msgspec

from aiochat.config import Hooks as Settings
from aiochat.errors import Reply, unavailable
from aiochat.hooks.registry import Refused
from aiochat.monitoring.counts import Counts
from aiochat.monitoring.tally import Tally

_END_SECONDS: Final = 1.0  # for who is cancelled at the end

Hook = Callable[..., Awaitable[Any]]
Then = Callable[[Any, Reply | None], object]


class BadAnswer(TypeError):
    """What a hook returned is not what it may return; the text is ours, and quotes nothing."""


class HookCall(msgspec.Struct, frozen=True, gc=False):
    """A hook, called `name` in the log, and what it is given; `check` makes an answer of what it returns."""

    name: str
    hook: Hook
    given: tuple[Any, ...]
    check: Callable[[Any], Any] | None = None


class _Waiting:
    """A call on its way. `then` is called with its answer, or a refusal; without it nobody waits for one."""

    __slots__ = ("call", "deadline", "is_late", "task", "then")

    def __init__(self, call: HookCall, then: Then | None, deadline: float) -> None:
        self.call = call
        self.then = then
        self.deadline = deadline
        self.is_late = False
        self.task: asyncio.Task[None] | None = None


class HookQueue:
    """Answers come through `put_item`, so that they are applied within a turn."""

    def __init__(
        self, settings: Settings, time: Callable[[], float], put_item: Callable[[Callable[[], object]], None]
    ) -> None:
        self._timeout_seconds = settings.timeout_seconds
        self._max_running = settings.max_running
        self._max_waiting = settings.max_waiting
        self._time = time
        self._put_item = put_item
        self._loop = asyncio.get_running_loop()
        self._lines: dict[str, deque[_Waiting]] = {}  # by client; the first of each runs, or is about to
        self._ready: deque[str] = deque()  # whose first waits for a place
        self._running: dict[str, _Waiting] = {}
        self._asked: dict[_Waiting, None] = {}  # that are not answered yet, the first due first
        self._told = 0  # that nobody waits for, and that have not ended
        self._settling: list[tuple[set[_Waiting], Callable[[], object]]] = []
        self._idle: asyncio.Future[None] | None = None
        self._tally = Tally()
        self.outcomes = Counts(("answered", "failed", "late", "refused", "skipped"))

    def ask(self, client: str, call: HookCall, then: Then) -> None:
        """Call the hook once all before it of this client are over.

        `then` is called once, within a turn, `timeout_seconds` after this at the latest (looked at once a second).
        """
        waiting = _Waiting(call, then, self._time() + self._timeout_seconds)
        self._asked[waiting] = None
        self._put(client, waiting)

    def tell(self, client: str, call: HookCall) -> None:
        """The same for what nobody waits for; beyond `max_waiting` of them it is left out."""
        if self._told >= self._max_waiting:
            self.outcomes.add("skipped")
            self._tally.warning("hook_skipped", call.name, hook=call.name, waiting=self._told)
            return
        self._told += 1
        self._put(client, _Waiting(call, None, math.inf))

    def check(self) -> None:
        """About once a second: give up what takes too long."""
        now = self._time()
        due = list(takewhile(lambda waiting: waiting.deadline <= now, self._asked))
        for waiting in (*due, *self._running.values()):
            if waiting.deadline <= now:
                self._give_up(waiting)

    def settle(self, then: Callable[[], object]) -> None:
        """Call `then` within a turn, after the answers to all that is asked by now."""
        if self._asked:
            self._settling.append((set(self._asked), then))
        else:
            self._put_item(then)

    async def idle(self) -> None:
        """Wait until nothing runs and nothing waits."""
        if self._lines:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.shield(self._idle)

    async def end(self) -> None:
        """Forget what waits, and cancel what runs."""
        self._lines.clear()
        self._ready.clear()
        self._asked.clear()
        tasks = []
        for waiting in self._running.values():
            waiting.is_late = True
            if waiting.task is not None:
                waiting.task.cancel()
                tasks.append(waiting.task)
        if tasks:
            await asyncio.wait(tasks, timeout=_END_SECONDS)

    @property
    def running(self) -> int:
        """How many run at the moment."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._lines

    def _give_up(self, waiting: _Waiting) -> None:
        name = waiting.call.name
        if not waiting.is_late:
            waiting.is_late = True
            self.outcomes.add("late")
            self._tally.warning("hook_late", name, hook=name, seconds=self._timeout_seconds)
            self._answer(waiting, None, unavailable("this takes too long"))
        if waiting.task is not None:
            waiting.task.cancel()  # again and again, should it not let itself be

    def _put(self, client: str, waiting: _Waiting) -> None:
        line = self._lines.get(client)
        if line is None:
            self._lines[client] = deque((waiting,))
            self._ready.append(client)
            self._start()
        else:
            line.append(waiting)

    def _start(self) -> None:
        while self._ready and len(self._running) < self._max_running:
            client = self._ready.popleft()
            waiting = self._lines[client][0]
            if waiting.is_late:
                self._advance(client)
                continue
            if waiting.then is None:
                waiting.deadline = self._time() + self._timeout_seconds
            self._running[client] = waiting
            waiting.task = self._loop.create_task(self._run(waiting))
            waiting.task.add_done_callback(partial(self._ended, client))

    async def _run(self, waiting: _Waiting) -> None:
        """Answer before the task ends: what a task says that the hook has begun comes after what the hook lets pass."""
        call = waiting.call
        try:
            answer = await call.hook(*call.given)
            if call.check is not None:
                answer = _checked(call.check, answer)
        except Refused as refused:
            self.outcomes.add("refused")
            self._answer(waiting, None, Reply(refused.code, refused.reason))
        except (Exception, SystemExit) as error:
            self._failed(waiting, error)
        except asyncio.CancelledError as error:
            if not waiting.is_late:  # it was the hook's own doing
                self._failed(waiting, error)
            raise
        else:
            self.outcomes.add("answered")
            self._answer(waiting, answer, None)

    def _failed(self, waiting: _Waiting, error: BaseException) -> None:
        self.outcomes.add("failed")
        log_failure(self._tally, waiting.call.name, error)
        self._answer(waiting, None, unavailable("this is not available"))

    def _answer(self, waiting: _Waiting, answer: Any, refusal: Reply | None) -> None:
        if waiting.then is None or waiting not in self._asked:
            return
        del self._asked[waiting]
        self._put_item(partial(waiting.then, answer, refusal))
        settled = []
        for others, then in self._settling:
            others.discard(waiting)
            if not others:
                settled.append(then)
        if settled:
            self._settling = [each for each in self._settling if each[0]]
        for then in settled:
            self._put_item(then)

    def _ended(self, client: str, task: asyncio.Task[None]) -> None:
        waiting = self._running.pop(client)
        if not task.cancelled() and (error := task.exception()) is not None:  # such as KeyboardInterrupt
            self._failed(waiting, error)
        if waiting.then is None:
            self._told -= 1
        if client in self._lines:
            self._advance(client)
            self._start()

    def _advance(self, client: str) -> None:
        line = self._lines[client]
        line.popleft()
        if line:
            self._ready.append(client)
        else:
            del self._lines[client]
        if not self._lines and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None


def _checked(check: Callable[[Any], Any], answer: Any) -> Any:
    try:
        return check(answer)
    except UnicodeError:
        raise BadAnswer("text: takes Unicode without lone surrogates") from None
    except (TypeError, ValueError, Reply) as error:
        raise BadAnswer(str(error)) from None


def log_failure(tally: Tally, hook: str, error: BaseException) -> None:
    """What went wrong, and where. Not the error's text, unless it is ours: it often quotes what it failed on."""
    what = str(error) if isinstance(error, BadAnswer) else type(error).__qualname__
    frames = traceback.extract_tb(error.__traceback__)[1:]
    trace = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    tally.warning("hook_failed", f"{hook}: {what}", hook=hook, error=what, trace=trace)
