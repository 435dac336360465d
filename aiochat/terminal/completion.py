"""What the Tab key makes of the beginning of a slash command, a room's name or somebody's."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from aiochat.errors import Reply
from aiochat.messages import DirectMessage, Joined, Members, Message, Presence, RoomList, Sender
from aiochat.names import fold
from aiochat.sdk import ChatEvent

if TYPE_CHECKING:
    from aiochat.terminal.talk import Talk

COMMANDS: Final = ("help", "nick", "join", "leave", "rooms", "who", "msg", "me", "history", "quit")
_ALONE: Final = {"help", "leave", "rooms", "who", "quit"}  # that take nothing more
_MOST_NAMES: Final = 1000


class TalkCompleter(Completer):
    """Knows who was seen in the room, and which rooms there were when it came in or `/rooms` was asked."""

    def __init__(self, talk: "Talk") -> None:
        self._talk = talk
        self._names: dict[str, None] = {}  # the one seen last is the last
        self._rooms: tuple[str, ...] = ()
        self._looking: asyncio.Task[None] | None = None

    def heard(self, event: ChatEvent) -> None:
        """Learn who is there, and which rooms there are."""
        if isinstance(event, Joined):
            self._names.clear()
            self._look_around(event.room)
        elif isinstance(event, Message | DirectMessage) and event.sender is not None:
            self._saw(event.sender)
        elif isinstance(event, Members):
            for sender in event.members:
                self._saw(sender)
        elif isinstance(event, RoomList):
            self._rooms = tuple(info.room for info in event.rooms)
        elif isinstance(event, Presence):
            self._moved(event)

    def _moved(self, presence: Presence) -> None:
        for sender in presence.went:
            self._names.pop(sender.name or "", None)
        for renaming in presence.renamed:
            self._names.pop(renaming.was, None)
            self._saw(Sender(renaming.client, renaming.name))
        for sender in presence.came:
            self._saw(sender)

    def _look_around(self, room: str) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.create_task(self._ask(room))

    async def _ask(self, room: str) -> None:
        chat = self._talk.chat
        with suppress(ConnectionError):
            with suppress(Reply):
                self.heard(await chat.who(room))
            with suppress(Reply):
                self.heard(await chat.list_rooms())

    def _saw(self, sender: Sender) -> None:
        if sender.name is None or sender.client == self._talk.chat.client:
            return
        self._names.pop(sender.name, None)
        self._names[sender.name] = None
        if len(self._names) > _MOST_NAMES:
            del self._names[next(iter(self._names))]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        typed = document.text_before_cursor
        word, space, rest = typed.partition(" ")
        if not typed.startswith("/"):
            return iter(())
        if not space:
            commands = (f"/{command}{'' if command in _ALONE else ' '}" for command in COMMANDS)
            return _beginning(typed, commands)
        if word == "/join":
            return _beginning(rest, self._rooms)
        if word == "/msg":
            return _beginning(rest, (f'"{name}" ' if " " in name else f"{name} " for name in self._names))
        return iter(())


def _beginning(typed: str, wholes: Iterable[str]) -> Iterator[Completion]:
    wanted = fold(typed)
    for whole in wholes:
        if fold(whole).startswith(wanted) or fold(whole.lstrip('"')).startswith(wanted):
            yield Completion(whole, start_position=-len(typed))
