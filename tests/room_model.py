"""The simplest room log there can be: lists, which the engines are compared with."""

from collections.abc import Sequence

from aiochat.errors import Reply
from aiochat.messages import Entry, Erased, Message
from aiochat.roomlog import Draft, Repeated


class Model:
    """One room's log with `max_messages`; bytes and age are unbounded."""

    def __init__(self, max_messages: int, key_ms: float) -> None:
        self.entries: list[Entry] = []  # of all offsets, from 1 on
        self._max_messages = max_messages
        self._key_ms = key_ms
        self._keys: dict[tuple[str | None, str], tuple[Draft, int]] = {}

    @property
    def oldest(self) -> int:
        return max(1, len(self.entries) - self._max_messages + 1)

    @property
    def newest(self) -> int:
        return len(self.entries)

    def append(self, room: str, drafts: Sequence[Draft]) -> list[Entry | Repeated | str]:
        """What becomes of each; of one that is refused, the code."""
        return [self._append(room, draft) for draft in drafts]

    def page(self, limit: int, before: int | None, after: int | None) -> list[Entry]:
        kept = self.entries[self.oldest - 1 :]
        if after is not None:
            return [entry for entry in kept if entry.offset > after][:limit]
        kept = [entry for entry in kept if before is None or entry.offset < before]
        return kept[max(0, len(kept) - limit) :]

    def _append(self, room: str, draft: Draft) -> Entry | Repeated | str:
        scope = (draft.sender.user or draft.sender.client, draft.key or "")
        known, offset = self._keys.get(scope, (None, 0))
        if draft.key and known is not None and draft.ts - known.ts <= self._key_ms:
            is_same = (known.text, known.data, known.target) == (draft.text, draft.data, draft.target)
            return Repeated(offset, known.ts) if is_same else "key_reused"
        offset = len(self.entries) + 1
        entry: Entry = Message(room, offset, draft.ts, draft.sender, draft.text, draft.data, draft.key)
        if draft.target is not None:
            if not self._erase(draft.target):
                return "no_such_message"
            entry = Erased(room, offset, draft.ts, draft.target)
        self.entries.append(entry)
        if draft.key:
            self._keys[scope] = (draft, offset)
        return entry

    def _erase(self, target: int) -> bool:
        entry = self.entries[target - 1] if self.oldest <= target <= self.newest else None
        if not isinstance(entry, Message) or entry.erased:
            return False
        self.entries[target - 1] = Message(entry.room, entry.offset, entry.ts, erased=True)
        return True


def codes(results: Sequence[Entry | Repeated | Reply]) -> list[Entry | Repeated | str]:
    """An engine's results as the model has them."""
    return [result.code if isinstance(result, Reply) else result for result in results]
