"""`sqlite:///FILE` keeps the room log in a file, written by a process of its own (aiochat.roomlog.writer).

This is the server's side of it: drafts become chunks of encoded entries, answers become entries.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from aiochat.config import Config
from aiochat.errors import StartError, StoreError
from aiochat.roomlog import chunks, wire
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import Answer, Appended, Deleted, Draft, Page, RoomLog
from aiochat.roomlog.process import DIED, WriterProcess

SCHEME: Final = "sqlite:///"

_OVERLAP_SECONDS: Final = 2.0  # beyond the time that the one before may take to stop
_DEATHS_SECONDS: Final = 60.0  # a second death within it is the end
_CLOSE_SECONDS: Final = 2.0
_FAILURES_SECONDS: Final = 60.0  # between two log events about reads

_NOTHING: Final = wire.Read("", 0, None, None)

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


def path_of(url: str) -> Path:
    """The file that a `store.url` names."""
    return Path(url.removeprefix(SCHEME)).absolute()


class SqliteLog(RoomLog):
    """Bounded by `history` and `store.max_keys`; while its process starts again it answers with `StoreError`."""

    def __init__(self, config: Config) -> None:
        history, store = config.history, config.store
        self._request = wire.Open(
            path=str(path_of(store.url)),
            synchronous=store.synchronous,
            wait_seconds=config.server.drain_seconds + _OVERLAP_SECONDS,
            pid=os.getpid(),
            boot=None,
            max_messages=history.max_messages,
            max_bytes=history.max_bytes,
            max_rooms=history.max_rooms,
            max_age_ms=history.max_age_hours * 3_600_000,
            max_keys=store.max_keys,
            key_ms=history.key_minutes * 60_000,
        )
        self._process: WriterProcess | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._last_death = -_DEATHS_SECONDS
        self._append_failure: str | None = None  # why appends fail at the moment
        self._damaged: wire.Read | None = None  # what could not be read for it; until it can be, nothing is appended
        self._next_read_failure = 0.0  # when one is logged again; reads may fail for some rooms alone

    async def open(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._request = msgspec.structs.replace(self._request, pid=os.getpid(), boot=boot_id())
        await self._start()

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        damaged = self._damaged
        if damaged is not None:
            self._ask(lambda: damaged, lambda answered: answer(self._looked(damaged, answered)))
            return
        self._ask(
            lambda: wire.Append([chunks.encoded(room, drafts, self._digest) for room, drafts in batch.items()]),
            lambda answered: answer(self._appended(batch, answered)),
        )

    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        request = wire.Read(room, limit, before, after)
        self._ask(lambda: request, lambda answered: answer(self._read(request, answered)))

    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        self._ask(lambda: wire.Delete(room), lambda answered: answer(_deleted(answered)))

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        self._ask(lambda: wire.Keep(key, value), lambda answered: answer(_kept(answered)))

    async def close(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])
        process, self._process = self._process, None
        if process is None:
            return
        is_hung = False
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await process.answer_to(wire.Shut())
        except TimeoutError:
            is_hung = True
            _logger.warning("store_not_closed", seconds=_CLOSE_SECONDS)
        finally:
            await process.end(at_once=is_hung)

    def _ask(self, request: Callable[[], wire.Asked], answer: Callable[[wire.Answered], None]) -> None:
        if self._process is None or not self._process.is_open:
            answer(wire.Failed(DIED))
            return
        try:
            self._process.ask(request(), answer)
        except Exception as error:  # half a character, a number out of range: it fails when its turn has come
            failed = wire.Failed(f"the request cannot be encoded ({type(error).__name__})")
            self._process.ask(_NOTHING, lambda _: answer(failed))

    async def _start(self) -> None:
        process = await WriterProcess.start(self._lost)
        try:
            answered = await process.answer_to(self._request)
            if not isinstance(answered, wire.Opened):
                raise StartError(answered.reason if isinstance(answered, wire.Failed) else "no answer")
        except BaseException:
            await process.end()
            raise
        self.secret, self.kept = answered.secret, answered.kept
        self._digest = of.Digest(self.secret)
        self._process = process
        if not process.is_open:
            self._lost(process)

    def _lost(self, process: WriterProcess) -> None:
        if process is self._process:
            self._process = None
            self._restarting = asyncio.get_running_loop().create_task(self._restart(process))

    async def _restart(self, process: WriterProcess) -> None:
        try:
            await self._start_again(process)
        except StartError as error:
            self._on_end(str(error))
        except Exception as error:  # no descriptors, no threads: nobody would ever try again
            _logger.exception("store_writer_not_restarted")
            self._on_end(
                f"the process that writes {self._request.path} cannot be started again ({type(error).__name__})"
            )
        else:
            _logger.warning("store_writer_restarted")

    async def _start_again(self, process: WriterProcess) -> None:
        """Raises `StartError`."""
        now = asyncio.get_running_loop().time()
        is_first, self._last_death = now - self._last_death >= _DEATHS_SECONDS, now
        status = await process.end()
        _logger.error("store_writer_died", status=status)
        if not is_first:
            raise StartError(f"the process that writes {self._request.path} died twice within a minute")
        await self._start()

    def _appended(
        self, batch: Mapping[str, Sequence[Draft]], answered: wire.Answered
    ) -> Mapping[str, Appended] | StoreError:
        if not isinstance(answered, wire.Appended):
            return self._append_failed(_reason(answered))
        if self._append_failure is not None:
            self._append_failure = None
            _logger.info("store_recovered")
        rooms = zip(batch.items(), answered.rooms, strict=True)
        return {room: chunks.appended(room, drafts, appended) for (room, drafts), appended in rooms}

    def _append_failed(self, reason: str) -> StoreError:
        if reason != self._append_failure:
            self._append_failure = reason
            _logger.error("store_failed", what="append", reason=reason)
        return StoreError(reason)

    def _read(self, request: wire.Read, answered: wire.Answered) -> Page | StoreError:
        page = _page(request, answered)
        if isinstance(page, Page):
            return page
        if str(page).startswith(wire.DAMAGED):
            self._damaged = msgspec.structs.replace(request, is_anew=True)
        now = asyncio.get_running_loop().time()
        if now >= self._next_read_failure:
            self._next_read_failure = now + _FAILURES_SECONDS
            _logger.error("store_failed", what="read", reason=str(page))
        return page

    def _looked(self, damaged: wire.Read, answered: wire.Answered) -> StoreError:
        """What was damaged was read instead of the append, which has failed; if it can be, the next one is tried."""
        page = _page(damaged, answered)
        if isinstance(page, StoreError):
            return self._append_failed(str(page))
        if self._damaged is damaged:
            self._damaged = None
        return self._append_failed(self._append_failure or wire.DAMAGED)


def boot_id() -> str | None:
    """A name for the time since the machine was started; None where there is none."""
    try:
        if sys.platform == "darwin":
            return subprocess.run(
                ["/usr/sbin/sysctl", "-n", "kern.boottime"], capture_output=True, check=True, text=True
            ).stdout.strip()
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _page(request: wire.Read, answered: wire.Answered) -> Page | StoreError:
    if not isinstance(answered, wire.Page):
        return StoreError(_reason(answered))
    try:
        entries = chunks.entries(request.room, answered, is_forward=request.after is not None)
    except wire.DAMAGES:
        return StoreError(wire.DAMAGED)
    return Page(answered.epoch, answered.oldest, answered.newest, entries)


def _deleted(answered: wire.Answered) -> Deleted | StoreError:
    if not isinstance(answered, wire.Deleted):
        return StoreError(_reason(answered))
    return Deleted(answered.epoch, answered.newest)


def _kept(answered: wire.Answered) -> StoreError | None:
    return None if isinstance(answered, wire.Kept) else StoreError(_reason(answered))


def _reason(answered: wire.Answered) -> str:
    return answered.reason if isinstance(answered, wire.Failed) else "it gave another answer"
