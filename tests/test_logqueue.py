"""What waits for the room log: one append at a time, within bounds, and nobody waits for ever."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import pytest

from aiochat.config import load
from aiochat.errors import Reply, StoreError
from aiochat.logqueue import LogQueue
from aiochat.messages import Entry, Message, Sender
from aiochat.room import Room
from aiochat.roomlog import Appended, Draft, Page
from aiochat.roomlog.memory import MemoryLog
from tests import fakes

PENDING: Final = {"pending_messages": 4, "pending_bytes": 100, "wait_seconds": 5}
CONFIG = load(flags={"store": {"url": "memory:", **PENDING}})
AWAY = StoreError("away")


def draft(text: str) -> Draft:
    """A message on its way."""
    return Draft(Sender("c1"), text, None, 0, len(text), None)


class Hub:
    """The queue's side of a hub: takes the log's answers in turns, and notes what came of them."""

    def __init__(self) -> None:
        self.clock = SimpleNamespace(now=100.0)
        self.log = fakes.SlowLog(CONFIG)
        self.rooms = {name: Room(name) for name in "ab"}
        self.appended: list[list[str | None] | StoreError] = []
        self.pages: list[Page | StoreError] = []
        self._items: list[Callable[[], object]] = []
        self.queue = LogQueue(CONFIG.store, self.log, lambda: self.clock.now, self._items.append)

    def say(self, room: str, *texts: str) -> None:
        for text in texts:
            self.queue.add(self.rooms[room], draft(text))

    def append(self) -> list[str]:
        """At the end of a turn; the rooms whose drafts went."""
        return [room.name for room in self.queue.append(self._appended)]

    def read(self) -> None:
        self.queue.read("a", self.pages.append, limit=10)

    def answer(self, error: StoreError | None = None) -> None:
        """The log answers its oldest call, and a turn takes the answer."""
        self.log.answer(error)
        assert self._items
        self.run()

    def run(self) -> None:
        """A turn."""
        while self._items:
            self._items.pop(0)()

    def _appended(self, batch: Mapping[str, list[Draft]], result: Mapping[str, Appended] | StoreError) -> None:
        if isinstance(result, StoreError):
            self.appended.append(result)
            return
        assert list(batch) == list(result)
        for room, drafts in batch.items():
            assert _texts(result[room].entries) == [each.text for each in drafts]
        self.appended.append([text for appended in result.values() for text in _texts(appended.entries)])


def _texts(entries: Sequence[Entry]) -> list[str | None]:
    return [entry.text for entry in entries if isinstance(entry, Message)]


@pytest.fixture
def hub() -> Hub:
    """A hub with four messages, a hundred bytes and five seconds of patience."""
    return Hub()


def refused(hub: Hub, text: str = "x") -> Reply:
    """Why a message cannot wait for the log."""
    with pytest.raises(Reply) as refusal:
        hub.say("a", text)
    return refusal.value


def test_a_turns_messages_are_one_batch(hub: Hub) -> None:
    """Of all rooms together, each room's in order."""
    hub.say("a", "one", "two")
    hub.say("b", "uno")
    assert hub.append() == ["a", "b"]
    hub.answer()
    assert hub.appended == [["one", "two", "uno"]]
    assert (hub.rooms["a"].drafts, hub.rooms["b"].drafts) == ([], [])


def test_what_comes_during_an_append_is_the_next_batch(hub: Hub) -> None:
    """One append is in flight, whatever the number of turns; the slower the log, the larger the batches."""
    hub.say("a", "one")
    assert hub.append() == ["a"]
    for text in ("two", "three", "four"):
        hub.say("a", text)
        assert hub.append() == []
    assert len(hub.log.batches) == 1
    hub.answer()
    assert hub.append() == ["a"]
    hub.answer()
    assert hub.appended == [["one"], ["two", "three", "four"]]


def test_nothing_said_is_nothing_appended(hub: Hub) -> None:
    """A turn without messages costs the log nothing."""
    assert hub.append() == []
    assert hub.log.batches == []


def test_what_was_added_is_settled_when_its_append_is_answered(hub: Hub) -> None:
    """With what is in flight, with what waits behind it, and at once where nothing was added; well or not."""
    settled: list[str] = []
    hub.queue.settle(lambda: settled.append("nothing"))
    hub.run()
    assert settled == ["nothing"]
    hub.say("a", "one")
    hub.append()
    hub.queue.settle(lambda: settled.append("one"))
    hub.say("a", "two")
    hub.queue.settle(lambda: settled.append("two"))
    hub.answer(AWAY)
    assert settled == ["nothing", "one"]
    hub.append()
    hub.say("a", "three")
    hub.answer()
    assert settled == ["nothing", "one", "two"]


def test_what_is_late_is_settled_too(hub: Hub) -> None:
    """Whoever ends does not wait longer than the log may take."""
    settled: list[str] = []
    hub.say("a", "one")
    hub.append()
    hub.queue.settle(lambda: settled.append("one"))
    hub.say("a", "two")
    hub.queue.settle(lambda: settled.append("two"))
    hub.clock.now += 6
    hub.queue.refuse_late()
    hub.run()
    assert settled == ["one", "two"]
    hub.answer()
    assert settled == ["one", "two"]


@pytest.mark.parametrize("texts", [["x"] * 4, ["x" * 100]], ids=["messages", "bytes"])
def test_too_much_waiting_is_refused(hub: Hub, texts: list[str]) -> None:
    """By number and by bytes; the publisher is told to try again, and what waits is not lost."""
    hub.say("a", "in flight")
    hub.append()
    hub.say("a", *texts)
    assert (refused(hub).code, refused(hub).retry_after_ms) == ("unavailable", 1000)
    hub.answer()
    hub.append()
    hub.say("a", "there is place again")
    hub.answer()
    assert hub.appended == [["in flight"], texts]


def test_an_append_that_fails_is_told_and_the_next_one_goes(hub: Hub) -> None:
    """Its messages were not said; what waited behind it has its own chance."""
    hub.say("a", "one")
    hub.append()
    hub.say("a", "two")
    hub.answer(AWAY)
    hub.append()
    hub.answer()
    assert hub.appended == [AWAY, ["two"]]


def test_who_waits_too_long_behind_an_append_is_refused(hub: Hub) -> None:
    """After `wait_seconds`, not before; so is who is in flight, once, but that append may still be answered."""
    hub.say("a", "one")
    hub.append()
    hub.say("a", "two")
    hub.say("b", "uno")
    hub.clock.now += 5
    assert hub.queue.refuse_late() == ((), (), ())
    hub.clock.now += 0.1
    late, behind, rooms = hub.queue.refuse_late()
    assert ([each.text for each in late], [each.text for each in behind]) == (["one"], ["two", "uno"])
    assert hub.queue.refuse_late() == ((), [], [])
    assert [room.name for room in rooms] == ["a", "b"]
    assert (hub.rooms["a"].drafts, hub.rooms["b"].drafts) == ([], [])
    assert refused(hub).code == "unavailable"
    hub.answer()
    assert hub.appended == [["one"]]
    hub.say("a", "three")
    hub.append()
    hub.answer()
    assert hub.appended == [["one"], ["three"]]


def test_without_an_append_in_flight_nobody_is_late(hub: Hub) -> None:
    """However long ago the last one was."""
    hub.say("a", "one")
    hub.append()
    hub.answer()
    hub.clock.now += 1000
    hub.say("a", "two")
    assert hub.queue.refuse_late() == ((), (), ())
    assert hub.append() == ["a"]


def test_a_page_comes_when_the_log_answers(hub: Hub) -> None:
    """Or the log's failure to do so."""
    hub.say("a", "one")
    hub.append()
    hub.read()
    hub.read()
    hub.answer()
    hub.answer()
    hub.answer(AWAY)
    page, failure = hub.pages
    assert isinstance(page, Page)
    assert _texts(page.entries) == ["one"]
    assert failure is AWAY


def test_a_late_page_is_a_failure_and_ignored_when_it_comes(hub: Hub) -> None:
    """Whoever waits for it is called once; one asked for later is not late yet."""
    hub.read()
    hub.clock.now += 3
    hub.read()
    hub.clock.now += 2.1
    hub.queue.refuse_late()
    assert [type(page) for page in hub.pages] == [StoreError]
    hub.queue.refuse_late()
    hub.answer()
    assert len(hub.pages) == 1
    hub.answer()
    assert [type(page) for page in hub.pages] == [StoreError, Page]


def test_so_many_reads_are_in_flight_that_an_append_can_come_between(hub: Hub) -> None:
    """Ten thousand who come back at once wait in line, in their order; the late among them are not asked for."""
    for _ in range(20):
        hub.read()
    hub.say("a", "one")
    hub.append()
    assert len(hub.log.calls) == 17
    for _ in range(17):
        hub.answer()
    assert hub.appended == [["one"]]
    assert [len(page.entries) for page in hub.pages if isinstance(page, Page)] == [0] * 16
    hub.clock.now += 5.1
    hub.queue.refuse_late()
    assert [type(page) for page in hub.pages[16:]] == [StoreError] * 4
    hub.read()
    while hub.log.calls:
        hub.log.answer()
    hub.run()
    assert (len(hub.pages), hub.queue.reads_in_flight, hub.queue._reads_waiting) == (21, 0, deque())


def test_a_log_that_answers_within_the_call_is_answered_in_a_turn() -> None:
    """The answer is an item of the hub's like any other, never a call from within."""
    items: list[Any] = []
    queue = LogQueue(CONFIG.store, MemoryLog(CONFIG), lambda: 0.0, items.append)
    queue.add(Room("a"), draft("one"))
    done: list[Any] = []
    queue.append(lambda batch, result: done.append(batch))
    queue.read("a", done.append, limit=1)
    assert (len(items), done) == (2, [])
