"""The table of rooms, in the writer process: where each one's log stands, and which was idle for longest."""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from aiochat.roomlog import drafts as of
from aiochat.roomlog.database import Connection, Database

_CACHED: Final = 20_000
_CANDIDATES: Final = 256

_COLUMNS: Final = "id, name, generation, newest, oldest, bytes, touched"


class Room(msgspec.Struct, gc=False):
    """A row. Offsets from `oldest` to `newest` are kept, in `bytes` of chunks."""

    id: int
    name: str
    generation: int
    newest: int
    oldest: int
    bytes: int
    touched: int


class Rooms:
    """Rows are read once. What a transaction did to them counts from `save` on; after a rollback all is read anew."""

    count: int
    bytes: int

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.writer
        self._cache: dict[str, Room] = {}
        self._idlest: deque[tuple[int, str, int]] = deque()  # id, name and touched, the longest idle first
        self._is_stale = True

    def invalidate(self) -> None:
        self._cache.clear()
        self._idlest.clear()
        self._is_stale = True

    def refresh(self) -> None:
        """Before anything else in a transaction."""
        if self._is_stale:
            totals = "SELECT count(*), coalesce(sum(bytes), 0), coalesce(max(touched), 0) FROM rooms"
            self.count, self.bytes, self._touched = self._connection.execute(totals).fetchone()
            self._is_stale = False

    def find(self, name: str, connection: Connection) -> Room | None:
        room = self._cache.get(name)
        if room is None:
            row = connection.execute(f"SELECT {_COLUMNS} FROM rooms WHERE name = ?", (name,)).fetchone()
            room = None if row is None else self._cached(Room(*row))
        return room

    def make(self, name: str) -> Room:
        generation = self.generation(name, self._connection)
        made = self._connection.execute(
            "INSERT INTO rooms (name, generation, newest, oldest, bytes, touched) VALUES (?, ?, 0, 1, 0, 0)",
            (name, generation),
        )
        self.count += 1
        return self._cached(Room(made.lastrowid or 0, name, generation, 0, 1, 0, 0))

    def generation(self, name: str, connection: Connection) -> int:
        """Of a room that is not there."""
        found = connection.execute("SELECT rooms FROM forgotten WHERE bucket = ?", (of.bucket(name),)).fetchone()
        return 0 if found is None else int(found[0])

    def touch(self, room: Room) -> None:
        self._touched += 1
        room.touched = self._touched

    def resize(self, room: Room, size: int) -> None:
        room.bytes += size
        self.bytes += size

    def save(self, rooms: Iterable[Room]) -> None:
        self._connection.executemany(
            "UPDATE rooms SET newest = ?, oldest = ?, bytes = ?, touched = ? WHERE id = ?",
            [(room.newest, room.oldest, room.bytes, room.touched, room.id) for room in rooms],
        )

    def drop(self, room: Room) -> None:
        """Take it out as if it had never been."""
        self._connection.execute("DELETE FROM rooms WHERE id = ?", (room.id,))
        self._cache.pop(room.name, None)
        self.count -= 1
        self.bytes -= room.bytes

    def forget(self, room: Room) -> None:
        """Its chunks are out of reach at once, and deleted bit by bit."""
        self.drop(room)
        self._connection.execute("INSERT INTO doomed VALUES (?)", (room.id,))
        self._connection.execute(
            "INSERT INTO forgotten VALUES (?, 1) ON CONFLICT DO UPDATE SET rooms = rooms + 1", (of.bucket(room.name),)
        )

    def idlest(self) -> Room | None:
        """The room that was written to longest ago, as saved."""
        while self.count:
            if not self._idlest:
                columns = "SELECT id, name, touched FROM rooms ORDER BY touched LIMIT ?"
                self._idlest.extend(self._connection.execute(columns, (_CANDIDATES,)))
            id, name, touched = self._idlest.popleft()
            room = self.find(name, self._connection)
            if room is not None and (room.id, room.touched) == (id, touched):
                return room
        return None

    def after(self, id: int, limit: int) -> list[Room]:
        """So many of the rooms whose ids are higher."""
        names = self._connection.execute(
            "SELECT name FROM rooms WHERE id > ? ORDER BY id LIMIT ?", (id, limit)
        ).fetchall()
        found = [self.find(name, self._connection) for (name,) in names]
        return [room for room in found if room is not None]

    def _cached(self, room: Room) -> Room:
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        self._cache[room.name] = room
        return room
