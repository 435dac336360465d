"""One worker as its parent sees it: started, heard, told to stop, and started again by `aiochat.workers.parent`."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
import structlog

from aiochat.config import Config
from aiochat.workers.channel import Begin, Failed, Ready, Report, Turned, line

HANGS_AFTER: Final = 20  # ticks of a second, without a turn of its hub
STARTS_WITHIN: Final = 60  # ticks
_MODULE: Final = "aiochat.workers.child"
_OF_SYSTEMD: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # it is the parent whom systemd hears

_log: structlog.stdlib.BoundLogger = structlog.get_logger()
_decoder: Final = msgspec.json.Decoder(Report)


class Death(NamedTuple):
    """The end of one of its lives."""

    reason: str
    seconds: float  # for which it was ready
    was_told: bool  # by the worker itself


class Worker:
    """Has one life after another. `listening` are its sockets, as `Sockets.of` has them."""

    def __init__(self, number: int, config: Config, listening: Sequence[Sequence[socket.socket]]) -> None:
        self.number = number
        self.clients = 0
        self.ready = asyncio.Event()
        self.pid: int | None = None  # while it lives
        self.is_clean = True  # whether it has ended as it should, if it has ended
        self._descriptors = [[opened.fileno() for opened in sockets] for sockets in listening]
        self._begin = line(Begin(number, config.model_dump(mode="json"), self._descriptors))
        self._silent_ticks = 0
        self._ready_at = 0.0
        self._told = ""  # why it ends, if it has said so

    @property
    def hangs(self) -> bool:
        """Whether its hub has not turned for too long, or it has not come to be ready."""
        return self._silent_ticks >= (HANGS_AFTER if self.ready.is_set() else STARTS_WITHIN)

    async def live(self) -> Death:
        """From its start to its end."""
        try:
            process, ours = await self._start()
        except OSError as error:
            return Death(f"it cannot be started: {error.strerror}", 0, was_told=False)
        self._told, self._silent_ticks, self.pid = "", 0, process.pid
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(self._begin)
        with suppress(OSError):
            async for report in reader:
                self._hear(_decoder.decode(report))
        code = await process.wait()
        writer.close()
        was_ready, self.pid, self.clients = self.ready.is_set(), None, 0
        self.ready.clear()
        self.is_clean = code == 0 or (not was_ready and -code in (signal.SIGINT, signal.SIGTERM))
        seconds = asyncio.get_running_loop().time() - self._ready_at if was_ready else 0
        return Death(self._told or _fate(code), seconds, bool(self._told))

    def tick(self) -> None:
        """Called once a second, by a clock that stands still while this machine or process does."""
        if self.pid is None:
            return
        self._silent_ticks += 1
        if self.hangs:
            _log.error("worker_hangs", worker=self.number, pid=self.pid, seconds=self._silent_ticks)
            self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """A signal, if it lives."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _start(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        ours, theirs = socket.socketpair()
        kept = {name: value for name, value in os.environ.items() if name not in _OF_SYSTEMD}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[descriptor for descriptors in self._descriptors for descriptor in descriptors],
                # Where this process found aiochat and the rest, that one finds them, too.
                env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # an interrupt from the terminal is for the parent, which passes it on
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, ours

    def _hear(self, report: Report) -> None:
        self._silent_ticks = 0
        match report:
            case Ready():
                self._ready_at = asyncio.get_running_loop().time()
                self.ready.set()
                _log.info("worker_ready", worker=self.number, pid=self.pid)
            case Turned(clients):
                self.clients = clients
            case Failed(reason):
                self._told = reason


def _fate(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
