"""A room log of any engine, with answers that can be awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aiochat.config import Config, load
from aiochat.errors import Reply
from aiochat.messages import Entry, Message, Sender
from aiochat.roomlog import Appended, Deleted, Draft, Page, Repeated, RoomLog, content_bytes
from aiochat.roomlog.engines import make_log
from tests import redis_server

ALICE: Final = Sender("c1", "alice")
ENGINES: Final = ("memory", "sqlite", "redis")
BOUNDED_IN_ALL: Final = ("memory", "sqlite")  # Redis bounds rooms one by one, and all together by its own `maxmemory`


def url_of(engine: str, directory: Path) -> str:
    """What names a new log of this engine."""
    if engine == "redis":
        return redis_server.url_of(directory)
    return "memory:" if engine == "memory" else f"sqlite:///{directory}/log.db"


def another(url: str) -> str:
    """What names another new log of the same engine."""
    if url.startswith("unix:"):
        return redis_server.shared().new_url()
    return url if url == "memory:" else f"{url}-{uuid4()}"


def draft(text: str | None, data: Any = None, ts: int | None = None, **rest: Any) -> Draft:
    """A message on its way."""
    when = time.time_ns() // 1_000_000 if ts is None else ts
    return Draft(rest.pop("sender", ALICE), text, data, when, content_bytes(text, data), publisher=None, **rest)


def erasure(target: int, **rest: Any) -> Draft:
    """An erasure on its way."""
    return draft(None, target=target, **rest)


class Log:
    """An engine whose answers can be awaited."""

    def __init__(self, engine: RoomLog) -> None:
        self.engine = engine
        self.answered: list[int] = []  # the numbers of the calls, in the order of their answers
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._calls = 0

    async def open(self) -> None:
        await self.engine.open(self.ended.set_result)

    def append_drafts(self, batch: Mapping[str, Sequence[Draft]]) -> asyncio.Future[dict[str, Appended]]:
        future: asyncio.Future[dict[str, Appended]] = asyncio.get_running_loop().create_future()
        self.engine.append(batch, self._answer(future))
        return future

    async def append(self, room: str, *said: str | Draft) -> Appended:
        """Append to one room."""
        drafts = [draft(text) if isinstance(text, str) else text for text in said]
        return (await self.append_drafts({room: drafts}))[room]

    def read(
        self, room: str, limit: int = 300, *, before: int | None = None, after: int | None = None
    ) -> asyncio.Future[Page]:
        future: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self.engine.read(room, self._answer(future), limit=limit, before=before, after=after)
        return future

    def delete(self, room: str) -> asyncio.Future[Deleted]:
        future: asyncio.Future[Deleted] = asyncio.get_running_loop().create_future()
        self.engine.delete(room, self._answer(future))
        return future

    def keep(self, key: str, value: bytes | None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.engine.keep(key, value, self._answer(future))
        return future

    def _answer(self, future: asyncio.Future[Any]) -> Any:
        number, self._calls = self._calls, self._calls + 1

        def answer(result: Any) -> None:
            assert not future.done(), "answered exactly once"
            self.answered.append(number)
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        return answer


def config_of(url: str, **settings: Any) -> Config:
    """The default settings, with this store and these keys of [store] and [history] over them."""
    config = load(flags={"store": {"url": url}})
    sections = {
        name: section.model_copy(update={key: value for key, value in settings.items() if hasattr(section, key)})
        for name, section in (("store", config.store), ("history", config.history), ("server", config.server))
    }
    return config.model_copy(update=sections)


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Log]:
    """A log of this engine, with these settings over the default ones."""
    log = Log(make_log(config_of(url, **settings)))
    await log.open()
    try:
        yield log
    finally:
        await log.engine.close()


def said(page: Page | Appended) -> list[tuple[int, str | None]]:
    """Offsets and texts; of an erasure, what it erases."""
    return [(entry.offset, _text(entry)) for entry in page.entries]


def refusal_of(result: Entry | Repeated | Reply) -> tuple[str, str | None]:
    """The code and the field of a draft that was refused."""
    assert isinstance(result, Reply)
    return result.code, result.field


def _text(entry: Entry) -> str | None:
    if isinstance(entry, Message):
        return "erased" if entry.erased else entry.text
    return f"erases {entry.target}"
