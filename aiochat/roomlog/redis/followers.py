"""All rooms that the node follows: what the subscription brings to each, within bounds, and what does not come."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from aiochat.roomlog.contract import Arrived
from aiochat.roomlog.redis.followed import Budget, Followed
from aiochat.roomlog.redis.scripts import Calls
from aiochat.roomlog.redis.subscription import Subscription
from aiochat.roomlog.redis.wire import DAMAGES, Seen, batch_of

_HOLE_SECONDS: Final = 0.1  # for what was appended to come back through the subscription
_WAITING_BYTES: Final = 16 << 20  # of batches that wait to be in order; and as much that the hub has not taken yet


class Followers:
    """`ask` asks the stream for what a room has missed."""

    def __init__(self, calls: Calls, subscription: Subscription, ask: Callable[[Followed], None]) -> None:
        self._calls = calls
        self._subscription = subscription
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._followed: dict[bytes, Followed] = {}  # by channel
        self._expected: dict[bytes, float] = {}  # to which the node has appended what did not come yet, and until when
        self._budget = Budget(_WAITING_BYTES)
        self._untaken = 0

    def of(self, room: str) -> Followed | None:
        """The room, if it is followed."""
        return self._followed.get(self._calls.channel(room))

    def follow(self, room: str, then: Callable[[Arrived], None]) -> None:
        channel = self._calls.channel(room)
        self._followed[channel] = Followed(room, partial(self._give, then), self._ask, self._budget)
        self._subscription.subscribe(channel)

    def unfollow(self, room: str) -> None:
        channel = self._calls.channel(room)
        self._followed.pop(channel).end()
        self._expected.pop(channel, None)
        self._subscription.unsubscribe(channel)

    def took(self, arrived: Arrived) -> None:
        """The hub has delivered it."""
        self._untaken -= _weight(arrived)
        if self._untaken <= _WAITING_BYTES:
            self._subscription.resume()

    def hear(self, channel: bytes, payload: bytes) -> None:
        """What was published there."""
        followed = self._followed.get(channel)
        if followed is None:
            return  # it was left meanwhile
        try:
            batch = batch_of(payload)
        except DAMAGES:
            followed.ask()
            return
        self._calls.hear(followed.room, Seen(batch.epoch, batch.last, batch.stamp))
        followed.heard(batch)

    def stand(self, channel: bytes) -> None:
        """The channel is subscribed to, from now on."""
        followed = self._followed.get(channel)
        if followed is not None:
            followed.stands()

    def ask_again(self) -> None:
        """For what could not be read."""
        for followed in [followed for followed in self._followed.values() if followed.has_failed]:
            followed.ask()

    def ask_all(self) -> None:
        """What each room has missed."""
        for followed in self._followed.values():
            followed.ask()

    def expect(self, room: str) -> None:
        """The node has appended to the room: unless it comes soon, there is a hole that nothing else shows."""
        channel = self._calls.channel(room)
        if channel not in self._followed or self._calls.has_all(room, self._followed[channel].seen):
            return
        if not self._expected:
            self._loop.call_later(_HOLE_SECONDS, self._look_for_holes)
        self._expected.setdefault(channel, self._loop.time() + _HOLE_SECONDS)

    def _look_for_holes(self) -> None:
        now = self._loop.time()
        while self._expected:
            channel, deadline = next(iter(self._expected.items()))
            if deadline > now:
                self._loop.call_later(deadline - now, self._look_for_holes)
                return
            del self._expected[channel]
            followed = self._followed[channel]
            if not self._calls.has_all(followed.room, followed.seen):
                followed.ask()

    def _give(self, then: Callable[[Arrived], None], arrived: Arrived) -> None:
        self._untaken += _weight(arrived)
        if self._untaken > _WAITING_BYTES:
            self._subscription.pause()
        then(arrived)


def _weight(arrived: Arrived) -> int:
    return arrived.size + 200 * len(arrived.entries)
