"""The scripts, and how each is called for a room: with the names of its keys, and with what the node has seen of it."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Final

from aiochat.config import Config
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import PAGE_BYTES, Draft
from aiochat.roomlog.redis.pipeline import Command
from aiochat.roomlog.redis.wire import FORMAT, Seen, draft_arguments

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_ROOMS_SEEN: Final = 50_000  # about 300 bytes each
_ENTRY_BYTES: Final = 512  # what an entry in a page may have beside its content


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.lua").read_text(encoding="ascii")


_ROOM: Final = _text("room")
APPEND: Final = _ROOM + _text("append")
READ: Final = _ROOM + _text("read")
DELETE: Final = _ROOM + _text("delete")
KEEP: Final = _text("keep")
SCRIPTS: Final = (APPEND, READ, DELETE, KEEP)
_DIGESTS: Final = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in SCRIPTS}


class Calls:
    """The commands of one node. What it has `seen` of rooms is kept of those that it had to do with last."""

    def __init__(self, config: Config, database: int) -> None:
        history = config.history
        self._database = database
        self.prefix = f"{config.store.prefix}:{FORMAT}"
        self.node = secrets.token_hex(5)
        self.life_ms = int(config.store.idle_days * _DAY_MS)
        self._limits = (history.max_messages, history.max_bytes, int(history.max_age_hours * _HOUR_MS))
        self._key_limits = (int(history.key_minutes * 60_000), config.store.max_keys)
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._batches = 0
        self._epochs = 0

    def channel(self, room: str) -> bytes:
        """Channels are those of all databases."""
        return f"{self._name(room)}@{self._database}".encode()

    def see(self, room: str, seen: Seen) -> None:
        """What a script has answered of the room; what was published since may have come before the answer."""
        known = self._seen.get(room)
        if known is None or known.epoch != seen.epoch or known.offset <= seen.offset:
            self._seen[room] = seen
        self._seen.move_to_end(room)
        if len(self._seen) > _ROOMS_SEEN:
            self._seen.popitem(last=False)

    def hear(self, room: str, heard: Seen) -> None:
        """What was published of it, which may be old."""
        seen = self._seen.get(room)
        if seen is not None and seen.epoch == heard.epoch and seen.offset < heard.offset:
            self._seen[room] = heard

    def has_all(self, room: str, given: Seen) -> bool:
        """Whether nothing is known of the room beyond what was given."""
        seen = self._seen.get(room)
        return seen is None or (seen.epoch == given.epoch and seen.offset <= given.offset)

    def next_batch(self) -> None:
        """What is appended from now on is another batch."""
        self._batches += 1

    def append(self, room: str, drafts: Sequence[Draft], digest: of.Digest) -> Command:
        """As often as it is sent, it is one batch."""
        batch = (f"{self.node}.{self._batches:x}", self._batches)
        return self._call(APPEND, room, *batch, *self._key_limits, *draft_arguments(drafts, digest))

    def read(self, room: str, limit: int, before: int | None, after: int | None) -> Command:
        mode = "newest" if before is None and after is None else "before" if after is None else "after"
        return self._call(READ, room, mode, before or after or 0, limit, PAGE_BYTES + limit * _ENTRY_BYTES)

    def missed(self, room: str, seen: Seen, limit: int) -> Command:
        """What follows what was seen; if nothing was, only where the room stands."""
        mode, known = ("missed", seen) if seen.epoch else ("look", None)
        return self._call(READ, room, mode, 0, limit, PAGE_BYTES + limit * _ENTRY_BYTES, seen=known)

    def delete(self, room: str) -> Command:
        return self._call(DELETE, room)

    def keep(self, key: str, value: bytes | None, max_values: int) -> Command:
        pieces = () if value is None else (value,)
        return ("EVALSHA", _DIGESTS[KEEP], 1, self.kept, self.life_ms, max_values, key, *pieces)

    @property
    def kept(self) -> str:
        return f"{self.prefix}:kept"

    @property
    def secret(self) -> str:
        return f"{self.prefix}:secret"

    def _call(self, script: str, room: str, *arguments: str | bytes | int, seen: Seen | None = None) -> Command:
        name = self._name(room)
        keys = tuple(f"{name}:{kind}" for kind in ("room", "log", "erased", "keys", "order", self.node))
        known = seen or self._seen.get(room) or Seen()
        self._epochs += 1
        fresh = f"{time.time_ns() // 1_000_000:011x}{self.node}{self._epochs:x}"
        call: Command = ("EVALSHA", _DIGESTS[script], len(keys), *keys)
        call += (self.channel(room), self.life_ms, fresh)
        return (*call, known.epoch, known.offset, known.stamp, *self._limits, *arguments)

    def _name(self, room: str) -> str:
        return f"{self.prefix}:{{{room}}}"
