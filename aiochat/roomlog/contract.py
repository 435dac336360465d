"""What every room log promises. One shared test suite (tests/test_roomlog.py) runs against each engine.

`append` gives each message of a room its `offset` (1, 2, 3, ...) under an `epoch`, a name for this incarnation of the
room's log: it changes exactly when offsets could be reused for other messages. Every call is answered exactly once, on
the loop's thread, in the order of the calls, by the result or a `StoreError`; the caller never waits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from aiochat.errors import StoreError
from aiochat.messages import Message, Sender

PAGE_BYTES: Final = 256 << 10

_Result = TypeVar("_Result")

Answer = Callable[[_Result | StoreError], None]


def content_bytes(text: str | None, data: Any) -> int:
    """About what a message's content costs in memory. Not `getsizeof`, which says more once a string was encoded."""
    size = 0 if text is None else len(text) if text.isascii() else 4 * len(text)
    return size if data is None else size + len(msgspec.json.encode(data))


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message on its way into the log. `ts` is in Unix milliseconds; `size` is its `content_bytes`,
    `publisher` for the hub alone.
    """

    sender: Sender
    text: str | None
    data: Any
    ts: int
    size: int
    publisher: Any


class Page(msgspec.Struct, frozen=True, gc=False):
    """A stretch of one room's log, oldest first, and the log's epoch and newest offset when it was read."""

    epoch: str
    newest: int
    messages: tuple[Message, ...]


class RoomLog(ABC):
    """Append, read, close."""

    @abstractmethod
    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[dict[str, Page]]) -> None:
        """Append each room's drafts; the answer has a page of just those messages a room, in the same order."""

    @abstractmethod
    def read(self, room: str, limit: int, answer: Answer[Page]) -> None:
        """The room's newest messages: `limit` and PAGE_BYTES of content at most, but one message in any case.

        A room never written to is empty, not an error.
        """

    @abstractmethod
    async def close(self) -> None:
        """Answer what is under way, then let go of everything."""
