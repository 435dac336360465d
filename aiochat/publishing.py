"""What the embedding application says: its messages and erasures, on their way into the room log like any other."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aiochat.codecs.structs import is_json
from aiochat.errors import Reply, unavailable
from aiochat.messages import Sender
from aiochat.roomlog import Draft, content_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub


class Publishing:
    """Each call's future has the entry's offset once it is in the room log, or a `Reply`."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._under_way: set[asyncio.Future[int]] = set()

    def publish(self, room: str, text: str | None, data: Any) -> asyncio.Future[int]:
        """A message of nobody's. Raises `TypeError` where `data` is not what JSON can say."""
        copied = None if data is None else msgspec.json.decode(msgspec.json.encode(data))
        if not is_json(copied):
            raise TypeError("data is not what JSON can say, with 32 levels and integers within 2**53")
        published = self._future()
        self._submit(room, Draft(Sender(), text, copied, _now_ms(), content_bytes(text, copied), published))
        return published

    def erase(self, room: str, target: int) -> asyncio.Future[int]:
        """Take back the message at offset `target`: `no_such_message` where there is none."""
        erased = self._future()
        self._submit(room, Draft(Sender(), None, None, _now_ms(), 0, erased, target=target))
        return erased

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

    def _submit(self, room: str, draft: Draft) -> None:
        self._hub.later(partial(self._add, room, draft))

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
