"""What the model of the hub keeps: people and rooms, as they should be."""

from dataclasses import dataclass, field
from typing import Final

from aiochat import messages as m

MAX_ROOMS: Final = 2  # of one program
PAGE_ENTRIES: Final = 3
ON_JOIN: Final = 2  # what a program is given that does not say how many; a named text client gets 20
EPOCH: Final = "e0"
TAIL_MESSAGES: Final = 4
Entries = tuple[m.Entry, ...]
Page = tuple[int, Entries]  # the newest offset, and messages


@dataclass
class Person:
    """One client; `told` is all it should have been sent, in order, but for its greeting."""

    id: str
    is_text: bool
    name: str | None
    rooms: list[str] = field(default_factory=list)
    commands: list[m.Command] = field(default_factory=list)
    told: list[m.Event] = field(default_factory=list)
    is_waiting: bool = True  # for the log
    is_applying: bool = False
    is_leaving: bool = False
    is_gone: bool = False

    def tell(self, event: m.Event) -> None:
        if not self.is_gone:
            self.told.append(event)


class Room:
    """Who is in it, who of them is given what is delivered, up to where that has come, and what memory holds of it."""

    def __init__(self) -> None:
        self.members: dict[str, m.Sender] = {}  # in the order of their coming
        self.live: set[str] = set()
        self.delivered: int | None = None  # not known yet
        self.tail: list[Entries] | None = None

    @property
    def stands_at(self) -> int:
        return self.delivered or 0

    def keep(self, entries: Entries) -> None:
        self.tail = [*(self.tail or []), *([entries] if entries else [])]
        while sum(map(len, self.tail)) > max(TAIL_MESSAGES, len(entries)):
            self.tail.pop(0)

    def kept(self, limit: int, before: int | None, after: int | None) -> Page | None:
        """A page from memory, where it is whole."""
        if self.delivered is None or self.tail is None or before is not None:
            return None
        entries = sum(self.tail, ())
        first = entries[0].offset if entries else self.delivered + 1
        is_whole = len(entries) >= limit if after is None else after + 1 >= first
        if not is_whole and first > 1:
            return None
        return self.delivered, page_of(entries, limit, None, after)


def page_of(entries: Entries, limit: int, before: int | None, after: int | None) -> Entries:
    """The newest, or those next to an offset."""
    if after is not None:
        return tuple(entry for entry in entries if entry.offset > after)[:limit]
    older = tuple(entry for entry in entries if before is None or entry.offset < before)
    return older[max(0, len(older) - limit) :]
