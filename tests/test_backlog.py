"""What all outboxes hold together, and who has to go when it is too much, or takes nothing."""

from types import SimpleNamespace

import pytest

from aiochat.config import Queue
from aiochat.errors import Close
from aiochat.outbox import BATCH_BYTES, Backlog
from tests.outboxes import LIMITS, Side, line


@pytest.fixture
def clock() -> SimpleNamespace:
    """The loop's time, moved by hand."""
    return SimpleNamespace(now=100.0)


@pytest.fixture
def backlog(clock: SimpleNamespace) -> Backlog:
    """Small limits: four messages, a hundred bytes, a thousand in all."""
    return Backlog(Queue(**LIMITS), lambda: clock.now)


def limited(clock: SimpleNamespace, total_bytes: int) -> Backlog:
    """A backlog that holds no more than this, the cost of each batch included."""
    return Backlog(Queue(**LIMITS | {"total_bytes": total_bytes}), lambda: clock.now)


def test_a_batch_in_many_outboxes_counts_once(backlog: Backlog) -> None:
    """Its bytes exist once, until the last of its holders has written or dropped it."""
    sides, shared = [Side(backlog) for _ in range(3)], line("shared")
    for side in sides:
        side.outbox.send(shared)
    assert backlog.bytes == len(shared.data)
    sides[0].socket.take()
    sides[1].outbox.lost()
    assert backlog.bytes == len(shared.data)
    sides[2].outbox.close(4001, "")
    assert backlog.bytes == 0


def test_the_holder_of_the_oldest_batch_goes_when_all_together_hold_too_much(clock: SimpleNamespace) -> None:
    """Those who came to a stop later, and those with nothing queued, are spared."""
    backlog = Backlog(Queue(**LIMITS | {"total_bytes": 60 + 3 * BATCH_BYTES}), lambda: clock.now)
    idle, newest, second, oldest = (Side(backlog) for _ in range(4))
    for side in (oldest, second, newest):
        side.outbox.send(line("x" * 18))
    assert backlog.bytes == 60
    newest.outbox.send(line("y"))
    assert oldest.owner.sealings == [(Close.SLOW, "all outgoing queues together are full")]
    assert backlog.bytes == 43
    assert not any(side.owner.sealings for side in (idle, second, newest))


def test_all_that_hold_the_oldest_batch_go_until_it_is_free(clock: SimpleNamespace) -> None:
    """Dropping one of them frees nothing."""
    backlog = Backlog(Queue(**LIMITS | {"total_bytes": 60 + 2 * BATCH_BYTES}), lambda: clock.now)
    first, second, newest = (Side(backlog) for _ in range(3))
    shared = line("x" * 38)
    for side in (first, second):
        side.outbox.send(shared)
    newest.outbox.send(line("y" * 38))
    assert [bool(side.owner.sealings) for side in (first, second, newest)] == [True, True, False]
    assert backlog.bytes == 40


def test_what_is_still_to_be_said_to_who_goes_is_left_to_it(clock: SimpleNamespace) -> None:
    """Its grace is short; whoever comes on top of a total that it fills has no place."""
    backlog = Backlog(Queue(**LIMITS | {"total_bytes": 60 + 3 * BATCH_BYTES}), lambda: clock.now)
    going, other = Side(backlog), Side(backlog)
    going.outbox.send(line("x" * 57))
    going.outbox.close(1000, "")
    other.outbox.send(line("y"))
    assert other.close_codes == [Close.SLOW]
    going.socket.take()
    going.socket.take()
    assert (going.heard, going.close_codes, backlog.bytes) == (["x" * 57], [1000], 0)


def test_who_is_over_the_total_alone_goes_itself(clock: SimpleNamespace) -> None:
    """Even its one batch: the total holds."""
    backlog = Backlog(Queue(**LIMITS | {"total_bytes": 60 + BATCH_BYTES}), lambda: clock.now)
    side = Side(backlog)
    side.outbox.send(line("x" * 70))
    assert (side.close_codes, backlog.bytes) == ([Close.SLOW], 0)


def test_who_takes_nothing_for_too_long_is_dropped(backlog: Backlog, clock: SimpleNamespace) -> None:
    """Not a moment before `stall_seconds`, even with nothing queued."""
    side = Side(backlog)
    clock.now += 9.9
    backlog.check_stalls()
    assert backlog.stalled_seconds(side.outbox) == pytest.approx(9.9)
    assert not side.outbox.is_sealed
    clock.now += 0.1
    backlog.check_stalls()
    assert side.owner.sealings == [(Close.SLOW, "took nothing for 10 seconds")]
    assert (len(backlog), backlog.stalled_seconds(side.outbox)) == (0, 0)


def test_who_takes_anything_is_slow_but_not_stalled(backlog: Backlog, clock: SimpleNamespace) -> None:
    """Each byte taken gives it the whole time again."""
    side = Side(backlog)
    side.outbox.send(line("a"))
    for _ in range(3):
        clock.now += 9.9
        side.socket.take(1)
        backlog.check_stalls()
    assert not side.outbox.is_sealed
    clock.now += 10
    backlog.check_stalls()
    assert side.outbox.is_sealed


def test_a_socket_that_flows_again_is_watched_no_longer(backlog: Backlog, clock: SimpleNamespace) -> None:
    """Only who is paused costs the timer anything."""
    side = Side(backlog)
    assert len(backlog) == 1
    side.socket.take()
    clock.now += 1000
    backlog.check_stalls()
    assert (len(backlog), side.owner.sealings) == (0, [])
