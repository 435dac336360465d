"""The process that writes the SQLite file: it takes requests from standard input, a socket, and answers them in order.

`python -m aiochat.roomlog.writer`, started by aiochat.roomlog.sqlite. At the end of the socket it commits what it has
read, and ends. It outlives the signals that stop a server, which still needs it then.
"""

import select
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiochat.errors import StartError, StoreError
from aiochat.roomlog.checkpoints import Checkpoints
from aiochat.roomlog.contract import KEPT_BYTES, KEPT_VALUES
from aiochat.roomlog.database import Database, DatabaseError, reason, unusable
from aiochat.roomlog.entries import Entries
from aiochat.roomlog.keys import Keys
from aiochat.roomlog.pruning import Pruning
from aiochat.roomlog.rooms import Rooms
from aiochat.roomlog.wire import (
    DAMAGED,
    DAMAGES,
    Answered,
    Append,
    Appended,
    Asked,
    Delete,
    Deleted,
    Failed,
    Frames,
    Keep,
    Kept,
    Open,
    Opened,
    Read,
    Shut,
    decode_request,
    frame,
)

_RECEIVE_BYTES: Final = 64 << 10  # for more, malloc asks the kernel each time
_SLICE_BYTES: Final = 256 << 10  # that pruning writes at a time, about
_LOOK_SECONDS: Final = 1.0  # between two looks whether the file is still there
_RETRY_SECONDS: Final = 1.0  # after a failure in what nobody asked for


class Channel:
    """The server at the other end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames = Frames()
        self._requests: deque[bytes] = deque()
        self.is_open = True

    def next(self, timeout_seconds: float) -> Asked | Failed | None:
        """The next request, or the answer to what is none; None if nothing comes within the time, or ever again."""
        while not self._requests and self.is_open and self.wait(timeout_seconds):
            self._receive()
        if not self._requests:
            return None
        try:
            asked: Asked = decode_request(self._requests.popleft())
        except DAMAGES:
            return Failed("the request cannot be decoded")
        return asked

    def wait(self, timeout_seconds: float) -> bool:
        """Whether there is something to receive, be it the end, within the time."""
        return bool(select.select([self._connection], [], [], timeout_seconds)[0])

    def send(self, answer: Answered) -> None:
        with suppress(OSError):  # the server has died; what it sent before is done all the same
            self._connection.sendall(frame(answer))

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except OSError:
            data = b""
        self._requests.extend(self._frames.feed(data))
        self.is_open = bool(data)


class _Undo(Exception):
    """Ends a transaction that was to be tried only."""


class Writer:
    """The open file."""

    def __init__(self, database: Database, limits: Open) -> None:
        self._database = database
        self._rooms = Rooms(database)
        self._keys = Keys(database, limits)
        self._entries = Entries(database, self._rooms, self._keys, limits)
        self._pruning = Pruning(database, self._rooms, self._keys, self._entries, limits)
        self._checkpoints = Checkpoints(database.path)
        self._next_slice = self._next_look = 0.0
        self._damaging: Append | None = None  # that failed for a damaged file; until it does not, no other is tried
        database.on_rollback = self._invalidate

    def answer(self, asked: Append | Read | Delete | Keep) -> Answered:
        try:
            if isinstance(asked, Read):
                return self._entries.read(asked)
            if isinstance(asked, Keep):
                return self._keep(asked)
            return self._delete(asked) if isinstance(asked, Delete) else self._append(asked)
        except StoreError as error:
            if isinstance(asked, Append) and str(error).startswith(DAMAGED):
                self._damaging = self._damaging or (asked if asked.rooms else None)
            return Failed(str(error))
        except Exception as error:  # a defect, or a number out of range; its text may hold what people say
            return Failed(f"the request cannot be carried out ({type(error).__name__})")

    def idle_seconds(self) -> float:
        """Until there is something to do that nobody asks for."""
        return max(self._pruning.wait_seconds(), self._next_slice - time.monotonic())

    def idle(self) -> None:
        """A few milliseconds' worth of what nobody asks for."""
        if self.idle_seconds() > 0:
            return
        try:
            with self._database.transaction():
                self._rooms.refresh()
                self._pruning.slice()
            self._checkpoints.wrote(_SLICE_BYTES)
        except StoreError:
            self._next_slice = time.monotonic() + _RETRY_SECONDS

    def close(self, *, is_clean: bool) -> None:
        self._checkpoints.close()
        self._database.close(is_clean=is_clean)

    def _append(self, asked: Append) -> Appended:
        now = time.monotonic()
        if now >= self._next_look or not asked.rooms:
            self._next_look = 0.0
            self._database.look()
            self._next_look = now + _LOOK_SECONDS
        if self._damaging is not None:
            self._try_again(self._damaging)
        if not asked.rooms:
            self._database.probe()
            self._checkpoints.wrote(0)
            return Appended([])
        with self._database.transaction():
            answer = self._write(asked)
        self._keys.commit()
        self._checkpoints.wrote(self._entries.inserted_bytes)
        return answer

    def _write(self, asked: Append) -> Appended:
        self._rooms.refresh()
        answer, written = self._entries.append(asked)
        self._keys.save()
        self._pruning.after_append(written, self._entries.inserted)
        return answer

    def _delete(self, asked: Delete) -> Deleted:
        self._database.look()
        with self._database.transaction():
            self._rooms.refresh()
            room = self._rooms.find(asked.room, self._database.writer)
            if room is not None:
                self._rooms.forget(room)
            generation = self._rooms.generation(asked.room, self._database.writer)
        self._pruning.invalidate()
        self._checkpoints.wrote(0)
        return Deleted(self._entries.epoch(generation), 0 if room is None else room.newest)

    def _keep(self, asked: Keep) -> Kept:
        self._database.look()
        with self._database.transaction():
            if asked.value is not None and len(asked.value) > KEPT_BYTES:
                raise StoreError(f"a value has {KEPT_BYTES} bytes at most")
            if self._database.keep(asked.key, asked.value) > KEPT_VALUES:
                raise StoreError(f"there are {KEPT_VALUES} values at most")
        self._checkpoints.wrote(0)
        return Kept()

    def _try_again(self, damaging: Append) -> None:
        """Whether what failed would not any more; it was refused, and nothing of it stays. Raises `StoreError`."""
        self._database.read_anew()
        with suppress(_Undo), self._database.transaction():
            self._write(damaging)
            raise _Undo
        self._damaging = None

    def _invalidate(self) -> None:
        for part in (self._rooms, self._keys, self._pruning):
            part.invalidate()


def serve(channel: Channel) -> None:
    """Answer until the server shuts the file, or has gone."""
    asked = channel.next(60.0)
    if not isinstance(asked, Open):
        return
    database = Database(Path(asked.path), asked.synchronous, asked.boot, asked.pid)
    try:
        database.open(asked.wait_seconds, lambda seconds: not channel.wait(seconds))
        writer = Writer(database, asked)
    except StartError as error:
        channel.send(Failed(str(error)))
        return
    except DatabaseError as error:
        channel.send(Failed(str(unusable(database.path, reason(error)))))
        return
    channel.send(Opened(database.secret, database.kept()))
    is_clean = _answer_all(channel, writer)
    writer.close(is_clean=is_clean)
    if is_clean:
        channel.send(Appended([]))


def _answer_all(channel: Channel, writer: Writer) -> bool:
    """Whether the server asked for the end."""
    while True:
        asked = channel.next(writer.idle_seconds())
        if isinstance(asked, Append | Read | Delete | Keep):
            channel.send(writer.answer(asked))
        elif isinstance(asked, Failed):
            channel.send(asked)
        elif asked is None and channel.is_open:
            writer.idle()
        else:
            return isinstance(asked, Shut)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve(Channel(socket.socket(fileno=sys.stdin.fileno())))


if __name__ == "__main__":
    main()
