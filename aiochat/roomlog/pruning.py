"""What the limits take out of the SQLite file: a slice with each append, the rest while nobody asks for anything."""

import time
from typing import Final

from aiochat.roomlog.database import Database
from aiochat.roomlog.entries import CHUNK_ROW_BYTES, Entries
from aiochat.roomlog.keys import Keys
from aiochat.roomlog.rooms import Room, Rooms
from aiochat.roomlog.wire import CHUNK_BYTES, Open

_ROUND_SECONDS: Final = 60.0  # all rooms are looked at once in it
_ROUND_ROOMS: Final = 100  # of them in a slice
_SLICE_CHUNKS: Final = 128
_FORGET_AT_ONCE: Final = 64
_FORGETTING_SECONDS: Final = 0.25  # of keys, while there are appends
_ALL: Final = 1 << 62


class Pruning:
    def __init__(self, database: Database, rooms: Rooms, keys: Keys, entries: Entries, limits: Open) -> None:
        self._connection = database.writer
        self._rooms = rooms
        self._keys = keys
        self._entries = entries
        self._limits = limits
        self._slack = min(limits.max_messages // 8, 1000)  # that is read no more, and goes in larger pieces
        self._next_room = 0  # of the round; all rooms have higher ids
        self._next_round = self._next_forgetting = 0.0
        self._chunks_left = 0  # to delete in this slice
        self._has_more = self._has_doomed = True

    def invalidate(self) -> None:
        self._has_more = self._has_doomed = True

    def after_append(self, written: list[Room], chunks: int) -> None:
        """Within the append's transaction: a bit more than the chunks it brought."""
        self._chunks_left = 2 * chunks + _SLICE_CHUNKS // 2
        for room in written:
            if self._chunks_left and room.newest - room.oldest - self._limits.max_messages >= self._slack:
                self._trim(room)
        self._has_more |= self._fit(max(_FORGET_AT_ONCE, 2 * len(written)))
        self._has_more |= self._delete_doomed()
        now = time.monotonic()
        if now >= self._next_forgetting:
            self._next_forgetting = now + _FORGETTING_SECONDS
            self._has_more |= self._keys.forget()

    def slice(self) -> None:
        """A few milliseconds' worth, within a transaction of its own."""
        self._chunks_left = _SLICE_CHUNKS
        self._has_more = self._fit(_FORGET_AT_ONCE)
        self._has_more |= self._delete_doomed()
        self._has_more |= self._keys.forget()
        self._has_more |= self._go_round()

    def wait_seconds(self) -> float:
        """Until there is something to do."""
        return 0.0 if self._has_more else max(0.0, self._next_round - time.monotonic())

    def _fit(self, rooms: int) -> bool:
        """Fit the whole within `max_rooms` and `max_bytes`, so many rooms of it; whether there is more to do."""
        for _ in range(rooms):
            too_many = self._rooms.count > self._limits.max_rooms
            excess = self._rooms.bytes - self._limits.max_bytes
            room = self._rooms.idlest() if too_many or excess > 0 else None
            if room is None:
                return False
            if self._rooms.count == 1:
                return self._delete(room, room.newest + 1, excess)
            self._rooms.forget(room)
            self._has_doomed = True
        return True

    def _go_round(self) -> bool:
        now = time.monotonic()
        if now < self._next_round:
            return False
        rooms = self._rooms.after(self._next_room, _ROUND_ROOMS)
        for room in rooms:
            if self._trim(room):
                return True
            self._next_room = room.id
        if len(rooms) == _ROUND_ROOMS:
            return True
        self._next_room, self._next_round = 0, now + _ROUND_SECONDS
        return False

    def _trim(self, room: Room) -> bool:
        """Take out what is beyond the limits by count and age; whether there is more."""
        before = self._entries.oldest(room, self._connection)
        if before == room.oldest:
            return False
        has_more = self._delete(room, before, _ALL)
        if not has_more:
            room.oldest = before  # perhaps in the middle of a chunk
            self._rooms.save([room])
        return has_more

    def _delete(self, room: Room, before: int, wanted: int) -> bool:
        """Delete the room's first chunks, up to an offset or so many bytes; whether there is more up to that offset."""
        last, freed, has_more = self._delete_chunks(room.id, before, wanted)
        if freed:
            room.oldest = max(room.oldest, last + 1)
            self._rooms.resize(room, -freed)
            self._rooms.save([room])
        return has_more

    def _delete_doomed(self) -> bool:
        """Delete some of what forgotten rooms left; whether there is more."""
        doomed = self._connection.execute("SELECT room FROM doomed LIMIT 1").fetchone() if self._has_doomed else None
        if doomed is None:
            self._has_doomed = False
            return False
        _, _, has_more = self._delete_chunks(doomed[0], _ALL, _ALL)
        if not has_more:
            self._connection.execute("DELETE FROM doomed WHERE room = ?", doomed)
        return True

    def _delete_chunks(self, room: int, before: int, wanted: int) -> tuple[int, int, bool]:
        """Delete as many of the first ones as the slice has left, or so many bytes: the last offset deleted, the bytes
        freed, and whether there are more before that offset.
        """
        deleted = freed = 0
        has_more = False
        limit = min(wanted, self._chunks_left * CHUNK_BYTES)
        chunks = self._connection.execute(
            "SELECT last, length(content) FROM chunks WHERE room = ? ORDER BY first LIMIT ?",
            (room, self._chunks_left + 1),
        ).fetchall()
        for last, size in chunks:
            has_more = last < before
            if not has_more or not self._chunks_left or freed >= limit:
                break
            deleted, freed, has_more = last, freed + size + CHUNK_ROW_BYTES, False
            self._chunks_left -= 1
        if deleted:
            self._connection.execute("DELETE FROM chunks WHERE room = ? AND first <= ?", (room, deleted))
        return deleted, freed, has_more
