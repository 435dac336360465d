"""What the embedding application made of messages with a key: one that is published again is not judged anew.

A hook that counts, or that adds the time of day, would answer otherwise the second time, and the message is in the log.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Any, Final

import msgspec

from aiochat.client import Client
from aiochat.hooks.registry import Publication
from aiochat.roomlog import content_bytes

_MAX_VERDICTS: Final = 10_000
_MAX_BYTES: Final = 8 << 20  # of content that was changed
_DIGEST_BYTES: Final = 16

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode

_Place = tuple[str | None, str | None, str, str]


class _Verdict(msgspec.Struct, frozen=True, gc=False):
    until: float
    digest: bytes  # of what the client said
    changed: Publication | None  # None where it went as it was
    size: int


class Verdicts:
    """Kept for `history.key_minutes`, the newest of them; beyond these bounds the application is asked again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: OrderedDict[_Place, _Verdict] = OrderedDict()  # the oldest first
        self._bytes = 0

    def find(self, client: Client, said: Publication, now: float) -> Publication | None:
        """What became of the same message before, if anything is known of it."""
        verdict = self._known.get(_place(client, said, said.key)) if said.key is not None else None
        if verdict is None or verdict.until <= now or verdict.digest != _digest(said):
            return None
        return verdict.changed or said

    def add(self, client: Client, said: Publication, made: Publication, now: float) -> None:
        """Remember what was made of a message, if it has a key."""
        if said.key is None:
            return
        place = _place(client, said, said.key)
        self._forget(self._known.pop(place, None))
        changed = None if made is said else made
        size = 0 if changed is None else content_bytes(changed.text, changed.data)
        self._known[place] = _Verdict(now + self._seconds, _digest(said), changed, size)
        self._bytes += size
        while len(self._known) > _MAX_VERDICTS or self._bytes > _MAX_BYTES:
            self._forget(self._known.popitem(last=False)[1])

    def _forget(self, verdict: _Verdict | None) -> None:
        if verdict is not None:
            self._bytes -= verdict.size


def _place(client: Client, said: Publication, key: str) -> _Place:
    """Whose key it is, as the room log has it: its user's or, for who has none, its client's."""
    return client.user, None if client.user is not None else client.id, said.room, key


def _digest(said: Publication) -> bytes:
    content: tuple[str | None, Any] = (said.text, said.data)
    return blake2b(_encode(content), digest_size=_DIGEST_BYTES).digest()
