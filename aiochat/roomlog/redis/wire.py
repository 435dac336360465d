"""Between a node and Redis: drafts to scripts' arguments, their replies and what is published to entries."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from aiochat.messages import Entry, Message
from aiochat.roomlog import chunks, wire
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import Appended, Draft, Page

FORMAT: Final = 1  # of all that is in Redis: two neighbouring versions of us can run side by side

_ARRAY: Final = b"\xdd"  # that of MessagePack whose length takes four bytes


class Seen(msgspec.Struct, frozen=True, gc=False):
    """How far a node has seen a room: `stamp` is that of the batch with the entry at `offset`, "" if unknown."""

    epoch: str = ""
    offset: int = 0
    stamp: str = ""


class Batch(msgspec.Struct, frozen=True, gc=False):
    """What one node published at once: `count` entries from `first` on, after the batch stamped `previous`.

    With no entries it says that there is an epoch that began at `first`.
    """

    epoch: str
    first: int
    count: int
    previous: str
    stamp: str
    content: bytes  # the entries, from `start` on
    start: int

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def entries(self, room: str) -> list[Entry]:
        """Raises one of `DAMAGES` for what is no batch of ours."""
        return _entries(room, self.first, self.count, self.content[self.start :])


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """A script's answer: where the room stands, and entries, oldest first, each with its batch's stamp.

    What was asked for as missed follows the offset `after`.
    """

    epoch: str
    oldest: int
    newest: int
    stamp: str
    after: int
    entries: tuple[Entry, ...]
    stamps: tuple[str, ...]

    @property
    def page(self) -> Page:
        return Page(self.epoch, self.oldest, self.newest, self.entries)


DAMAGES: Final = (*wire.DAMAGES, ValueError, IndexError)


# Drafts.


def draft_arguments(drafts: Sequence[Draft], digest: of.Digest) -> list[str | bytes | int]:
    """Their number, their contents, and what those have beside it that have a key or a target."""
    contents: list[str | bytes | int] = [
        wire.encode((draft.ts, draft.sender, draft.text, draft.data, draft.key, draft.target)) for draft in drafts
    ]
    for index, draft in enumerate(drafts, 1):
        if draft.key is not None or draft.target is not None:
            contents += _special(index, draft, digest)
    return [len(drafts), *contents]


def _special(index: int, draft: Draft, digest: of.Digest) -> Iterator[str | bytes | int]:
    yield index
    if draft.key is None:
        yield from (b"", b"")
    else:
        yield blake2b(f"{of.scope(draft)}\0{draft.key}".encode(), digest_size=8).digest()
        yield digest(draft)
    yield b"" if draft.target is None else draft.target


def appended(room: str, drafts: Sequence[Draft], reply: Any) -> tuple[Appended, Seen]:
    """What became of them."""
    epoch, newest, stamp, flat = reply
    refused = {
        flat[place] - 1: wire.Refused(flat[place + 1].decode(), flat[place + 2], flat[place + 3])
        for place in range(0, len(flat), 4)
    }
    answered = chunks.appended(room, drafts, wire.RoomAppended(epoch.decode(), newest, refused))
    return answered, Seen(answered.epoch, newest, stamp.decode())


# Entries.


def batch_of(payload: bytes) -> Batch:
    """What came on a room's channel. Raises one of `DAMAGES`."""
    start = payload.index(b"\n") + 1
    epoch, first, count, previous, stamp = payload[: start - 1].decode("ascii").split(" ")
    return Batch(epoch, int(first), int(count), previous, stamp, payload, start)


def stretch_of(room: str, reply: Any, limit: int, *, is_forward: bool) -> Stretch:
    """What `read.lua` has found, within `limit` and PAGE_BYTES. Raises one of `DAMAGES`."""
    epoch, oldest, newest, stamp, after, found, gone = reply
    offsets = [int(id[: id.index(b"-")]) for id, _ in found]
    entries = _decoded(room, offsets, [fields[3] for _, fields in found])
    stamps = [fields[1].split(b" ")[1].decode() for _, fields in found]
    if gone:
        erased = (record.decode().split(" ") for record in gone)
        both = [*zip(entries, stamps, strict=True), *(_blank(room, *record) for record in erased)]
        both.sort(key=_offset, reverse=not is_forward)
        entries = [entry for entry, _ in both[:limit]]
        stamps = [stamp for _, stamp in both[:limit]]
    if not is_forward:
        entries.reverse()
        stamps.reverse()
    kept = chunks.within_bounds(entries, is_forward=is_forward)
    kept_stamps = stamps[: len(kept)] if is_forward else stamps[len(stamps) - len(kept) :]
    return Stretch(epoch.decode(), oldest, newest, stamp.decode(), after, tuple(kept), tuple(kept_stamps))


def _blank(room: str, offset: str, ts: str, stamp: str) -> tuple[Entry, str]:
    return Message(room, int(offset), int(ts), erased=True), stamp


def _offset(pair: tuple[Entry, str]) -> int:
    return pair[0].offset


def _decoded(room: str, offsets: Sequence[int], contents: Sequence[bytes]) -> list[Entry]:
    stored = wire.decode_chunk(_ARRAY + len(contents).to_bytes(4) + b"".join(contents))
    return [chunks.entry(room, offset, each) for offset, each in zip(offsets, stored, strict=True)]


def _entries(room: str, first: int, count: int, content: bytes) -> list[Entry]:
    stored = wire.decode_chunk(_ARRAY + count.to_bytes(4) + content)
    return [chunks.entry(room, offset, each) for offset, each in enumerate(stored, first)]
