"""The keys of messages that are to be there once, in the writer process.

A key is a number of 63 bits: the server's keyed hash of scope and key, and the room's id. Two in a million million
collide, and the digest of the content tells them apart.
"""

from collections.abc import Sequence
from typing import Final

from aiochat.roomlog.database import Database
from aiochat.roomlog.rooms import Room
from aiochat.roomlog.wire import Open, Refused, Special

_MASK: Final = (1 << 63) - 1
_SPREAD: Final = 0x5851F42D4C957F2D  # an odd number without a pattern
_SLICE: Final = 500


class Keys:
    count: int

    def __init__(self, database: Database, limits: Open) -> None:
        self._database = database
        self._connection = database.writer
        self._max_keys = limits.max_keys
        self._key_ms = limits.key_ms
        self._is_changed = False
        self._is_stale = True

    def invalidate(self) -> None:
        self._is_stale = True

    def refresh(self) -> None:
        """Before anything else in a transaction."""
        if self._is_stale:
            self.count = self._database.get("keys") or 0
            self._is_changed = self._is_stale = False

    def save(self, now: float) -> bool:
        """At the end of a transaction: the count, and what is too old or too much, a slice of it; whether all is."""
        excess = max(0, self.count - self._max_keys)
        expired = "SELECT id FROM keys WHERE ts < ? ORDER BY ts LIMIT ?"
        gone = self._delete(expired, now - self._key_ms, _SLICE)
        if excess > gone:
            gone += self._delete("SELECT id FROM keys ORDER BY ts, id LIMIT ?", excess - gone)
        self.count -= gone
        if gone or self._is_changed:
            self._database.set("keys", self.count)
            self._is_changed = False
        return gone < _SLICE

    def add_new(self, room: Room, specials: Sequence[Special]) -> bool:
        """Add the drafts' keys as those of the room's next entries, or, unless all are new, none."""
        rows = [
            (_number(room, special.key), special.ts, room.newest + 1 + special.index, special.digest)
            for special in specials
            if special.key is not None and special.target is None
        ]
        if len(rows) < len(specials):
            return False
        self._connection.execute("SAVEPOINT keys")
        before = self._connection.total_changes
        self._connection.executemany("INSERT INTO keys VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        all_new = self._connection.total_changes - before == len(rows)
        if all_new:
            self.count += len(rows)
            self._is_changed = True
        else:
            self._connection.execute("ROLLBACK TO keys")
        self._connection.execute("RELEASE keys")
        return all_new

    def add(self, room: Room, special: Special, offset: int) -> None:
        """Add a draft's key, if it has one, as that of the entry at this offset."""
        if special.key is None:
            return
        number = _number(room, special.key)
        replaced = self._connection.execute("DELETE FROM keys WHERE id = ?", (number,)).rowcount
        self._connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (number, special.ts, offset, special.digest))
        self.count += 1 - replaced
        self._is_changed = True

    def find(self, room: Room, special: Special) -> Refused | None:
        """What a draft with a known key becomes."""
        if special.key is None:
            return None
        known = "SELECT ts, offset, digest FROM keys WHERE id = ?"
        found = self._connection.execute(known, (_number(room, special.key),)).fetchone()
        if found is None:
            return None
        ts, offset, digest = found
        if special.ts - ts > self._key_ms:
            return None
        return Refused("", offset, ts) if digest == special.digest else Refused("key_reused")

    def _delete(self, which: str, *parameters: float) -> int:
        return self._connection.execute(f"DELETE FROM keys WHERE id IN ({which})", parameters).rowcount


def _number(room: Room, key: int) -> int:
    return (key + room.id * _SPREAD) & _MASK
