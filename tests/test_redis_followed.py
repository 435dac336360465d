"""What a followed room gives to the hub: whatever gets lost or comes late, in order, without a hole, nothing twice."""

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aiochat.errors import StoreError
from aiochat.messages import Entry, Message, Sender
from aiochat.roomlog import Arrived, wire
from aiochat.roomlog.redis.followed import Budget, Followed
from aiochat.roomlog.redis.wire import Batch, Seen, Stretch

ALICE = Sender("c1", "alice")


def _batch(epoch: str, first: int, count: int, previous: str, stamp: str) -> Batch:
    content = b"".join(
        wire.encode((1, ALICE, f"{epoch}{offset}", None, None, None)) for offset in range(first, first + count)
    )
    return Batch(epoch, first, count, previous, stamp, content, 0)


class Redis:
    """One room as the scripts have it: batches, and what is asked and published, not delivered yet."""

    def __init__(self) -> None:
        self.begun = [("a", 0)]  # epochs, and where each began
        self.epochs = iter("bcdefghijklmnopqrstuvwxyz{|}~")
        self.entries: list[tuple[str, str]] = []  # text and stamp
        self.published: deque[Batch] = deque()
        self.asked: deque[Any] = deque()
        self.stamps = 0
        self.is_subscribed = True

    @property
    def epoch(self) -> str:
        return self.begun[-1][0]

    @property
    def stamp(self) -> str:
        return self.entries[-1][1] if self.entries else "-"

    def append(self, count: int) -> None:
        first, previous = len(self.entries) + 1, self.stamp
        self.stamps += 1
        batch = _batch(self.epoch, first, count, previous, f"s{self.stamps}")
        self.entries += [(f"{self.epoch}{offset}", batch.stamp) for offset in range(first, first + count)]
        self._publish(batch)

    def _publish(self, batch: Batch) -> None:
        if self.is_subscribed:
            self.published.append(batch)

    def subscribe(self) -> None:
        """Anew: what was published before does not come any more."""
        self.published.clear()
        self.is_subscribed = True

    def rewind(self, count: int) -> None:
        """A replica that lagged takes over: the newest are gone, the epoch is not; nor is anything heard."""
        self.published.clear()
        self.is_subscribed = False
        del self.entries[max(0, len(self.entries) - count) :]
        while self.begun[-1][1] > len(self.entries):
            self.begun.pop()

    def look(self, seen: Seen) -> Stretch:
        """As `read.lua` answers who has missed something."""
        newest = len(self.entries)
        if self._is_other(seen):
            self.begun.append((next(self.epochs), newest))
            self._publish(Batch(self.epoch, newest + 1, 0, self.stamp, self.stamp, b"", 0))
        since = newest if not seen.epoch else seen.offset if seen.epoch == self.epoch else self.begun[-1][1]
        found = self.entries[since : since + 3]
        entries = tuple(Message("r", since + place, 1, ALICE, text) for place, (text, _) in enumerate(found, 1))
        return Stretch(self.epoch, 1, newest, self.stamp, since, entries, tuple(stamp for _, stamp in found))

    def _is_other(self, seen: Seen) -> bool:
        if seen.epoch != self.epoch or seen.offset > len(self.entries):
            return seen.epoch >= self.epoch
        return bool(seen.stamp) and seen.offset > 0 and self.entries[seen.offset - 1][1] != seen.stamp


class Hub:
    """What it was given; every message under an epoch and offset once, and without a hole."""

    def __init__(self) -> None:
        self.epoch, self.delivered = "", 0
        self.known: dict[tuple[str, int], str | None] = {}

    def take(self, arrived: Arrived) -> None:
        if arrived.epoch != self.epoch:
            self.epoch, self.delivered = arrived.epoch, arrived.after
        assert arrived.after == self.delivered
        for entry in arrived.entries:
            self._deliver(entry)

    def _deliver(self, entry: Entry) -> None:
        assert isinstance(entry, Message)
        assert entry.offset == self.delivered + 1
        assert (self.epoch, entry.offset) not in self.known
        self.known[self.epoch, entry.offset] = entry.text
        self.delivered = entry.offset


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("rewind"), st.integers(1, 5)),
        *(
            st.tuples(st.just(what), st.just(0))
            for what in ("hear", "lose", "answer", "fail", "page", "again", "stand")
        ),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_given_is_the_log(steps: list[tuple[str, int]]) -> None:
    """Over lost and late messages, answers and pages, and a Redis that goes back: in the end, all of the newest epoch.

    A page never says less than what was given before it.
    """
    redis, hub = Redis(), Hub()
    followed = Followed("r", hub.take, lambda _: redis.asked.append(None), Budget(1 << 20))
    followed.stands()
    for what, count in [*steps, ("stand", 0)]:
        _do(what, count, redis, hub, followed)
    while redis.asked or redis.published:
        _do("answer" if redis.asked else "hear", 0, redis, hub, followed)
    assert (hub.epoch, hub.delivered) == (redis.epoch, len(redis.entries))
    for (epoch, offset), text in hub.known.items():
        if epoch == redis.epoch:
            assert redis.entries[offset - 1][0] == text
    assert followed._budget.bytes == 0


def _do(what: str, count: int, redis: Redis, hub: Hub, followed: Followed) -> None:
    match what:
        case "append":
            redis.append(count)
        case "rewind":
            redis.rewind(count)
        case "hear" if redis.published:
            followed.heard(redis.published.popleft())
        case "lose" if redis.published:
            redis.published.popleft()
        case "answer" if redis.asked:
            _answer(redis, hub, followed)
        case "fail" if redis.asked and redis.asked[0] is None:
            redis.asked.popleft()
            followed.filled(StoreError("away"))
        case "page":
            followed.reading()
            redis.asked.append("page")
        case "again" if followed.has_failed:
            followed.ask()
        case "stand":
            redis.subscribe()
            followed.stands()


def _answer(redis: Redis, hub: Hub, followed: Followed) -> None:
    """What was asked first is answered, as of now."""
    kind = redis.asked.popleft()
    stretch = redis.look(followed.seen)
    if kind is None:
        followed.filled(stretch)
        return
    followed.was_read(stretch)
    assert hub.epoch in {"", stretch.epoch}
    assert hub.delivered <= stretch.newest
    if not hub.epoch:
        hub.epoch, hub.delivered = stretch.epoch, stretch.newest
    followed.go_on()
