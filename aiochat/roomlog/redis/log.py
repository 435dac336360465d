"""The room log on Redis: the node's calls, what it follows, and what comes of both."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from aiochat.config import Config
from aiochat.errors import UNCONFIRMED, StartError, StoreError, unavailable
from aiochat.monitoring.supervision import Supervision
from aiochat.roomlog import drafts as of
from aiochat.roomlog.contract import KEPT_BYTES, KEPT_VALUES, Answer, Appended, Arrived, Deleted, Draft, Page, RoomLog
from aiochat.roomlog.redis import wire
from aiochat.roomlog.redis.connections import ResponseError, connector, wants_tls
from aiochat.roomlog.redis.followed import Followed
from aiochat.roomlog.redis.followers import Followers
from aiochat.roomlog.redis.link import RedisLink
from aiochat.roomlog.redis.pipeline import Command, Pipeline
from aiochat.roomlog.redis.probe import Probe
from aiochat.roomlog.redis.scripts import SCRIPTS, Calls
from aiochat.roomlog.redis.subscription import Subscription
from aiochat.roomlog.urls import address_of

_FILL_ENTRIES: Final = 300
_CLOSE_SECONDS: Final = 2.0
_OLDEST: Final = (7, 0)

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()

_Then = Callable[[list[Any] | StoreError], None]


class RedisLog(RoomLog):
    """Bounded in each room by `history`, in all by Redis's own `maxmemory`, and every key has a lifetime."""

    is_shared = True
    link: RedisLink

    def __init__(self, config: Config) -> None:
        self._address = address_of(config.store.url)
        self._store = config.store
        self._calls = Calls(config, self._address.database)
        self._own = f"{self._calls.prefix}:node:{self._calls.node}".encode()
        self._tasks: list[asyncio.Task[None]] = []
        self.fills = 0  # how often the stream was asked for what a subscription had not brought

    @property
    def is_deaf(self) -> bool:
        return self._probe.is_deaf

    async def open(self, on_end: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        connect = connector(self._address)
        self._time = loop.time
        self._probe = Probe(loop.time)
        self._pipeline = Pipeline(connect, SCRIPTS, self._store.wait_seconds, self._store.wait_replicas)
        self._subscription = Subscription(connect, self._own, self._hear, self._stand)
        self._followers = Followers(self._calls, self._subscription, self._fill)
        calls, database = self._calls, self._address.database
        self.link = RedisLink(
            calls.node, calls.prefix, database, self._pipeline, self._subscription, self._followers.ask_all
        )
        self._supervision = Supervision(on_end)
        self._piping = asyncio.create_task(self._pipeline.run(), name="the pipeline to Redis")
        try:
            await self._greet()
        except BaseException:
            await self.close()
            raise
        self._tasks = [
            asyncio.create_task(self._subscription.run(), name="the subscription in Redis"),
            asyncio.create_task(self._tick(), name="the watch over Redis"),
        ]
        for task in (self._piping, *self._tasks):
            self._supervision.watch(task)

    def append(self, batch: Mapping[str, Sequence[Draft]], answer: Answer[Mapping[str, Appended]]) -> None:
        self._calls.next_batch()
        if batch:
            self._ask(
                lambda: [self._calls.append(room, drafts, self._digest) for room, drafts in batch.items()],
                lambda replies: self._appended(batch, replies),
                answer,
                must_be_replicated=True,
                may_be_partial=True,
            )
        else:
            self._ask(lambda: [("PING",)], lambda _: {}, answer)

    def read(
        self, room: str, answer: Answer[Page], *, limit: int, before: int | None = None, after: int | None = None
    ) -> None:
        followed = self._followers.of(room)
        if followed is not None:
            followed.reading()
        is_forward = after is not None

        def then(result: wire.Stretch | StoreError) -> None:
            followed = self._followers.of(room)  # perhaps another one than before
            if followed is not None:
                followed.was_read(result)
            answer(result if isinstance(result, StoreError) else result.page)
            if followed is not None:
                followed.go_on()

        self._ask(
            lambda: [self._calls.read(room, limit, before, after)],
            lambda replies: self._stretch(room, replies[0], limit, is_forward=is_forward),
            then,
        )

    def delete(self, room: str, answer: Answer[Deleted]) -> None:
        self._ask(lambda: [self._calls.delete(room)], lambda replies: self._deleted(room, replies[0]), answer)

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        is_too_large = value is not None and len(value) > KEPT_BYTES
        command: Command = ("PING",) if is_too_large else self._calls.keep(key, value, KEPT_VALUES)

        def kept(replies: Sequence[Any]) -> None:
            if is_too_large or not replies[0]:
                raise StoreError(f"there are {KEPT_VALUES} values of {KEPT_BYTES} bytes at most")

        self._ask(lambda: [command], kept, answer)

    async def close(self) -> None:
        self._supervision.stand_down()
        for task in self._tasks:
            task.cancel()
        self._pipeline.close()
        _, late = await asyncio.wait([self._piping, *self._tasks], timeout=_CLOSE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        self._pipeline.refuse_all("the log is closed")

    # What the node follows.

    def follow(self, room: str, then: Callable[[Arrived], None]) -> None:
        self._followers.follow(room, then)

    def unfollow(self, room: str) -> None:
        self._followers.unfollow(room)

    def took(self, arrived: Arrived) -> None:
        self._followers.took(arrived)

    def _hear(self, channel: bytes, payload: bytes) -> None:
        if channel == self._own:
            self._probe.heard(int(payload))
        elif not self.link.hear(channel, payload):
            self._followers.hear(channel, payload)

    def _stand(self, channel: bytes) -> None:
        if channel == self._own:
            self._say()
        elif not self.link.stand(channel):
            self._followers.stand(channel)

    def _fill(self, followed: Followed) -> None:
        room = followed.room
        self.fills += 1
        self._ask(
            lambda: [self._calls.missed(room, followed.seen, _FILL_ENTRIES)],
            lambda replies: self._stretch(room, replies[0], _FILL_ENTRIES, is_forward=True),
            lambda result: followed.filled(result) if self._followers.of(room) is followed else None,
            may_wait=True,
        )

    # What Redis answers.

    def _ask(
        self,
        commands: Callable[[], Sequence[Command]],
        result_of: Callable[[list[Any]], Any],
        answer: Callable[[Any], None],
        *,
        must_be_replicated: bool = False,
        may_wait: bool = False,
        may_be_partial: bool = False,
    ) -> None:
        """`result_of` makes the answer of the replies; what it raises is a failure of the log's.

        There are errors among them only if they `may_be_partial`, and then not errors alone.
        """

        def answered(replies: list[Any] | StoreError) -> None:
            answer(_result(replies, result_of, may_be_partial=may_be_partial))

        try:
            asked = commands()
            self._pipeline.ask(asked, answered, must_be_replicated=must_be_replicated, may_wait=may_wait)
        except (UnicodeEncodeError, OverflowError, TypeError, ValueError) as error:  # it fails when its turn has come
            failed = StoreError(f"the request cannot be encoded ({type(error).__name__})")
            self._pipeline.ask([("PING",)], lambda _: answer(failed))

    def _appended(self, batch: Mapping[str, Sequence[Draft]], replies: Sequence[Any]) -> Mapping[str, Appended]:
        answered: dict[str, Appended] = {}
        for (room, drafts), reply in zip(batch.items(), replies, strict=True):
            if isinstance(reply, ResponseError):
                answered[room] = Appended("", 0, (), [unavailable(UNCONFIRMED) for _ in drafts])
                continue
            answered[room], seen = wire.appended(room, drafts, reply)
            self._calls.see(room, seen)
            self._followers.expect(room)
        return answered

    def _stretch(self, room: str, reply: Any, limit: int, *, is_forward: bool) -> wire.Stretch:
        stretch = wire.stretch_of(room, reply, limit, is_forward=is_forward)
        self._calls.see(room, wire.Seen(stretch.epoch, stretch.newest, stretch.stamp))
        return stretch

    def _deleted(self, room: str, reply: Any) -> Deleted:
        epoch, stood = reply
        deleted = Deleted(epoch.decode(), stood)
        self._calls.see(room, wire.Seen(deleted.epoch))
        followed = self._followers.of(room)
        if followed is not None and stood:
            followed.began(deleted.epoch)
        return deleted

    # The subscription.

    async def _tick(self) -> None:
        """Until cancelled: about once a second, what did not work is tried again, and the subscription is probed."""
        while True:
            await asyncio.sleep(1)
            if self._pipeline.is_away:
                continue
            self._followers.ask_again()
            if self._probe.is_overdue():
                self._subscription.rebuild()
            elif self._probe.is_due():
                self._say()

    def _say(self) -> None:
        """Something to ourselves; and what must outlive a flush is there again, for as long as there is a node."""
        calls, said = self._calls, self._probe.next()
        commands: list[Command] = [
            ("SET", calls.secret, self.secret, "NX", "PX", calls.life_ms),
            ("PEXPIRE", calls.secret, calls.life_ms),
            ("PEXPIRE", calls.kept, calls.life_ms),
            ("SPUBLISH", self._own, said),
        ]
        self._pipeline.ask(commands, partial(self._probed, said))

    def _probed(self, said: int, replies: list[Any] | StoreError) -> None:
        if isinstance(replies, list):
            self._probe.published(said)

    # The start.

    async def _greet(self) -> None:
        calls = self._calls
        made = ("SET", calls.secret, os.urandom(32), "NX", "PX", calls.life_ms)
        greeted: asyncio.Future[list[Any] | StoreError] = asyncio.get_running_loop().create_future()
        asked: list[Command] = [("INFO", "server"), made, ("GET", calls.secret), ("HGETALL", calls.kept)]
        self._pipeline.ask(asked, greeted.set_result)
        replies = await greeted
        where = f"store.url: Redis at {self._address}"
        if isinstance(replies, StoreError):
            advice = "; it speaks TLS: rediss://" if await wants_tls(self._address) else ""
            raise StartError(f"{where} cannot be used: {replies}{advice}")
        refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if refused is not None:
            raise StartError(f"{where} refuses: {refused}")
        info, _, self.secret, kept = replies
        _check(where, dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line))
        self._digest = of.Digest(self.secret)
        self.kept = {key.decode(): value for key, value in zip(kept[::2], kept[1::2], strict=True)}


def _result(
    replies: list[Any] | StoreError, result_of: Callable[[list[Any]], Any], *, may_be_partial: bool = False
) -> Any:
    if isinstance(replies, StoreError):
        return replies
    refused = [reply for reply in replies if isinstance(reply, ResponseError)]
    if refused and not (may_be_partial and len(refused) < len(replies)):
        return StoreError(str(refused[0]))
    try:
        return result_of(replies)
    except StoreError as error:
        return error
    except wire.DAMAGES as error:
        _logger.exception("redis_reply_failed")
        return StoreError(f"what is in Redis cannot be read ({type(error).__name__})")


def _check(where: str, info: Mapping[str, str]) -> None:
    """Raise `StartError` for a Redis that does not know what is needed."""
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise StartError(f"{where} is of version {version}, and 7.0 is needed, or Valkey")
    if "cluster" in (info.get("redis_mode"), info.get("server_mode")):  # the latter is Valkey's
        raise StartError(f"{where} is a cluster, and one server, with replicas and Sentinel if need be, is needed")
