"""`memory:` keeps each room's newest entries in a ring until the server stops; it answers within the call."""

import os
import secrets
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, cast

import msgspec

from aiochat.config import Config
from aiochat.errors import Reply
from aiochat.messages import Entry, Message
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import (
    PAGE_BYTES,
    Answer,
    Appended,
    Deleted,
    Draft,
    Page,
    Repeated,
    RoomLog,
    content_bytes,
)

_ENTRY_BYTES: Final = 500  # what one entry costs beside its content: struct, deque slot, offset, time and key


class _Ring:
    """One room's entries. The epoch and the offset live as long as the ring."""

    __slots__ = ("bytes", "entries", "epoch", "newest")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.newest = 0
        self.entries: deque[Entry] = deque()
        self.bytes = 0

    @property
    def oldest(self) -> int:
        return self.newest - len(self.entries) + 1


class _Known(msgspec.Struct, frozen=True, gc=False):
    """What a key stands for."""

    epoch: str
    offset: int
    ts: int
    digest: bytes


class MemoryLog(RoomLog):
    """Bounded by `history.max_messages` per room, by `max_rooms` and `max_bytes` in all, and by `store.max_keys`."""

    def __init__(self, config: Config) -> None:
        self.secret = os.urandom(32)
        self.kept: Mapping[str, bytes] = {}  # whatever was: nothing of it is left
        self._digest = of.Digest(self.secret)
        self._limits = config.history
        self._max_keys = config.store.max_keys
        self._key_ms = config.history.key_minutes * 60_000
        self._rings: dict[str, _Ring] = {}  # the longest idle first
        self._bytes = 0
        self._keys: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()  # by room, scope and key, oldest first
        self._name = secrets.token_hex(5)
        self._forgotten: Counter[int] = Counter()  # rooms, by bucket

    async def open(self, on_end: Callable[[str], None]) -> None:
        """There is nothing to open, and it never ends."""

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        answer({room: self._append(room, drafts) for room, drafts in batch.items()})

    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        ring = self._rings.get(room)
        if ring is None:
            answer(Page(self._new_epoch(room), 1, 0, ()))
            return
        self._forget_aged(ring)
        answer(Page(ring.epoch, ring.oldest, ring.newest, _page(ring, limit, before, after)))

    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        ring = self._rings.get(room)
        if ring is not None:
            self._forget(room)
        answer(Deleted(self._new_epoch(room), 0 if ring is None else ring.newest))

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        answer(None)

    async def close(self) -> None:
        self._rings.clear()
        self._keys.clear()

    def _append(self, room: str, drafts: Sequence[Draft]) -> Appended:
        ring = self._rings.pop(room, None) or _Ring(self._new_epoch(room))
        newest = ring.newest
        results = [self._add(room, ring, draft) for draft in drafts]
        all_new = ring.newest - newest == len(drafts)
        entries = results if all_new else [result for result in results if isinstance(result, Entry)]
        if ring.newest:  # a room in which nothing was ever said must not push out another one
            self._rings[room] = ring
        while len(ring.entries) > self._limits.max_messages:
            self._forget_oldest(ring)
        if self._bytes > self._limits.max_bytes or len(self._rings) > self._limits.max_rooms:
            self._forget_idle_rooms()
        return Appended(ring.epoch, ring.newest, cast(list[Entry], entries), results)

    def _add(self, room: str, ring: _Ring, draft: Draft) -> Entry | Repeated | Reply:
        key = digest = None
        if draft.key is not None:
            key, digest = (room, of.scope(draft), draft.key), self._digest(draft)
            known = self._keys.get(key)
            if known is not None and known.epoch == ring.epoch and draft.ts - known.ts <= self._key_ms:
                return Repeated(known.offset, known.ts) if known.digest == digest else of.key_reused()
        if draft.target is not None and not self._erase(ring, draft.target):
            return of.no_such_message()
        ring.newest += 1
        entry = of.entry(room, ring.newest, draft)
        ring.entries.append(entry)
        self._resize(ring, draft.size + _ENTRY_BYTES)
        if key is not None and digest is not None:
            self._keys[key] = _Known(ring.epoch, ring.newest, draft.ts, digest)
            self._keys.move_to_end(key)  # it may have been there, too old to be known
            self._forget_keys(draft.ts - self._key_ms)
        return entry

    def _erase(self, ring: _Ring, target: int) -> bool:
        index = target - ring.oldest
        is_kept = max(ring.oldest, ring.newest - self._limits.max_messages + 1) <= target <= ring.newest
        entry = ring.entries[index] if is_kept else None
        if not isinstance(entry, Message) or entry.erased:
            return False
        ring.entries[index] = Message(entry.room, entry.offset, entry.ts, erased=True)
        self._resize(ring, -content_bytes(entry.text, entry.data))
        return True

    def _new_epoch(self, room: str) -> str:
        return f"{self._name}{self._forgotten[of.bucket(room)]:x}"

    def _resize(self, ring: _Ring, size: int) -> None:
        ring.bytes += size
        self._bytes += size

    def _forget_keys(self, before: float) -> None:
        while self._keys:
            key = next(iter(self._keys))
            if len(self._keys) <= self._max_keys and self._keys[key].ts >= before:
                return
            self._keys.popitem(last=False)

    def _forget_oldest(self, ring: _Ring) -> None:
        entry = ring.entries.popleft()
        self._resize(ring, -_entry_bytes(entry))

    def _forget_aged(self, ring: _Ring) -> None:
        if not self._limits.max_age_hours:
            return
        oldest = (time.time() - self._limits.max_age_hours * 3600) * 1000
        while ring.entries and ring.entries[0].ts < oldest:
            self._forget_oldest(ring)

    def _forget_idle_rooms(self) -> None:
        while len(self._rings) > self._limits.max_rooms:
            self._forget_idlest()
        while self._bytes > self._limits.max_bytes and self._rings:
            if len(self._rings) > 1:
                self._forget_idlest()
            else:
                self._forget_oldest(next(iter(self._rings.values())))

    def _forget_idlest(self) -> None:
        self._forget(next(iter(self._rings)))

    def _forget(self, room: str) -> None:
        self._bytes -= self._rings.pop(room).bytes
        self._forgotten[of.bucket(room)] += 1


def _entry_bytes(entry: Entry) -> int:
    return _ENTRY_BYTES + (_content_bytes(entry) if isinstance(entry, Message) else 0)


def _content_bytes(message: Message) -> int:
    return content_bytes(message.text, message.data)


def _page(ring: _Ring, limit: int, before: int | None, after: int | None) -> tuple[Entry, ...]:
    oldest, count = ring.oldest, len(ring.entries)
    if after is not None:
        return _within_bounds(ring, range(max(0, after + 1 - oldest), count)[:limit])
    end = count if before is None else min(count, max(0, before - oldest))
    return _within_bounds(ring, range(max(0, end - limit), end)[::-1])[::-1]


def _within_bounds(ring: _Ring, indexes: Iterable[int]) -> tuple[Entry, ...]:
    """As many as make a page, but one in any case."""
    page: list[Entry] = []
    size = 0
    for index in indexes:
        entry = ring.entries[index]
        size += _content_bytes(entry) if isinstance(entry, Message) else 0
        if page and size > PAGE_BYTES:
            break
        page.append(entry)
    return tuple(page)
