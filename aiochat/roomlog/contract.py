"""What every room log promises. One shared test suite (tests/test_roomlog.py) runs against each engine.

`append` gives each entry of a room its `offset` (1, 2, 3, ...) under an `epoch`, a name for this incarnation of the
room's log: it changes exactly when offsets could be reused for other messages. Every call is answered exactly once, on
the loop's thread, in the order of the calls and as of then, by the result or a `StoreError`; the caller never waits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, TypeVar

import msgspec

from aiochat.errors import Reply, StoreError
from aiochat.messages import Entry, Sender

PAGE_BYTES: Final = 256 << 10
KEPT_VALUES: Final = 25_000
KEPT_BYTES: Final = 4 << 10  # of one

_Result = TypeVar("_Result")

Answer = Callable[[_Result | StoreError], None]


def content_bytes(text: str | None, data: Any) -> int:
    """About what a message's content costs in memory. Not `getsizeof`, which says more once a string was encoded.

    Of `data` it is never less: each object, array and value costs far more there than the bytes that say it.
    """
    size = 0 if text is None else len(text) if text.isascii() else 4 * len(text)
    if data is None:
        return size
    said = msgspec.json.encode(data)
    return (
        size + len(said) + 240 * said.count(b"{") + 72 * said.count(b"[") + 60 * (said.count(b",") + said.count(b":"))
    )


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An entry on its way into the log: a message, or the erasure of the one at offset `target`.

    `ts` is in Unix milliseconds; `size` is its `content_bytes`, `publisher` for the hub alone. The `key`, if there is
    one, is its user's or, for who has none, its client's. It stands for what was `said`, text and data, where the
    embedding application has made something else of that.
    """

    sender: Sender
    text: str | None
    data: Any
    ts: int
    size: int
    publisher: object
    key: str | None = None
    target: int | None = None
    said: tuple[str | None, Any] | None = None


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """What a draft with a known key became: nothing new, but the entry at this offset."""

    offset: int
    ts: int


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What became of one room's drafts.

    `results` has one for each, in their order: the entry it is now, `Repeated`, or a `Reply` that refuses it
    (`key_reused`; `no_such_message` for an erasure of what is not there; `unavailable` for all of a room that the log
    fails for, while others are in it; then there is no epoch). `entries` are the entries among them.
    """

    epoch: str
    newest: int
    entries: Sequence[Entry]
    results: Sequence[Entry | Repeated | Reply]


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """What a followed room's members are to be given next: the entries after the offset `after`, without a hole.

    They are of `size` bytes of content. What is between `after` and what was given before is lost, or it is another
    epoch, which began with `after`. There may be no entries at all.
    """

    epoch: str
    after: int
    entries: Sequence[Entry]
    size: int


class Page(msgspec.Struct, frozen=True, gc=False):
    """A stretch of one room's log, oldest first, with the log's epoch and bounds when it was read.

    `oldest` is the offset of the first entry still kept, `newest` that of the last ever given; with nothing kept,
    `oldest` is `newest + 1`. A message that was erased is there without its content.
    """

    epoch: str
    oldest: int
    newest: int
    entries: tuple[Entry, ...]


class Deleted(msgspec.Struct, frozen=True, gc=False):
    """A room whose log was thrown away: the `epoch` of its next message, and where it stood; 0 if it was empty."""

    epoch: str
    newest: int


class Link(Protocol):
    """To the engine that a shared log is in. All is called on the loop's thread, and nothing waits."""

    node: str
    prefix: str

    @property
    def is_away(self) -> bool: ...
    def load(self, script: str) -> str: ...
    def ask(self, commands: Sequence[tuple[str | bytes | int, ...]], then: Answer[list[Any]]) -> None: ...
    def channel(self, name: str) -> str: ...
    def listen(self, channel: str, hear: Callable[[bytes], None], stand: Callable[[], None]) -> None: ...
    def unlisten(self, channel: str) -> None: ...
    def look_again(self) -> None: ...


class RoomLog(ABC):
    """Open, append, read, close. `secret` is 32 random bytes that live as long as what the log holds.

    Beside the rooms it keeps a few values of the server's own, such as bans: `kept` is what there was at `open`.
    """

    secret: bytes
    kept: Mapping[str, bytes]
    is_shared: ClassVar[bool] = False  # by several nodes; a log of this node's own fails for it alone
    link: "Link | None" = None  # of a shared log: the way to what else its nodes share

    @abstractmethod
    async def open(self, on_end: Callable[[str], None]) -> None:
        """Before anything else. `on_end` is called once, with the reason, if the log can never answer again.

        Raises `StartError` with one line that says what is wrong and what to do.
        """

    @abstractmethod
    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        """Append each room's drafts, all or, on a `StoreError` or `unavailable`, none or all.

        An empty batch only tries whether it can.
        After `history.key_minutes`, or beyond `store.max_keys` of them (the oldest first), a key is forgotten.
        """

    @abstractmethod
    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        """The room's newest entries, or the last ones `before` an offset, or the first ones `after` one.

        At most `limit` of them and PAGE_BYTES of content, but one in any case if `limit` is not 0. A room never written
        to is empty, not an error, and has an epoch that its first message will have, too.
        """

    @abstractmethod
    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        """Throw a room's log away: nothing of it can be read any more, and it begins again under another epoch."""

    @abstractmethod
    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        """Keep a value for as long as `secret` lives, in the place of an older one; None forgets it.

        A `StoreError` answers one of more than KEPT_BYTES, and a new one beyond KEPT_VALUES.
        """

    # Of a shared log alone: what it appends it answers, and gives to those who follow the room, on every node.

    @property
    def is_deaf(self) -> bool:
        """Whether what other nodes append does not come, although the log can be asked."""
        return False

    def follow(self, room: str, then: Callable[[Arrived], None]) -> None:
        """Give what comes into a room to `then`, from where the first page of it ends, or else from now on.

        A page of the room that is answered meanwhile holds at least what was given before its answer.
        """
        raise NotImplementedError

    def unfollow(self, room: str) -> None:
        """Give nothing of this room any more."""
        raise NotImplementedError

    def took(self, arrived: Arrived) -> None:
        """It was delivered. The log gives nothing while too much was not."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None:
        """Answer what is under way, then let go of everything."""
