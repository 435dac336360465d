"""Who came, went, was renamed or types in each room: collected, and told at most once per room and interval.

Who is lost is missed only after the grace, and keeps its name until then, so that a return within it is no event. In a
room of more than `presence.list_up_to` members they are only counted, every 2 s.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from aiochat.config import Presence as Settings
from aiochat.messages import Event, Presence, Renaming, Sender, TypingNow
from aiochat.names import fold
from aiochat.room import Room

_COUNT_SECONDS: Final = 2.0
_MAX_TYPING: Final = 20
MAX_ABSENT: Final = 100_000  # beyond it the longest absent are missed at once


class _Changes:
    """What there is to tell of one room, by person."""

    __slots__ = ("came", "has_moved", "renamed", "typing", "went")

    def __init__(self) -> None:
        self.has_moved = False
        self.came: dict[str, Sender] = {}
        self.went: dict[str, Sender] = {}
        self.renamed: dict[str, Renaming] = {}
        self.typing: dict[str | None, Sender] = {}

    def come(self, person: str, sender: Sender) -> None:
        if self.went.pop(person, None) is None:
            self.came[person] = sender

    def go(self, person: str, sender: Sender) -> None:
        if self.came.pop(person, None) is not None:
            return
        renaming = self.renamed.pop(person, None)
        known = sender if renaming is None else Sender(sender.client, renaming.was, sender.user)
        self.went[_person(known)] = known

    def events(self, room: Room, members: int) -> Iterator[Event]:
        """One for the moves, one for the typing, where there are any."""
        if self.has_moved:
            yield Presence(
                room=room.name,
                members=members,
                came=tuple(self.came.values()),
                went=tuple(self.went.values()),
                renamed=tuple(self.renamed.values()),
            )
        if self.typing:
            yield TypingNow(room=room.name, senders=tuple(self.typing.values()))


class PresenceBoard:
    """`schedule` is asked for a call of `due` after so many seconds; `gone` is told whose name is free again."""

    def __init__(
        self,
        settings: Settings,
        rooms: Mapping[str, Room],
        time: Callable[[], float],
        schedule: Callable[[float], object],
        gone: Callable[[str, Sender], object],
        count: Callable[[Room], int] = lambda room: len(room.members),
    ) -> None:
        self._settings = settings
        self._rooms = rooms
        self._time = time
        self._schedule = schedule
        self._gone = gone
        self._count = count
        self._changes: dict[Room, _Changes] = {}
        self._counted: dict[Room, float] = {}  # when large rooms were last told their number
        # Until when who is lost is not missed, by room and person; the longest absent first.
        self._absent: dict[tuple[str, str], tuple[float, Sender]] = {}
        self._is_scheduled = False

    def came(self, room: Room, sender: Sender) -> None:
        """A member came; it is one already."""
        person = _person(sender)
        _, absent = self._absent.pop((room.name, person), (0.0, None)) if person else (0.0, None)
        if absent is not None:
            if absent.client != sender.client or not _is_called_alike(absent, sender):
                self._gone(room.name, absent)
            return
        changes = self._changes_of(room)
        if changes is None or not person or _is_there(room, sender):
            return
        changes.come(person, sender)

    def went(self, room: Room, sender: Sender) -> None:
        """A member left, and is not expected back."""
        changes = self._changes_of(room)
        person = _person(sender)
        if changes is None or not person or _is_there(room, sender):
            return
        changes.go(person, sender)

    def lost(self, room: Room, sender: Sender) -> None:
        """A member's connection was lost: it has the grace to come back."""
        person = _person(sender)
        if not person or not self._settings.grace_seconds:
            self.went(room, sender)
            self._gone(room.name, sender)
            return
        if len(self._absent) >= MAX_ABSENT:
            self._miss(next(iter(self._absent)))
        _, other = self._absent.pop((room.name, person), (0.0, sender))
        if other.client != sender.client:
            self._gone(room.name, other)
        self._absent[room.name, person] = (self._time() + self._settings.grace_seconds, sender)

    def renamed(self, room: Room, was: Sender, now: Sender) -> None:
        """A member is called otherwise."""
        changes = self._changes_of(room)
        before, person = _person(was), _person(now)
        if changes is None or not person or now.name is None or was.name == now.name:
            return
        if was.name is None or changes.came.pop(before, None) is not None:
            changes.came[person] = now
        else:
            earlier = changes.renamed.pop(before, None)
            first = was.name if earlier is None else earlier.was
            if first != now.name:
                changes.renamed[person] = Renaming(now.client, first, now.name, now.user)

    def typing(self, room: Room, sender: Sender) -> None:
        """A member types."""
        changes = self._changes_of(room, has_moved=False)
        if changes is not None and len(changes.typing) < _MAX_TYPING:
            changes.typing[sender.client] = sender

    def told(self, room: Room, kind: str, sender: Sender, was: str | None) -> None:
        """What is so for all nodes: `sender` came, went, types or is renamed; or only the number of members moved."""
        if kind == "typing":
            self.typing(room, sender)
        elif kind == "renamed":
            self.renamed(room, Sender(sender.client, was, sender.user), sender)
        else:
            changes = self._changes_of(room)
            if changes is not None and kind == "came":
                changes.come(_person(sender), sender)
            elif changes is not None and kind == "went":
                changes.go(_person(sender), sender)

    def check_absent(self) -> None:
        """Miss those whose grace is over; called about once a second."""
        now = self._time()
        while self._absent:
            place, (deadline, _) = next(iter(self._absent.items()))
            if deadline > now:
                break
            self._miss(place)

    def due(self) -> Iterator[tuple[Room, list[Event]]]:
        """What there is to tell now, room by room."""
        self._is_scheduled = False
        now = self._time()
        changed, self._changes = self._changes, {}
        for room, changes in changed.items():
            members = self._count(room)
            if members <= self._settings.list_up_to:
                self._counted.pop(room, None)
                yield room, list(changes.events(room, members))
            elif now - self._counted.get(room, -_COUNT_SECONDS) >= _COUNT_SECONDS:
                self._counted[room] = now
                yield room, [Presence(room=room.name, members=members)]
            else:
                self._changes_of(room)

    def forget(self, room: Room) -> None:
        """The room is no more."""
        self._changes.pop(room, None)
        self._counted.pop(room, None)

    def _miss(self, place: tuple[str, str]) -> None:
        _, sender = self._absent.pop(place)
        room = self._rooms.get(place[0])
        if room is not None:
            self.went(room, sender)
        self._gone(place[0], sender)

    def _changes_of(self, room: Room, *, has_moved: bool = True) -> _Changes | None:
        """Where to note a change; None where only the members are counted, or nothing is told at all."""
        is_large = self._count(room) > self._settings.list_up_to
        if not (self._settings.interval_ms and room.rule.presence) or (is_large and not has_moved):
            return None
        changes = self._changes.get(room)
        if changes is None:
            changes = self._changes[room] = _Changes()
            if not self._is_scheduled:
                self._is_scheduled = True
                self._schedule(self._settings.interval_ms / 1000)
        changes.has_moved = changes.has_moved or has_moved
        return None if is_large else changes


def _person(sender: Sender) -> str:
    """Who it is, however it is connected; empty for the unnamed, who are only counted."""
    if sender.user is not None:
        return f"user {sender.user}"
    return f"name {fold(sender.name)}" if sender.name is not None else ""


def _is_called_alike(one: Sender, other: Sender) -> bool:
    return one.name is not None and other.name is not None and fold(one.name) == fold(other.name)


def _is_there(room: Room, sender: Sender) -> bool:
    """Whether the same user is in the room with another client."""
    user = sender.user
    return user is not None and any(
        other.user == user and other.client != sender.client for other in room.members.values()
    )
