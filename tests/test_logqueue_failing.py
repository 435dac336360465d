"""What waits for a room log that fails or is late: the queue says so, logs it, and finds out when that ends."""

import pytest
from structlog.testing import capture_logs

from aiochat.errors import StoreError
from tests.test_logqueue import AWAY, Hub


@pytest.fixture
def hub() -> Hub:
    """A hub with five seconds of patience."""
    return Hub()


def test_a_log_that_failed_is_tried_until_it_is_back(hub: Hub) -> None:
    """With an empty append, where nobody writes; the queue tells whether the log fails, or takes too long."""
    failing: list[bool] = []
    hub.queue.probe(hub._appended)
    assert hub.log.batches == []
    for error in (AWAY, None):
        hub.say("a", "one")
        hub.append()
        hub.answer(error)
        failing.append(hub.queue.is_failing)
        hub.queue.probe(hub._appended)
        if hub.log.calls:
            hub.answer()
    assert failing == [True, False]
    assert [list(batch) for batch in hub.log.batches] == [["a"], [], ["a"]]
    hub.clock.now += 6
    hub.queue.refuse_late()
    failing.append(hub.queue.is_failing)
    assert failing == [True, False, False]


def test_a_log_that_takes_too_long_is_failing(hub: Hub) -> None:
    """Until it answers."""
    failing: list[bool] = []
    hub.say("a", "one")
    hub.append()
    for seconds in (1, 5):
        hub.clock.now += seconds
        hub.queue.refuse_late()
        failing.append(hub.queue.is_failing)
    hub.answer()
    assert [*failing, hub.queue.is_failing] == [False, True, False]


@pytest.mark.parametrize("error", [None, AWAY])
def test_a_log_that_takes_too_long_is_logged(hub: Hub, error: StoreError | None) -> None:
    """Once, with the seconds; and that it is back, if it is."""
    with capture_logs() as events:
        hub.say("a", "one")
        hub.append()
        for _ in range(3):
            hub.clock.now += 5.1
            hub.queue.refuse_late()
        hub.answer(error)
    late = {"event": "store_late", "seconds": 5.1, "log_level": "warning"}
    assert events == [late] + ([] if error else [{"event": "store_recovered", "log_level": "info"}])


def test_a_read_that_fails_is_a_log_that_fails(hub: Hub) -> None:
    """Until a probe says otherwise: not an append that was in flight meanwhile."""
    hub.say("a", "one")
    hub.append()
    hub.read()
    hub.log.calls.rotate()
    hub.answer(AWAY)
    assert hub.queue.is_failing
    hub.answer()
    assert hub.queue.is_failing
    for error in (AWAY, None):
        hub.queue.probe(hub._appended)
        hub.answer(error)
        assert hub.queue.is_failing == (error is not None)


def test_a_read_that_is_late_is_looked_into(hub: Hub) -> None:
    """By a probe: many reads may take long in a log that does not fail."""
    hub.read()
    hub.clock.now += 5.1
    hub.queue.refuse_late()
    assert not hub.queue.is_failing
    hub.queue.probe(hub._appended)
    assert list(map(dict, hub.log.batches)) == [{}]


def test_a_read_that_the_log_cannot_begin_is_answered(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a turn, and it does not count as one in flight."""
    monkeypatch.setattr(hub.log, "read", lambda: None)
    hub.read()
    hub.run()
    assert [type(page) for page in hub.pages] == [StoreError]
    assert hub.queue.reads_in_flight == 0
