"""Appends to the SQLite file and reads from it, in the writer process. One transaction per batch."""

import time
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from aiochat.errors import StoreError
from aiochat.roomlog.contract import PAGE_BYTES
from aiochat.roomlog.database import FAILURES, Connection, Database, reason
from aiochat.roomlog.keys import Keys
from aiochat.roomlog.rooms import Room, Rooms
from aiochat.roomlog.wire import (
    CHUNK_BYTES,
    CHUNK_ENTRIES,
    DAMAGED,
    Append,
    Appended,
    Chunk,
    Open,
    Page,
    Read,
    Refused,
    RoomAppended,
    RoomDrafts,
    Special,
    Stored,
    decode_chunk,
    encode,
)

CHUNK_ROW_BYTES: Final = 64  # what a chunk takes in the file beside its content

_decode_raw: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_stored: Final = msgspec.msgpack.Decoder(Stored).decode
_NO_SUCH_MESSAGE: Final = Refused("no_such_message")


class Entries:
    def __init__(self, database: Database, rooms: Rooms, keys: Keys, limits: Open) -> None:
        self._database = database
        self._rooms = rooms
        self._keys = keys
        self._limits = limits
        self.inserted = self.inserted_bytes = 0  # chunks, by the last append
        self._rows: list[tuple[int, int, int, int, bytes]] = []  # chunks to be inserted

    def append(self, asked: Append) -> tuple[Appended, list[Room]]:
        """Within a transaction: the answer, and the rooms that were written to."""
        self._rows.clear()
        self.inserted = self.inserted_bytes = 0
        written: list[Room] = []
        answers = [self._append(drafts, written) for drafts in asked.rooms]
        self._insert()
        self._rooms.save(written)
        return Appended(answers), written

    def read(self, asked: Read) -> Page:
        """Raises `StoreError`."""
        try:
            if asked.is_anew:
                self._database.read_anew()
            return self._read(asked)
        except FAILURES as error:
            raise StoreError(reason(error)) from None

    def oldest(self, room: Room, connection: Connection) -> int:
        """The first offset that the limits by count and age leave."""
        oldest = max(room.oldest, room.newest - self._limits.max_messages + 1)
        return oldest if not self._limits.max_age_ms else self._first_young(room, oldest, connection)

    def _append(self, drafts: RoomDrafts, written: list[Room]) -> RoomAppended:
        room = self._rooms.find(drafts.room, self._database.writer) or self._rooms.make(drafts.room)
        refused: dict[int, Refused] = {}
        if not drafts.specials or self._keys.add_new(room, drafts.specials):
            for chunk in drafts.chunks:
                self._add(room, chunk)
        else:
            refused = self._append_one_by_one(room, drafts)
        epoch = self.epoch(room.generation)
        if room.newest:
            self._rooms.touch(room)
            written.append(room)
        else:
            self._rooms.drop(room)  # one in which nothing was ever said must not push out another one
        return RoomAppended(epoch, room.newest, refused)

    def epoch(self, generation: int) -> str:
        return f"{self._database.incarnation}{generation:x}"

    def _append_one_by_one(self, room: Room, drafts: RoomDrafts) -> dict[int, Refused]:
        specials = {special.index: special for special in drafts.specials}
        refused: dict[int, Refused] = {}
        accepted: list[msgspec.Raw] = []
        entries = (entry for chunk in drafts.chunks for entry in _decode_raw(chunk.content))
        for index, entry in enumerate(entries):
            special = specials.get(index)
            if special is not None:
                refusal = self._refusal(room, special, accepted)
                if refusal is not None:
                    refused[index] = refusal
                    continue
                self._keys.add(room, special, room.newest + len(accepted) + 1)
            accepted.append(entry)
        self._add_all(room, accepted)
        return refused

    def _refusal(self, room: Room, special: Special, accepted: list[msgspec.Raw]) -> Refused | None:
        refusal = self._keys.find(room, special)
        if refusal is None and special.target is not None:
            self._add_all(room, accepted)  # one of them may be the target
            self._insert()
            return None if self._erase(room, special.target) else _NO_SUCH_MESSAGE
        return refusal

    def _add_all(self, room: Room, accepted: list[msgspec.Raw]) -> None:
        for entries in _chunks(accepted):
            self._add(room, Chunk(len(entries), _decode_stored(entries[-1]).ts, encode(entries)))
        accepted.clear()

    def _add(self, room: Room, chunk: Chunk) -> None:
        first = room.newest + 1
        room.newest += chunk.count
        self._rows.append((room.id, first, room.newest, chunk.ts, chunk.content))
        size = len(chunk.content) + CHUNK_ROW_BYTES
        self.inserted_bytes += size
        self._rooms.resize(room, size)

    def _insert(self) -> None:
        self._database.writer.executemany(
            "INSERT INTO chunks (room, first, last, ts, content) VALUES (?, ?, ?, ?, ?)", self._rows
        )
        self.inserted += len(self._rows)
        self._rows.clear()

    def _erase(self, room: Room, target: int) -> bool:
        if not self.oldest(room, self._database.writer) <= target <= room.newest:
            return False
        first, content = self._database.writer.execute(
            "SELECT max(first), content FROM chunks WHERE room = ? AND first <= ?", (room.id, target)
        ).fetchone()
        entries = _decode_raw(content or encode(()))
        if first is None or target - first >= len(entries):
            raise StoreError(DAMAGED)
        entry = _decode_stored(entries[target - first])
        if entry.sender is None or entry.target is not None:
            return False
        entries[target - first] = msgspec.Raw(encode(Stored(entry.ts)))
        blanked = encode(entries)
        with self._database.overwriting():
            self._database.writer.execute(
                "UPDATE chunks SET content = ? WHERE room = ? AND first = ?", (blanked, room.id, first)
            )
        self._rooms.resize(room, len(blanked) - len(content))
        return True

    def _read(self, asked: Read) -> Page:
        reader = self._database.reader
        room = self._rooms.find(asked.room, reader)
        if room is None:
            return Page(self.epoch(self._rooms.generation(asked.room, reader)), 1, 0, 1, 0, [])
        oldest = self.oldest(room, reader)
        if asked.after is not None:
            start = max(asked.after + 1, oldest)
            stop = min(room.newest, start + asked.limit - 1)
        else:
            stop = room.newest if asked.before is None else min(room.newest, asked.before - 1)
            start = max(oldest, stop - asked.limit + 1)
        chunks: list[tuple[int, bytes]] = []
        if start <= stop:
            start, stop, chunks = self._within_bounds(room, start, stop, is_forward=asked.after is not None)
        return Page(self.epoch(room.generation), oldest, room.newest, start, stop, chunks)

    def _within_bounds(
        self, room: Room, start: int, stop: int, *, is_forward: bool
    ) -> tuple[int, int, list[tuple[int, bytes]]]:
        """The chunks of these entries, or of as many from one side as make a page."""
        found = self._database.reader.execute(
            "SELECT first, last, content FROM chunks WHERE room = ? AND last >= ? AND first <= ?"
            " AND first >= (SELECT max(first) FROM chunks WHERE room = ? AND first <= ?)"
            f" ORDER BY first {'ASC' if is_forward else 'DESC'}",
            (room.id, start, stop, room.id, start),
        )
        chunks: list[tuple[int, bytes]] = []
        size = 0
        reached = stop if is_forward else start
        for first, last, content in found:
            size += len(content)
            if chunks and size > PAGE_BYTES:
                break
            chunks.append((first, content))
            reached = last if is_forward else first
        found.close()
        if is_forward:
            return start, min(stop, reached), chunks
        return max(start, reached), stop, chunks[::-1]

    def _first_young(self, room: Room, oldest: int, connection: Connection) -> int:
        """The first offset from `oldest` on that is young enough."""
        since = time.time() * 1000 - self._limits.max_age_ms
        found = connection.execute(
            "SELECT first, content FROM chunks WHERE room = ? AND last >= ? AND ts >= ? ORDER BY first LIMIT 1",
            (room.id, oldest, since),
        ).fetchone()
        if found is None:
            return room.newest + 1
        first, content = found
        young = (offset for offset, entry in enumerate(decode_chunk(content), first) if entry.ts >= since)
        return max(oldest, next(young, room.newest + 1))


def _chunks(entries: Sequence[msgspec.Raw]) -> Iterable[Sequence[msgspec.Raw]]:
    start = size = 0
    for index, entry in enumerate(entries):
        size += len(entry)
        if index > start and (index - start == CHUNK_ENTRIES or size > CHUNK_BYTES):
            yield entries[start:index]
            start, size = index, len(entry)
    if entries:
        yield entries[start:]
