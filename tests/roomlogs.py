"""A room log of any engine, with answers that can be awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiochat.config import load
from aiochat.messages import Sender
from aiochat.roomlog import Draft, Page, RoomLog, content_bytes, open_log

ALICE: Final = Sender("c1", "alice")


def draft(text: str | None, data: Any = None, ts: int | None = None) -> Draft:
    """A message on its way."""
    when = time.time_ns() // 1_000_000 if ts is None else ts
    return Draft(ALICE, text, data, when, content_bytes(text, data), publisher=None)


class Log:
    """An engine whose answers can be awaited."""

    def __init__(self, engine: RoomLog) -> None:
        self.engine = engine
        self.answered: list[int] = []  # the numbers of the calls, in the order of their answers
        self._calls = 0

    def append_drafts(self, batch: Mapping[str, Sequence[Draft]]) -> asyncio.Future[dict[str, Page]]:
        future: asyncio.Future[dict[str, Page]] = asyncio.get_running_loop().create_future()
        self.engine.append(batch, self._answer(future))
        return future

    async def append(self, room: str, *texts: str) -> Page:
        """Append to one room; the page of just these messages."""
        return (await self.append_drafts({room: [draft(text) for text in texts]}))[room]

    def read(self, room: str, limit: int = 300) -> asyncio.Future[Page]:
        future: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self.engine.read(room, limit, self._answer(future))
        return future

    def _answer(self, future: asyncio.Future[Any]) -> Any:
        number, self._calls = self._calls, self._calls + 1

        def answer(result: Any) -> None:
            assert not future.done(), "answered exactly once"
            assert not isinstance(result, Exception)
            self.answered.append(number)
            future.set_result(result)

        return answer


@asynccontextmanager
async def opened(url: str, **history: Any) -> AsyncIterator[Log]:
    """A new log of this engine, with these limits over the default ones."""
    config = load(flags={"store": {"url": url}})
    config = config.model_copy(update={"history": config.history.model_copy(update=history)})
    engine = open_log(config)
    try:
        yield Log(engine)
    finally:
        await engine.close()


def said(page: Page) -> list[tuple[int, str | None]]:
    """Offsets and texts."""
    return [(message.offset, message.text) for message in page.messages]
