"""What the embedding application says: its messages and erasures, on their way into the room log like any other."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aiochat.codecs.structs import is_json
from aiochat.errors import Reply, unavailable
from aiochat.messages import MAX_INTEGER, Sender
from aiochat.roomlog import Draft, content_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub


class Publishing:
    """Each call's future has the entry's offset once it is in the room log, or a `Reply`."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._under_way: set[asyncio.Future[int]] = set()

    def publish(self, room: str, text: str | None, data: Any) -> asyncio.Future[int]:
        """A message of nobody's. Raises `TypeError`, `ValueError` or `Reply` `too_long`."""
        if not (text is None or isinstance(text, str)):
            raise TypeError(f"text: got {type(text).__name__}, takes a string")
        if not is_json(data):
            raise TypeError("data: takes what JSON can say, in lists and dicts, 32 levels, integers within 2**53")
        if not text and data is None:
            raise ValueError("a message has text, data or both")
        said = msgspec.json.encode(data)
        size = len(said) + len((text or "").encode())  # a lone surrogate is a ValueError
        most = self._hub.config.limits.max_message_bytes
        if size > most:
            raise Reply("too_long", f"a message of {size} bytes is over limits.max_message_bytes, {most}")
        copied = msgspec.json.decode(said)
        draft = Draft(Sender(), text, copied, _now_ms(), content_bytes(text, copied), self._future())
        return self._submit(room, draft)

    def erase(self, room: str, target: int) -> asyncio.Future[int]:
        """Take back the message at offset `target`: `no_such_message` where there is none."""
        if type(target) is not int:
            raise TypeError(f"offset: got {type(target).__name__}, takes a whole number")
        if not 0 < target <= MAX_INTEGER:
            raise Reply("no_such_message", f"there is no message at offset {target}", field="offset")
        return self._submit(room, Draft(Sender(), None, None, _now_ms(), 0, self._future(), target=target))

    def flush(self) -> asyncio.Future[None]:
        """Done when everything that has arrived so far, whoever said it, has been fanned out."""
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        settled = partial(_set_done, flushed)
        self._hub.later(partial(self._hub.log.settle, settled))
        return flushed

    def abandon(self) -> None:
        """The chat is over: whoever still waits is told."""
        for future in list(self._under_way):
            if not future.done():
                future.set_exception(unavailable("the chat has stopped"))

    def _future(self) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def _submit(self, room: str, draft: Draft) -> asyncio.Future[int]:
        self._hub.later(partial(self._add, room, draft))
        future: asyncio.Future[int] = draft.publisher
        return future

    def _add(self, name: str, draft: Draft) -> None:
        room = self._hub.room(name)
        try:
            self._hub.log.add(room, draft)
        except Reply:
            self._hub.fanout.refuse([draft])
            self._hub.forget_if_idle(room)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
