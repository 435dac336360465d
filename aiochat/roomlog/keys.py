"""The keys of messages that are to be there once, in the writer process: in memory, and in the file for the next start.

A key is a number of 63 bits, a hash of scope and key and the room's id. Where two collide, which is rarer than a
failing disk, the digest of the content tells them apart.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice, takewhile
from struct import Struct
from typing import Final

from aiochat.roomlog.database import Database
from aiochat.roomlog.rooms import Room
from aiochat.roomlog.wire import Open, Refused, Special

_MASK: Final = (1 << 63) - 1
_SPREAD: Final = 0x5851F42D4C957F2D  # an odd number without a pattern
_RECORD: Final = Struct("<q24s")  # of a row's content: a key and what it stands for
_KNOWN: Final = Struct("<qq8s")  # ts, offset, digest; 57 bytes in memory, where a tuple of them takes 200
_SLICE: Final = 1000


class Keys:
    """What a transaction adds counts for it at once, and for others from `commit` on."""

    def __init__(self, database: Database, limits: Open) -> None:
        self._connection = database.writer
        self._max_keys = limits.max_keys
        self._key_ms = limits.key_ms
        self._known: OrderedDict[int, bytes] = OrderedDict()  # the oldest first
        self._new: dict[int, bytes] = {}  # of this transaction
        self._sequence = 0  # of the last key ever; a row's id is that of its last one
        self._load()

    def add_new(self, room: Room, specials: Sequence[Special]) -> bool:
        """Add the drafts' keys as those of the room's next entries, or, unless all are new, none."""
        keys = {
            _number(room, special.key): _KNOWN.pack(special.ts, room.newest + 1 + special.index, special.digest)
            for special in specials
            if special.key is not None and special.target is None
        }
        are_known = not (self._known.keys().isdisjoint(keys) and self._new.keys().isdisjoint(keys))
        if are_known or len(keys) < len(specials):
            return False
        self._new |= keys
        return True

    def add(self, room: Room, special: Special, offset: int) -> None:
        """Add a draft's key, if it has one, as that of the entry at this offset."""
        if special.key is not None:
            self._new[_number(room, special.key)] = _KNOWN.pack(special.ts, offset, special.digest)

    def find(self, room: Room, special: Special) -> Refused | None:
        """What a draft with a known key becomes."""
        if special.key is None:
            return None
        number = _number(room, special.key)
        known = self._new.get(number) or self._known.get(number)
        if known is None:
            return None
        ts, offset, digest = _KNOWN.unpack(known)
        if special.ts - ts > self._key_ms:
            return None
        return Refused("", offset, ts) if digest == special.digest else Refused("key_reused")

    def save(self) -> None:
        """At the end of a transaction."""
        if not self._new:
            return
        records = b"".join(_RECORD.pack(*item) for item in self._new.items())
        row = (self._sequence + len(self._new), time.time() * 1000, records)
        self._connection.execute("INSERT INTO keys VALUES (?, ?, ?)", row)

    def commit(self) -> None:
        """After it."""
        if not self._new:
            return
        self._sequence += len(self._new)
        for number, known in self._new.items():
            self._known[number] = known
            self._known.move_to_end(number)  # it may have been there, too old to be found
        self._new.clear()
        self._fit()

    def invalidate(self) -> None:
        self._new.clear()

    def forget(self) -> bool:
        """Forget what is too old or too much, a slice of it, within a transaction; whether there is more."""
        since = time.time() * 1000 - self._key_ms
        gone = self._connection.execute(
            "DELETE FROM keys WHERE id IN (SELECT id FROM keys ORDER BY id LIMIT ?) AND (ts < ? OR id <= ?)",
            (_SLICE, since, self._sequence - self._max_keys),
        ).rowcount
        old = list(takewhile(lambda item: _KNOWN.unpack(item[1])[0] < since, islice(self._known.items(), _SLICE)))
        for number, _ in old:
            del self._known[number]
        return gone == _SLICE or len(old) == _SLICE

    def _load(self) -> None:
        (self._sequence,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM keys").fetchone()
        rows = self._connection.execute(
            "SELECT content FROM keys WHERE id > ? AND ts >= ? ORDER BY id",
            (self._sequence - self._max_keys, time.time() * 1000 - self._key_ms),
        )
        for (content,) in rows:
            self._known.update(_RECORD.iter_unpack(content))
        self._fit()

    def _fit(self) -> None:
        while len(self._known) > self._max_keys:
            self._known.popitem(last=False)


def _number(room: Room, key: int) -> int:
    return (key + room.id * _SPREAD) & _MASK
