"""How full each room is, over all nodes: one table of all rooms by their number of members, in a slot of its own.

A room's number is read, noted and read again: whoever changes it notes it afterwards, but what another node has read
before may be noted later still. So what is noted last is what there is.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from aiochat.cluster.steps import LIFE_MS, Command, Steps
from aiochat.errors import StoreError
from aiochat.roomlog.contract import Link

_AT_ONCE: Final = 500  # rooms whose number is read in one check


class Fullest:
    """`noted` is told of each room whose number stands in the table. Answers come through `put_item`."""

    def __init__(
        self,
        link: Link,
        steps: Steps,
        put_item: Callable[[Callable[[], object]], None],
        noted: Callable[[str], object],
    ) -> None:
        self._link = link
        self._steps = steps
        self._put_item = put_item
        self._noted = noted
        self._due: dict[str, int | None] = {}  # rooms, and what was noted of each, if anything was since its change

    def changed(self, room: str) -> None:
        """Somebody came or went."""
        self._due[room] = None

    def check(self) -> None:
        """About once a second."""
        rooms = {room: self._due.pop(room) for room in list(self._due)[:_AT_ONCE]}
        if rooms:
            commands = [("HLEN", self._steps.members_of(room)) for room in rooms]
            self._link.ask([*commands], lambda replies: self._put_item(partial(self._counted, rooms, replies)))

    def top(self, limit: int, then: Callable[[int, list[tuple[str, int]] | StoreError], object]) -> None:
        """How many rooms there are, and the fullest of them with their numbers."""

        def found(replies: list[Any] | StoreError) -> None:
            if isinstance(replies, StoreError):
                then(0, replies)
                return
            count, flat = replies
            then(count, [(flat[place].decode(), int(flat[place + 1])) for place in range(0, len(flat), 2)])

        asked = [("ZCARD", self._key), ("ZRANGE", self._key, 0, limit - 1, "REV", "WITHSCORES")]
        self._link.ask([*asked], lambda replies: self._put_item(partial(found, replies)))

    @property
    def _key(self) -> str:
        return f"{self._link.prefix}:fullest"

    def _counted(self, rooms: Mapping[str, int | None], counts: list[Any] | StoreError) -> None:
        if isinstance(counts, StoreError):
            self._note_later(dict.fromkeys(rooms))
            return
        moved: dict[str, int] = {}
        for (room, before), count in zip(rooms.items(), counts, strict=True):
            if before == count:
                self._noted(room)
            else:
                moved[room] = count
        if moved:
            then = partial(self._is_noted, moved)
            self._link.ask(self._notes(moved), lambda replies: self._put_item(partial(then, replies)))

    def _notes(self, moved: Mapping[str, int]) -> list[Command]:
        full = [part for room, count in moved.items() if count for part in (count, room)]
        empty = [room for room, count in moved.items() if not count]
        commands: list[Command] = [("ZADD", self._key, *full)] if full else []
        if empty:
            commands.append(("ZREM", self._key, *empty))
        return [*commands, ("PEXPIRE", self._key, LIFE_MS)]

    def _is_noted(self, moved: Mapping[str, int], replies: list[Any] | StoreError) -> None:
        self._note_later(dict.fromkeys(moved) if isinstance(replies, StoreError) else moved)

    def _note_later(self, rooms: Mapping[str, int | None]) -> None:
        """Again in the next check; a room that has changed meanwhile is as it is."""
        for room, noted in rooms.items():
            self._due.setdefault(room, noted)
