"""`memory:` keeps each room's newest messages in a ring until the server stops; it answers within the call."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from aiochat.client import random_id
from aiochat.config import Config
from aiochat.messages import Message
from aiochat.roomlog.contract import PAGE_BYTES, Answer, Draft, Page, RoomLog, content_bytes

_MESSAGE_BYTES: Final = 500  # what one message costs beside its content: struct, deque slot, offset and time


class _Ring:
    """One room's messages. The epoch and the offset live as long as the ring."""

    __slots__ = ("bytes", "epoch", "messages", "offset")

    def __init__(self) -> None:
        self.epoch = random_id()
        self.offset = 0
        self.messages: deque[Message] = deque()
        self.bytes = 0


class MemoryLog(RoomLog):
    """Bounded by `history.max_messages` per room, and by `max_rooms` and `max_bytes` in all."""

    def __init__(self, config: Config) -> None:
        self._limits = config.history
        self._rings: dict[str, _Ring] = {}  # the longest idle first
        self._bytes = 0

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[dict[str, Page]]) -> None:
        answer({room: self._append(room, drafts) for room, drafts in batch.items()})

    def read(self, room: str, limit: int, answer: Answer[Page]) -> None:
        ring = self._rings.get(room)
        if ring is None:
            ring = self._rings[room] = _Ring()
            self._forget_idle_rooms()
        self._forget_aged(ring)
        answer(Page(ring.epoch, ring.offset, _newest(ring.messages, limit)))

    async def close(self) -> None:
        self._rings.clear()

    def _append(self, room: str, drafts: Sequence[Draft]) -> Page:
        ring = self._rings.pop(room, None) or _Ring()
        self._rings[room] = ring
        messages: list[Message] = []
        offset, size = ring.offset, 0
        for draft in drafts:
            offset += 1
            size += draft.size + _MESSAGE_BYTES
            messages.append(Message(room, offset, draft.ts, draft.sender, draft.text, draft.data))
        ring.offset = offset
        ring.messages += messages
        ring.bytes += size
        self._bytes += size
        while len(ring.messages) > self._limits.max_messages:
            self._forget_oldest(ring)
        if self._bytes > self._limits.max_bytes or len(self._rings) > self._limits.max_rooms:
            self._forget_idle_rooms()
        return Page(ring.epoch, offset, tuple(messages))

    def _forget_oldest(self, ring: _Ring) -> None:
        message = ring.messages.popleft()
        size = content_bytes(message.text, message.data) + _MESSAGE_BYTES
        ring.bytes -= size
        self._bytes -= size

    def _forget_aged(self, ring: _Ring) -> None:
        if not self._limits.max_age_hours:
            return
        oldest = (time.time() - self._limits.max_age_hours * 3600) * 1000
        while ring.messages and ring.messages[0].ts < oldest:
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
        ring = self._rings.pop(next(iter(self._rings)))
        self._bytes -= ring.bytes


def _newest(messages: deque[Message], limit: int) -> tuple[Message, ...]:
    page: list[Message] = []
    size = 0
    for message in islice(reversed(messages), limit):
        size += content_bytes(message.text, message.data)
        if page and size > PAGE_BYTES:
            break
        page.append(message)
    return tuple(reversed(page))
