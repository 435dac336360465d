"""What the caller asked and the server has not answered yet: in order, bounded, and asked again after a break."""

import asyncio
from collections.abc import Callable, Container

from aiochat.errors import Reply
from aiochat.messages import Ack, Answer, Call, Command, Direct, Error, Join, Limits, Message, Position, Publish
from aiochat.sdk.events import Interrupted

_KEY_SHARE = 0.9  # of the time for which the server knows a key: what is sent again has a way to go
_UNKNOWN = "the connection was lost before the answer: whether the server did it is not known"


class Asked:
    """One command on its way. `doubtful`: it may be in the log already, and the server would not know it again."""

    def __init__(self, command: Command, payload: bytes) -> None:
        self.command = command
        self.payload = payload
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.sent_at: float | None = None
        self.refused_at: float | None = None
        self.is_sent = False  # on the connection that stands
        self.doubtful = False

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def resolve(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Commands:
    """`retry_seconds`: for how long one that the server refuses for now is asked again before its caller is told."""

    def __init__(self, most: int, retry_seconds: float, time: Callable[[], float]) -> None:
        self._key_seconds = 0.0  # for how long the server knows a key again
        self._max_bytes = 0  # of one command; 0: not known yet
        self._retry_seconds = retry_seconds
        self._time = time
        self._free = asyncio.Semaphore(most)
        self._asked: dict[int, Asked] = {}  # in order
        self._by_key: dict[tuple[str, str | None], Asked] = {}  # what is published, by room and key
        self._is_flowing = False  # messages are taken: else one alone is under way, and none overtakes a refused one
        self._changed = asyncio.Event()  # there may be something to send
        self._end: Exception | None = None

    async def ask(self, id: int, command: Command, payload: bytes) -> Answer:
        """Wait for the answer. Raises `Reply`, also if it is too long, `Interrupted`, or what the chat ended with.

        A caller that is cancelled takes the command back, unless it is on its way already.
        """
        async with self._free:
            if self._end is not None:
                raise self._end
            self.check_length(payload)
            asked = self._asked[id] = Asked(command, payload)
            key = (command.room, command.key) if isinstance(command, Publish) and command.key else None
            if key is not None:
                self._by_key[key] = asked
            self._changed.set()
            try:
                return await asked.answer
            finally:
                self._forget(id, key)

    def _forget(self, id: int, key: tuple[str, str] | None) -> None:
        del self._asked[id]
        if key is not None:
            self._by_key.pop(key, None)
        self._changed.set()

    def limit(self, limits: Limits) -> None:
        """Go by these from now on: what waits and is too long for them would end the chat, and is given up."""
        self._key_seconds = limits.key_ms / 1000
        self._max_bytes = limits.message_bytes
        for asked in self._asked.values():
            try:
                self.check_length(asked.payload)
            except Reply as refusal:
                asked.fail(refusal if asked.sent_at is None else Interrupted(_UNKNOWN))

    def check_length(self, payload: bytes) -> None:
        """Raises `Reply` `too_long` for what the server would not take."""
        if 0 < self._max_bytes < len(payload):
            reason = f"{len(payload)} bytes are more than the {self._max_bytes} that the server takes"
            raise Reply("too_long", reason)

    async def next(self) -> Asked:
        """The first that is to be sent."""
        while (asked := self._first()) is None:
            self._changed.clear()
            await self._changed.wait()
        return asked

    def _first(self) -> Asked | None:
        is_trying = False  # whether a message has to be taken, or found, before there is another one
        for asked in self._asked.values():
            if asked.answer.done():
                continue
            is_publish = isinstance(asked.command, Publish)
            if not (asked.is_sent or asked.doubtful or (is_publish and is_trying)):
                return asked
            if is_publish and (asked.doubtful or not self._is_flowing):
                is_trying = True
        return None

    def sending(self, asked: Asked) -> None:
        """Note that it is sent now."""
        asked.is_sent = True
        asked.sent_at = asked.sent_at or self._time()

    def ebb(self) -> None:
        """The next one may be refused: wait until all that are under way were taken."""
        self._is_flowing = False

    def answered(self, answer: Answer) -> float:
        """Give the answer to who asked. Returns for how many seconds the server wants to be asked nothing."""
        asked = self._asked.get(answer.id) if isinstance(answer.id, int) else None
        if asked is None:
            return 0.0
        if isinstance(answer, Error):
            return self._refused(asked, answer)
        self._answer(asked, answer)
        return 0.0

    def _answer(self, asked: Asked, answer: Answer) -> None:
        asked.resolve(answer)
        if isinstance(answer, Ack) and asked.is_sent and not self._is_flowing:
            self._is_flowing = not any(map(_is_under_way, self._asked.values()))

    def _refused(self, asked: Asked, error: Error) -> float:
        if error.retry_after_ms is not None:
            now = self._time()
            seconds = error.retry_after_ms / 1000
            asked.refused_at = asked.refused_at or now
            if now + seconds <= asked.refused_at + self._retry_seconds:
                asked.is_sent = False
                if error.code == "rate_limited":  # what is refused as `unavailable` may be in the log all the same
                    asked.sent_at = None
                self.ebb()
                self._changed.set()
                return seconds
        asked.fail(as_reply(error))
        return 0.0

    def since(self, id: object) -> Position | None:
        """From where on the `join` of this id asked to catch up."""
        asked = self._asked.get(id) if isinstance(id, int) else None
        return asked.command.since if asked is not None and isinstance(asked.command, Join) else None

    def lost(self) -> None:
        """The connection is gone: all is to be sent again but what could do twice what was asked."""
        self.ebb()
        for asked in self._asked.values():
            if asked.is_sent and isinstance(asked.command, Direct | Call):
                asked.fail(Interrupted(_UNKNOWN))
            asked.is_sent = False

    def forget_stale(self) -> None:
        """Give up what was sent so long ago that the server does not know its key any more."""
        oldest = self._time() - _KEY_SHARE * self._key_seconds
        for asked in self._asked.values():
            if isinstance(asked.command, Publish) and asked.sent_at is not None and asked.sent_at < oldest:
                asked.fail(Interrupted(_UNKNOWN))

    def doubt(self, rooms: Container[str]) -> None:
        """The session is another one: what was published in the old one may be in the log, and has to be looked for.

        It is looked for in `rooms`, where the client comes back to; of what is elsewhere nothing will be known.
        """
        for asked in self._asked.values():
            if not isinstance(asked.command, Publish) or asked.sent_at is None:
                continue
            asked.doubtful = asked.command.room in rooms
            if not asked.doubtful:
                asked.fail(Interrupted(_UNKNOWN))

    def saw(self, message: Message) -> None:
        """A message came: if it is one of these, that is as good as its ack, which may never come."""
        asked = self._by_key.get((message.room, message.key))
        if asked is not None:
            id = asked.command.id
            ack = Ack(id=id, room=message.room, offset=message.offset, ts=message.ts, key=message.key)
            self._answer(asked, ack)

    def settle(self, room: str, *, recovered: bool) -> None:
        """All of `room` was told: what is still in doubt is not in the log or, if not all was recovered, not known."""
        for asked in self._asked.values():
            if asked.doubtful and isinstance(asked.command, Publish) and asked.command.room == room:
                asked.doubtful = False
                if recovered:
                    asked.sent_at = None
                    self._changed.set()
                else:
                    asked.fail(Interrupted(_UNKNOWN))

    def end(self, error: Exception) -> None:
        """The chat is over."""
        self._end = self._end or error
        for asked in self._asked.values():
            asked.fail(self._end)


def _is_under_way(asked: Asked) -> bool:
    return isinstance(asked.command, Publish) and asked.is_sent and not asked.answer.done()


def as_reply(error: Error) -> Reply:
    """The refusal as the exception that it is for callers."""
    return Reply(
        error.code,
        error.reason,
        field=error.field,
        retry_after_ms=error.retry_after_ms,
        command=error.command,
        id=error.id,
    )
