"""What the engines share: what a draft becomes, what its key stands for, and when a room's epoch changes."""

from hashlib import blake2b
from typing import Final
from zlib import crc32

import msgspec

from aiochat.errors import Reply
from aiochat.messages import Entry, Erased, Message
from aiochat.roomlog.contract import Draft

_BUCKETS: Final = 4096

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


def entry(room: str, offset: int, draft: Draft) -> Entry:
    """What the draft is once it is in the log."""
    if draft.target is not None:
        return Erased(room, offset, draft.ts, draft.target)
    return Message(room, offset, draft.ts, draft.sender, draft.text, draft.data, draft.key)


def scope(draft: Draft) -> str:
    """Whose key it is."""
    sender = draft.sender
    return f"u{sender.user}" if sender.user is not None else f"c{sender.client or ''}"


class Digest:
    """8 bytes that stand for a draft's content; without the secret nobody can try what it may have been.

    It holds the secret so that no traceback with local variables shows it.
    """

    def __init__(self, secret: bytes) -> None:
        self._begun = blake2b(secret, digest_size=8)

    def __call__(self, draft: Draft) -> bytes:
        digest = self._begun.copy()
        digest.update(_encode((*(draft.said or (draft.text, draft.data)), draft.target)))
        return digest.digest()


def key_reused() -> Reply:
    return Reply("key_reused", "this key belongs to a message with other content", field="key")


def no_such_message() -> Reply:
    return Reply("no_such_message", "there is no such message, or it was erased", field="offset")


def bucket(room: str) -> int:
    """Which of a few counters says how often a room of this one's kind was forgotten.

    A new room's epoch holds that count. So a room that comes back has another epoch, one that was never written to has
    the epoch of its first message, and nothing has to be remembered of either.
    """
    return crc32(room.encode()) % _BUCKETS
