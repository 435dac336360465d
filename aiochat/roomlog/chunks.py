"""Drafts to chunks and chunks to entries: the server's side of what the SQLite file holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from aiochat.errors import Reply
from aiochat.messages import Entry, Erased, Message
from aiochat.roomlog import drafts as of
from aiochat.roomlog import wire
from aiochat.roomlog.contract import PAGE_BYTES, Appended, Draft, Repeated, content_bytes

_ENTRY_BYTES: Final = 64  # sender, times and lengths, encoded
_WIDEST: Final = 4  # a character's `content_bytes` to its encoded bytes, at most

_REFUSALS: Final[Mapping[str, Callable[[], Reply]]] = {
    "key_reused": of.key_reused,
    "no_such_message": of.no_such_message,
}


def encoded(room: str, drafts: Sequence[Draft], digest: of.Digest) -> wire.RoomDrafts:
    """A room's drafts on their way to the writer."""
    chunks = [
        wire.Chunk(
            len(part),
            part[-1].ts,
            wire.encode([(draft.ts, draft.sender, draft.text, draft.data, draft.key, draft.target) for draft in part]),
        )
        for part in _parts(drafts)
    ]
    specials = [
        _special(index, draft, digest)
        for index, draft in enumerate(drafts)
        if draft.key is not None or draft.target is not None
    ]
    return wire.RoomDrafts(room, chunks, specials)


def _parts(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """The drafts of one chunk each."""
    start = size = 0
    for index, draft in enumerate(drafts):
        size += draft.size + _ENTRY_BYTES
        if index > start and (index - start == wire.CHUNK_ENTRIES or size > wire.CHUNK_BYTES):
            yield drafts[start:index]
            start, size = index, draft.size + _ENTRY_BYTES
    if drafts:
        yield drafts[start:]


def _special(index: int, draft: Draft, digest: of.Digest) -> wire.Special:
    if draft.key is None:
        return wire.Special(index, draft.ts, None, b"", draft.target)
    name = blake2b(f"{of.scope(draft)}\0{draft.key}".encode(), digest_size=8).digest()
    return wire.Special(index, draft.ts, int.from_bytes(name) >> 1, digest(draft), draft.target)


def appended(room: str, drafts: Sequence[Draft], answered: wire.RoomAppended) -> Appended:
    """What became of a room's drafts, by the writer's answer."""
    refused = answered.refused
    first = answered.newest - len(drafts) + len(refused) + 1
    accepted = [draft for index, draft in enumerate(drafts) if index not in refused] if refused else drafts
    new = [of.entry(room, offset, draft) for offset, draft in enumerate(accepted, first)]
    results: list[Entry | Repeated | Reply] = [*new]
    for index in sorted(refused):
        results.insert(index, _refusal(refused[index]))
    return Appended(answered.epoch, answered.newest, new, results)


def _refusal(refused: wire.Refused) -> Repeated | Reply:
    return _REFUSALS[refused.code]() if refused.code else Repeated(refused.offset, refused.ts)


def entries(room: str, page: wire.Page, *, is_forward: bool) -> tuple[Entry, ...]:
    """What the writer found. Raises one of `wire.DAMAGES` where the file is damaged."""
    found = [
        entry(room, offset, stored)
        for first, content in page.chunks
        for offset, stored in enumerate(wire.decode_chunk(content), first)
        if page.start <= offset <= page.stop
    ]
    if sum(len(content) for _, content in page.chunks) * _WIDEST > PAGE_BYTES:
        found = within_bounds(found, is_forward=is_forward)
    return tuple(found)


def entry(room: str, offset: int, stored: wire.Stored) -> Entry:
    """What stands in a chunk."""
    if stored.target is not None:
        return Erased(room, offset, stored.ts, stored.target)
    if stored.sender is None:
        return Message(room, offset, stored.ts, erased=True)
    return Message(room, offset, stored.ts, stored.sender, stored.text, stored.data, stored.key)


def within_bounds(entries: list[Entry], *, is_forward: bool) -> list[Entry]:
    """As many from one side as make a page, but one in any case."""
    size = count = 0
    for entry in entries if is_forward else reversed(entries):
        size += content_bytes(entry.text, entry.data) if isinstance(entry, Message) else 0
        if count and size > PAGE_BYTES:
            break
        count += 1
    return entries[:count] if is_forward else entries[len(entries) - count :]
