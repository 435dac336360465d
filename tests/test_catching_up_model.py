"""Whoever follows the protocol ends with exactly what was said, whatever breaks: random schedules at the hub."""

import asyncio
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hub_programs import Clock, ProgramChat
from tests.programs import Event

ROOMS = ("a", "b")
STALLED_SECONDS = 61

steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(ROOMS), st.integers(1, 12)),
        st.tuples(st.just("break"), st.just(None)),
        st.tuples(st.just("resume"), st.integers(1, 2)),
        st.tuples(st.just("turn"), st.just(None)),
        st.tuples(st.just("read"), st.just(None)),
        st.tuples(st.just("answer"), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.sampled_from([1, 11, STALLED_SECONDS])),
    ),
    max_size=40,
)


class Follower:
    """A program that does what docs/protocol.md says: per room, what it was given and where it stands."""

    def __init__(self, chat: ProgramChat) -> None:
        self._chat = chat
        self.peer = chat.connect()
        self.seen: dict[str, list[int]] = {room: [] for room in ROOMS}
        self.missing: dict[str, set[int]] = {room: set() for room in ROOMS}
        self.places: dict[str, Event] = {}
        self._token = ""
        self._asked: set[str] = set()  # rooms of which an answer is on its way

    def read(self) -> None:
        """Take what came since the last time, and answer it."""
        for event in self.peer.news():
            getattr(self, f"_{event['type']}", lambda event: None)(event)

    def resume(self, times: int) -> None:
        """Come back, twice at once perhaps; only the last connection is read."""
        for _ in range(times):
            self.peer = self._chat.connect()
            self._asked.clear()
            self.peer.ask("resume", token=self._token, rooms=self.places)

    def join(self) -> None:
        """Ask for all rooms."""
        for room in ROOMS:
            self._join(room)

    def _join(self, room: str) -> None:
        since = {"since": self.places[room]} if room in self.places else {"limit": 300}
        self._asked.add(room)
        self.peer.ask("join", id=room, room=room, **since)

    def _session(self, event: Event) -> None:
        self._token = event["resume"]

    def _joined(self, event: Event) -> None:
        room = event["room"]
        self._asked.discard(room)
        for message in event["messages"]:
            self._message(message)
        if room not in self.places or (not event["messages"] and not event.get("more")):
            self._stand(room, event["epoch"], event["offset"])
        if event.get("more"):
            self._join(room)

    def _message(self, event: Event) -> None:
        self.seen[event["room"]].append(event["offset"])
        place = self.places.get(event["room"])
        self._stand(event["room"], place["epoch"] if place else "", event["offset"])

    def _gap(self, event: Event) -> None:
        self.missing[event["room"]] |= set(range(event["from"], event["to"] + 1))
        self._stand(event["room"], event["epoch"], event["to"])

    def _left(self, event: Event) -> None:
        if event["room"] not in self._asked:
            self._join(event["room"])

    def _error(self, event: Event) -> None:
        assert event["code"] == "unavailable", event
        self._join(event["id"])

    def _stand(self, room: str, epoch: str, offset: int) -> None:
        self.places[room] = {"epoch": epoch, "offset": offset}


async def do(what: str, values: list[Any], chat: ProgramChat, follower: Follower, clock: Clock) -> None:
    """One step."""
    match what, *values:
        case "publish", room, count:
            for number in range(count):
                chat.put(room, str(number))
        case "break", _:
            follower.peer.lose()
        case "resume", times:
            follower.resume(times)
        case "turn", _:
            await chat.turn()
        case "read", _:
            follower.read()
        case "answer", count:
            chat.log.answer(count)
        case "wait", seconds:
            await chat.later(clock, seconds)


async def run(schedule: list[Any], **limits: Any) -> tuple[Follower, ProgramChat]:
    """Do all that, then let everything settle."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    chat = ProgramChat(clock, **limits)
    follower = Follower(chat)
    follower.join()
    await chat.turn(4)
    follower.read()
    chat.log.is_held = True
    for what, *values in schedule:
        await do(what, values, chat, follower, clock)
    chat.log.is_held = False
    if follower.peer.outbox.is_sealed:
        follower.resume(1)
    for _ in range(20):
        chat.log.answer(1000)
        await chat.turn(3)
        follower.read()
        await chat.later(clock, 1)
    return follower, chat


@given(steps)
@settings(max_examples=150)
async def test_nothing_is_missed_and_nothing_comes_twice(schedule: list[Any]) -> None:
    """Over breaks, half-open connections, double resumes, stalls and a log that answers late."""
    with patch("aiochat.joining.PAGE_ENTRIES", 5):
        follower, chat = await run(schedule, history={"tail_messages": 3})
    for room in ROOMS:
        assert follower.seen[room] == list(range(1, chat.log.newest(room) + 1))
        assert not follower.missing[room]


@given(steps)
@settings(max_examples=150)
async def test_what_cannot_be_given_is_told_as_a_gap(schedule: list[Any]) -> None:
    """With a log that holds ten messages: seen and missing together are all, in order, none twice."""
    limits = {"history": {"max_messages": 10, "tail_messages": 3, "on_join": 4}, "queue": {"max_messages": 5}}
    with patch("aiochat.joining.PAGE_ENTRIES", 5):
        follower, chat = await run(schedule, **limits)
    for room in ROOMS:
        seen = follower.seen[room]
        assert seen == sorted(set(seen))
        assert set(seen).isdisjoint(follower.missing[room])
        assert set(seen) | follower.missing[room] == set(range(1, chat.log.newest(room) + 1))
