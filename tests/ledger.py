"""What was said, acknowledged and heard, held against the log: all that a chat promises of them, checked as a whole.

Nothing here does any I/O: tests/crowd.py feeds it from its sockets, and a test with clients of its own does it so.

    ledger = Ledger()
    holding = ledger.holding("alice", "lobby")            # of one subscriber in one room
    ledger.says("lobby", "m-1 and more")                  # each text begins with a word of its own
    ledger.acked("m-1 and more", (await alice.ask("publish", room="lobby", text="m-1 and more"))["offset"])
    for event in alice.heard:                             # in order; those of other rooms and kinds are passed over
        holding.hear(event)
    assert not ledger.problems("lobby", epoch, messages)  # as some node tells the whole log

After a fault that may take acknowledged messages (a flush, a lost disk, a fail-over) call `loses` at its end: what was
sent before need not be in the log then. What was heard must agree all the same, and whoever holds something of a log
that is no more must have been told of a new epoch.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_MOST: Final = 20  # problems of one kind that are worth reading


class _Said:
    __slots__ = ("at", "offset", "room")

    def __init__(self, room: str, at: float) -> None:
        self.room = room
        self.at = at  # when it was sent last
        self.offset: int | None = None  # by the ack


class Ledger:
    """`gaps` are those that subscribers were told of, as `noted` is what they saw that must not be, until `take`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.gaps: list[str] = []
        self.noted: list[str] = []
        self._now = now
        self._said: dict[str, _Said] = {}
        self._heard: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        self._holdings: dict[Holding, None] = {}
        self._lost_at = 0.0
        self._lost: set[tuple[str, str]] = set()  # rooms and epochs of which nothing is left

    def says(self, room: str, text: str) -> None:
        """It is sent now, for the first time or again."""
        said = self._said.setdefault(_mark(text), _Said(room, 0.0))
        said.at = self._now()

    def acked(self, text: str, offset: int) -> None:
        """Its publisher was told that it is in the log."""
        self._said[_mark(text)].offset = offset

    def loses(self, *, is_all: bool = False) -> None:
        """What was sent until now may be in no log; if that is all of it, no epoch is what it was."""
        self._lost_at = self._now()
        if is_all:
            self._lost |= {(holding.room, holding.epoch) for holding in self._holdings}

    def note(self, problem: str) -> None:
        """Somebody has seen what must not be."""
        self.noted.append(problem)

    def take(self) -> tuple[list[str], list[str]]:
        """The gaps, and what was noted, since the last time."""
        taken = self.gaps, self.noted
        self.gaps, self.noted = [], []
        return taken

    def holding(self, who: str, room: str) -> "Holding":
        """What one more subscriber will hold of a room."""
        holding = Holding(self, who, room)
        self._holdings[holding] = None
        return holding

    def forget(self, holding: "Holding") -> None:
        """The subscriber is gone for good."""
        self._holdings.pop(holding, None)

    def heard_in(self, room: str, epoch: str) -> dict[int, str]:
        """What anybody has heard of a room under an epoch, by offset."""
        return self._heard[room, epoch]

    @property
    def acks(self) -> int:
        return sum(said.offset is not None for said in self._said.values())

    def behind(self, room: str, epoch: str, newest: int) -> list[str]:
        """Who does not hold the room's log to its end, or still one that is lost."""
        return [
            f"{holding.who} is at {holding.offset} of {room} under {holding.epoch}, the log at {newest} under {epoch}"
            for holding in self._holdings
            if holding.room == room
            and ((holding.epoch, holding.offset) != (epoch, newest) or (room, epoch) in self._lost)
        ]

    def problems(self, room: str, epoch: str, messages: Sequence[Mapping[str, Any]]) -> list[str]:
        """All that is wrong with the whole log of a room, and with what subscribers hold of it."""
        log = {message["offset"]: _mark(message["text"]) for message in messages}
        offsets = [message["offset"] for message in messages]
        newest = offsets[-1] if offsets else 0
        found = []
        if offsets != list(range(1, newest + 1)):
            found.append(f"the log of {room} is not all the offsets from 1 to {newest}")
        places: defaultdict[str, list[int]] = defaultdict(list)
        for offset, mark in log.items():
            places[mark].append(offset)
        found += [f"{mark} is in {room} at {at}" for mark, at in places.items() if len(at) > 1][:_MOST]
        found += [f"nobody has said {mark} in {room}" for mark in places if self._room_of(mark) != room][:_MOST]
        found += self._missing(room, places)[:_MOST]
        heard = self._heard[room, epoch]
        others = [offset for offset, mark in heard.items() if log.get(offset) != mark]
        found += [f"{heard[at]} was heard at {at} of {room}, where {log.get(at)} is" for at in others][:_MOST]
        return found + self.behind(room, epoch, newest)[:_MOST]

    def _room_of(self, mark: str) -> str | None:
        said = self._said.get(mark)
        return None if said is None else said.room

    def _missing(self, room: str, places: Mapping[str, Sequence[int]]) -> list[str]:
        return [
            f"{mark} was acknowledged at {said.offset} of {room}, and is at {list(places.get(mark, ()))}"
            for mark, said in self._said.items()
            if said.room == room
            and said.offset is not None
            and said.at > self._lost_at
            and said.offset not in places.get(mark, ())
        ]


class Holding:
    """What one subscriber holds of one room: everything up to `offset` under `epoch`, from where it came in."""

    __slots__ = ("_heard", "_is_anew", "_ledger", "epoch", "offset", "room", "who")

    def __init__(self, ledger: Ledger, who: str, room: str) -> None:
        self._ledger = ledger
        self._heard: dict[int, str] = {}
        self._is_anew = False  # of this epoch nothing has come yet: the newest history may come first
        self.who = who
        self.room = room
        self.epoch = ""
        self.offset = 0

    @property
    def position(self) -> dict[str, Any] | None:
        """To come back with."""
        return {"epoch": self.epoch, "offset": self.offset} if self.epoch else None

    def hear(self, event: Mapping[str, Any]) -> None:
        """An event as it is on the wire."""
        kind = event["type"]
        if event.get("room") != self.room:
            return
        if kind == "message":
            self._message(event["offset"], event["text"])
        elif kind == "joined":
            self._joined(event)
        elif kind == "gap":
            self._gap(event)

    def _message(self, offset: int, text: str) -> None:
        mark = _mark(text)
        if offset != self.offset + 1 and not (self._is_anew and offset <= self.offset):
            self._ledger.note(f"{self.who} got {offset} after {self.offset} of {self.room} under {self.epoch}")
        self._is_anew = False
        self.offset = offset
        known = self._heard.setdefault(offset, mark)
        if known != mark:
            self._ledger.note(f"{self.who} got {mark} at {offset} of {self.room}, others got {known}")

    def _joined(self, event: Mapping[str, Any]) -> None:
        messages, epoch = event.get("messages", ()), event["epoch"]
        if not self.epoch:
            self._begin(epoch, event["offset"])
        elif epoch != self.epoch:
            self._ledger.note(f"{self.who} is under {epoch} in {self.room} after {self.epoch}, and was told of no gap")
            self._begin(epoch, event["offset"])
        for message in messages:
            self._message(message["offset"], message["text"])
        if not event.get("more") and self.offset != event["offset"]:
            self._ledger.note(f"{self.who} has {self.room} up to {self.offset}, and was told {event['offset']}")

    def _gap(self, event: Mapping[str, Any]) -> None:
        self._ledger.gaps.append(f"{self.who} {event}")
        if "to" not in event:
            self._begin(event["epoch"], event["offset"])
            return
        if (event["epoch"], event["from"]) != (self.epoch, self.offset + 1):
            self._ledger.note(f"{self.who} is at {self.offset} of {self.room} under {self.epoch}, and was told {event}")
        self.offset = event["to"]

    def _begin(self, epoch: str, offset: int) -> None:
        self.epoch, self.offset, self._is_anew = epoch, offset, True
        self._heard = self._ledger.heard_in(self.room, epoch)


def _mark(text: str) -> str:
    return text.partition(" ")[0]
