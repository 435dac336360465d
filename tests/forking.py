"""Server processes for tests, forked from one that has imported the server: its imports are nine tenths of a start."""

import asyncio
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, Final, Self

from aiochat.cli import main

_LINE_BYTES: Final = 1 << 20
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "aiochat.serve", "uvloop"])


class Forked:
    """One process, as far as tests use what asyncio has for those that it starts."""

    def __init__(self, process: ForkServerProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._process = process
        self._is_gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    @classmethod
    async def start(cls, *arguments: str, environment: Mapping[str, str], **options: Any) -> Self:
        """`aiochat` with these arguments; `options` are those of `_run`."""
        (stdout, its_stdout), (stderr, its_stderr) = _CONTEXT.Pipe(duplex=False), _CONTEXT.Pipe(duplex=False)
        given = (arguments, dict(environment), its_stdout, its_stderr)
        process = _CONTEXT.Process(target=_run, args=given, kwargs=options, daemon=True)
        process.start()
        its_stdout.close()
        its_stderr.close()
        return cls(process, await _reading(stdout), await _reading(stderr))

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it is gone."""
        await self._is_gone.wait()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self.returncode = self._process.exitcode
        self._process.close()
        self._is_gone.set()


async def _reading(pipe: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(_LINE_BYTES)
    with pipe:
        file = os.fdopen(os.dup(pipe.fileno()), "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


def _run(
    arguments: list[str],
    environment: dict[str, str],
    stdout: Connection,
    stderr: Connection,
    *,
    uvloop: bool,
    descriptors: int | None,
    before: str,
) -> None:
    """In the process. Without uvloop to import, the server runs on asyncio's own loop."""
    for number, pipe in ((1, stdout), (2, stderr)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.environ.clear()
    os.environ.update(environment)
    if not uvloop:
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    exec(before, {})  # beside what is imported already
    sys.exit(main(arguments))
