"""What is asked of Redis about one room: the steps of members.lua, in the room's slot."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from aiochat.config import Presence
from aiochat.errors import StoreError
from aiochat.messages import Sender
from aiochat.names import MAX_NAME_CHARACTERS, fold
from aiochat.roomlog.contract import Link

LIFE_MS: Final = 24 * 3_600_000  # of what is there; who is in a room keeps it alive
_KINDS: Final = ("who", "away", "names", "persons", "counted")
_SUFFIXES: Final = (2, 3, 7)  # characters: -2, -10, -100000

Command = tuple[str | bytes | int, ...]
Then = Callable[[Any], object]  # is told what a step answers, or a `StoreError`

unpack: Final = msgspec.msgpack.Decoder().decode


class Steps:
    """Answers come through `put_item`; `see` is told first how many members a room has, and as of when."""

    def __init__(
        self,
        link: Link,
        settings: Presence,
        put_item: Callable[[Callable[[], object]], None],
        see: Callable[[str, int, int], object],
    ) -> None:
        self._link = link
        self._list_up_to = settings.list_up_to
        self._put_item = put_item
        self._see = see
        self._script = link.load(script("members"))

    def members_of(self, room: str) -> str:
        """The key of a room's members."""
        return f"{self._name(room)}:who"

    def rooms_of(self, node: str) -> str:
        """The key of the rooms in which a node has members."""
        return f"{self._link.prefix}:node:{node}:rooms"

    def channel(self, room: str) -> str:
        """On which is told what happens in a room."""
        return self._link.channel(f"{self._name(room)}:who")

    def ask(self, room: str, step: str, arguments: Sequence[str | int], then: Then) -> None:
        """Take a step, with what members.lua says it takes."""
        name = self._name(room)
        keys = tuple(f"{name}:{kind}" for kind in _KINDS)
        call: Command = ("EVALSHA", self._script, len(keys), *keys, step, self.channel(room), LIFE_MS)
        command = (*call, self._list_up_to, *arguments)
        self._link.ask([command], lambda replies: self._put_item(partial(self._answered, room, then, replies)))

    def _answered(self, room: str, then: Then, replies: list[Any] | StoreError) -> None:
        if isinstance(replies, StoreError):
            then(replies)
            return
        self._see(room, replies[0][0], int(replies[0][1]))
        then(replies[0])

    def _name(self, room: str) -> str:
        return f"{self._link.prefix}:{{{room}}}"

    # What is asked about any room.

    def listed(self, room: str, limit: int, then: Callable[[tuple[int, list[Sender]] | StoreError], object]) -> None:
        """How many are there, and at most so many of them."""

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
                return
            (flat,) = result[2:]
            then((result[0], [_sender(flat[place].decode(), flat[place + 1]) for place in range(0, len(flat), 2)]))

        self.ask(room, "list", (limit,), answered)

    def find(self, room: str, name: str | None, client: str, then: Callable[[Any], object]) -> None:
        """Clients and nodes of those who are called so in the room, or of this client if it is there."""
        folded = "" if name is None else fold(name)

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
                return
            found = [each.decode() for each in result[2]]
            then(list(zip(found[::2], found[1::2], strict=True)))

        self.ask(room, "find", (folded, client), answered)

    def counted(self, room: str, then: Callable[[int | StoreError], object]) -> None:
        self.ask(room, "count", (), lambda result: then(result if isinstance(result, StoreError) else result[0]))


def script(name: str) -> str:
    """The text of one of ours."""
    return Path(__file__).with_name(f"{name}.lua").read_text(encoding="ascii")


def wanted(name: str | None) -> tuple[str | int, ...]:
    """As members.lua takes it: also cut, so that there is room for a number."""
    if name is None:
        return ("",) * 8 + (0,)
    forms = (name, *(name[: MAX_NAME_CHARACTERS - length] for length in _SUFFIXES))
    return (*(each for form in forms for each in (form, fold(form))), random.getrandbits(31))


def _sender(client: str, packed: bytes) -> Sender:
    _, _, name, _, user, *_ = unpack(packed)
    return Sender(client, name or None, user or None)
