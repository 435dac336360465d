"""What else nodes share goes over the log's own two connections to Redis: questions, and what is said on channels."""

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any

from aiochat.errors import RefusedError, StoreError
from aiochat.roomlog.redis.connections import ResponseError, is_lasting
from aiochat.roomlog.redis.pipeline import Command, Pipeline
from aiochat.roomlog.redis.subscription import Subscription

Hear = Callable[[bytes], None]
Stand = Callable[[], None]


class RedisLink:
    """`node` names this process; keys and channels of ours begin with `prefix`."""

    def __init__(
        self,
        node: str,
        prefix: str,
        database: int,
        pipeline: Pipeline,
        subscription: Subscription,
        look: Callable[[], None],
    ) -> None:
        self.node = node
        self.prefix = prefix
        self._database = database
        self._pipeline = pipeline
        self._subscription = subscription
        self._look = look
        self._listeners: dict[bytes, tuple[Hear, Stand]] = {}

    @property
    def is_away(self) -> bool:
        """Whether the last that was asked is not answered, or was not in time."""
        return self._pipeline.is_away

    def load(self, script: str) -> str:
        """Let Redis know a script; the digest to call it by."""
        self._pipeline.load(script)
        return sha1(script.encode(), usedforsecurity=False).hexdigest()

    def ask(self, commands: Sequence[Command], then: Callable[[list[Any] | StoreError], object]) -> None:
        """`then` is called once, perhaps within the call, with the replies, or what is wrong with the first bad one.

        What people say and read overtakes it; what is asked here stays in order.
        """
        self._pipeline.ask(commands, lambda replies: then(_checked(replies)), may_wait=True)

    def channel(self, name: str) -> str:
        """Channels are those of all databases."""
        return f"{name}@{self._database}"

    def listen(self, channel: str, hear: Hear, stand: Stand) -> None:
        """`stand` is called once the channel is subscribed to, and again whenever something may have been missed."""
        self._listeners[channel.encode()] = hear, stand
        self._subscription.subscribe(channel.encode())

    def unlisten(self, channel: str) -> None:
        del self._listeners[channel.encode()]
        self._subscription.unsubscribe(channel.encode())

    def look_again(self) -> None:
        """Redis has lost what it had: find out where each room that is followed stands now."""
        self._look()

    def hear(self, channel: bytes, payload: bytes) -> bool:
        """The subscription brings something: whether it is for who listens here."""
        listener = self._listeners.get(channel)
        if listener is not None:
            listener[0](payload)
        return listener is not None

    def stand(self, channel: bytes) -> bool:
        """The same for a channel that is subscribed to now."""
        listener = self._listeners.get(channel)
        if listener is not None:
            listener[1]()
        return listener is not None


def _checked(replies: list[Any] | StoreError) -> list[Any] | StoreError:
    if isinstance(replies, StoreError):
        return replies
    refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
    if refused is None:
        return replies
    return RefusedError(str(refused)) if is_lasting(refused) else StoreError(str(refused))
