"""The server's end of the writer process: starts it, sends it requests, takes its answers, and sees to its end."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Self, cast

import structlog

from aiochat.errors import StartError
from aiochat.roomlog.wire import Answered, Asked, Failed, Frames, decode_answer, frame

DIED: Final = "its writer process died"

_MODULE: Final = "aiochat.roomlog.writer"
_END_SECONDS: Final = 1.0  # from the end of its socket to its own
_KILL_SECONDS: Final = 0.5  # beyond which it hangs in the kernel, as on a dead disk

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class WriterProcess(asyncio.Protocol):
    """One run of it. Requests are answered in their order, each once: those it leaves open, by `Failed`."""

    def __init__(self, process: "subprocess.Popen[bytes]", on_lost: "Callable[[WriterProcess], None]") -> None:
        self.is_open = False
        self._process = process
        self._on_lost = on_lost
        self._answers: deque[Callable[[Answered], None]] = deque()
        self._frames = Frames()
        self._transport: asyncio.WriteTransport

    @classmethod
    async def start(cls, on_lost: "Callable[[WriterProcess], None]") -> Self:
        """`on_lost` is called once, when it can answer nothing more. Raises `StartError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            # Where this process found aiochat and msgspec, that one finds them, too.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            try:
                process = subprocess.Popen(  # noqa: ASYNC220 - a millisecond, and it needs no event loop to be reaped
                    (sys.executable, "-m", _MODULE),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # an interrupt from the terminal is for the server, which ends it
                )
            except OSError as error:
                ours.close()
                raise StartError(f"cannot start {sys.executable} -m {_MODULE}: {error.strerror}") from None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_unix_connection(partial(cls, process, on_lost), sock=ours)
        return protocol

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: Asked, answer: Callable[[Answered], None]) -> None:
        framed = frame(request)  # which may fail
        self._answers.append(answer)
        self._transport.write(framed)

    async def answer_to(self, request: Asked) -> Answered:
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self.ask(request, lambda answered: None if future.done() else future.set_result(answered))
        return await future

    async def end(self, *, at_once: bool = False) -> int | None:
        """Close the socket and wait for the process, which then ends or is killed; its exit status, if it has one.

        What was acknowledged is safe in any case.
        """
        self._transport.abort()
        if at_once:
            self._process.kill()
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._wait))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by its class
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            try:
                self._answers.popleft()(decode_answer(body))
            except Exception:  # a defect of whoever asked must not cost the others their answers
                _logger.exception("store_answer_failed")

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        while self._answers:
            self._answers.popleft()(Failed(DIED))
        self._on_lost(self)

    def _wait(self) -> int | None:
        for seconds in (_END_SECONDS, _KILL_SECONDS):
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(seconds)
            self._process.kill()
        return None
