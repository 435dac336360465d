"""Who came, went, was renamed or types: what a room is told, and when. The board alone, then a hub, then a server."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest

from aiochat import presence
from aiochat.config import load
from aiochat.messages import Event, Presence, Renaming, Sender, TypingNow
from aiochat.presence import PresenceBoard
from aiochat.room import Room

ALICE, BOB, CAROL = Sender("c1", "alice"), Sender("c2", "bob"), Sender("c3", "carol")
GUEST = Sender("c9")


class Board:
    """A board, its rooms and its clock; what it asked for and whom it missed."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.rooms: dict[str, Room] = {}
        self.scheduled: list[float] = []
        self.gone: list[tuple[str, Sender]] = []
        config = load(flags={"presence": settings}).presence
        self.board = PresenceBoard(
            config,
            self.rooms,
            lambda: self.now,
            self.scheduled.append,
            lambda room, sender: self.gone.append((room, sender)),
        )
        self._clients: dict[tuple[str, str | None], Any] = {}

    def room(self, name: str = "a") -> Room:
        return self.rooms.setdefault(name, Room(name))

    def come(self, *senders: Sender, room: str = "a") -> None:
        for sender in senders:
            client = self._clients[room, sender.client] = Mock()
            self.room(room).members[client] = sender
            self.board.came(self.room(room), sender)

    def go(self, *senders: Sender, room: str = "a", is_lost: bool = False) -> None:
        for sender in senders:
            del self.room(room).members[self._clients.pop((room, sender.client))]
            (self.board.lost if is_lost else self.board.went)(self.room(room), sender)

    def lose(self, *senders: Sender, room: str = "a") -> None:
        self.go(*senders, room=room, is_lost=True)

    def rename(self, was: Sender, name: str) -> Sender:
        now = Sender(was.client, name, was.user)
        self.room().members[self._clients["a", was.client]] = now
        self.board.renamed(self.room(), was, now)
        return now

    def told(self, seconds: float = 0.5) -> list[Event]:
        """What room a is told so much later, if anything is due by then."""
        self.now += seconds
        self.board.check_absent()
        if not self.scheduled:
            return []
        self.scheduled.clear()
        told = [events for room, events in self.board.due() if room.name == "a"]
        return [event for events in told for event in events]

    def settled(self, *senders: Sender) -> "Board":
        """With these there, and told."""
        self.come(*senders)
        self.told()
        return self


@pytest.fixture
def board() -> Board:
    """With the settings of default.toml, and nobody there."""
    return Board()


def here(members: int, **changes: Sequence[Any]) -> list[Event]:
    """One event of this."""
    return [Presence(room="a", members=members, **{name: tuple(value) for name, value in changes.items()})]


def test_who_came_and_went_is_told_once_an_interval(board: Board) -> None:
    """All that happened in it in one event, asked for once; nothing happens without news."""
    board.settled(ALICE, BOB)
    board.come(CAROL)
    board.go(BOB)
    assert board.scheduled == [0.5]
    assert board.told() == here(2, came=[CAROL], went=[BOB])
    assert (board.told(), board.scheduled) == ([], [])


def test_who_came_and_went_within_an_interval_was_never_there(board: Board) -> None:
    """Only that something moved is told; and the other way round."""
    board.settled(ALICE, BOB)
    board.come(CAROL)
    board.go(CAROL)
    board.go(BOB)
    board.come(BOB)
    assert board.told() == here(2)


def test_the_unnamed_are_counted(board: Board) -> None:
    """They are not listed."""
    board.settled(ALICE)
    board.come(GUEST)
    assert board.told() == here(2)
    board.lose(GUEST)
    assert board.told() == here(1)


def test_a_return_within_the_grace_is_no_event(board: Board) -> None:
    """Whether under the same id or, as a text client does, under another."""
    board.settled(ALICE, BOB)
    for returning in (ALICE, Sender("c7", "Alice")):
        board.lose(ALICE)
        assert board.told(9) == []
        board.come(returning)
        assert board.told(60) == []
        board.go(returning)
        board.told()
        board.come(ALICE)
        board.told()
    assert [sender for _, sender in board.gone] == [ALICE]


def test_who_is_not_back_within_the_grace_has_gone(board: Board) -> None:
    """The room is told and the name is free, both then and not before."""
    board.settled(ALICE, BOB)
    board.lose(ALICE)
    assert (board.told(9.9), board.gone) == ([], [])
    assert board.told(0.2) == here(1, went=[ALICE])
    assert board.gone == [("a", ALICE)]
    board.come(ALICE)
    assert board.told() == here(2, came=[ALICE])


def test_who_goes_for_good_has_gone_at_once(board: Board) -> None:
    """There is no grace for who said goodbye."""
    board.settled(ALICE, BOB)
    board.go(ALICE)
    assert board.told() == here(1, went=[ALICE])


def test_without_a_grace_who_is_lost_has_gone() -> None:
    """`presence.grace_seconds` of 0."""
    board = Board(grace_seconds=0).settled(ALICE, BOB)
    board.lose(ALICE)
    assert (board.told(), board.gone) == (here(1, went=[ALICE]), [("a", ALICE)])


def test_the_grace_is_of_one_room(board: Board) -> None:
    """Who comes back elsewhere is missed where it was."""
    board.settled(ALICE, BOB)
    board.lose(ALICE)
    board.come(ALICE, room="b")
    board.told(9)
    assert board.told(2) == here(1, went=[ALICE])


def test_a_name_is_told_with_what_it_was(board: Board) -> None:
    """Of two renamings in an interval the first `was` and the last name; back to the old one is nothing."""
    board.settled(ALICE, BOB)
    board.rename(ALICE, "al")
    assert board.told() == here(2, renamed=[Renaming("c1", "alice", "al")])
    board.rename(board.rename(Sender("c1", "al"), "ally"), "allison")
    assert board.told() == here(2, renamed=[Renaming("c1", "al", "allison")])
    board.rename(board.rename(Sender("c1", "allison"), "x"), "allison")
    assert board.told() == here(2)


def test_who_came_and_was_renamed_came_under_the_new_name(board: Board) -> None:
    """So did an unnamed one that took a name."""
    board.settled(ALICE, GUEST)
    board.come(BOB)
    bob = board.rename(BOB, "bobby")
    guest = board.rename(GUEST, "ghost")
    assert board.told() == here(3, came=[bob, guest])


def test_who_was_renamed_and_went_has_gone_under_the_name_known(board: Board) -> None:
    """The others never heard of the new one."""
    board.settled(ALICE, BOB)
    board.go(board.rename(ALICE, "al"))
    assert board.told() == here(1, went=[ALICE])


def test_a_user_is_listed_once(board: Board) -> None:
    """However many clients it has: it comes with the first and goes with the last."""
    phone, laptop = Sender("c5", "dora", "u1"), Sender("c6", "dora", "u1")
    board.settled(ALICE)
    board.come(phone)
    board.come(laptop)
    assert board.told() == here(3, came=[phone])
    board.go(phone)
    assert board.told() == here(2)
    board.lose(laptop)
    board.told(9.9)
    assert board.told(0.5) == here(1, went=[laptop])


def test_a_large_room_is_only_counted_every_two_seconds() -> None:
    """Nobody is listed, and what does not change is not told."""
    board = Board(list_up_to=3).settled(ALICE, BOB, CAROL)
    board.come(GUEST)
    assert board.told() == here(4)
    board.go(CAROL)
    board.come(CAROL)
    assert [board.told() for _ in range(4)] == [[], [], [], here(4)]
    assert [board.told() for _ in range(5)] == [[]] * 5


def test_a_room_that_has_become_small_is_told_in_full_again() -> None:
    """What happened while it was large is known by its number alone."""
    board = Board(list_up_to=3).settled(ALICE, BOB, CAROL, GUEST, Sender("c4", "dave"))
    board.told(2)
    board.go(CAROL)
    board.go(GUEST)
    assert board.told() == here(3)
    board.go(BOB)
    assert board.told() == here(2, went=[BOB])


def test_a_large_room_keeps_the_names_of_the_lost() -> None:
    """For the grace, as a small one does."""
    board = Board(list_up_to=1).settled(ALICE, BOB, CAROL)
    board.lose(BOB)
    board.told(9.9)
    assert board.gone == []
    board.told(0.2)
    assert board.gone == [("a", BOB)]


def test_with_an_interval_of_0_nothing_is_told() -> None:
    """Names are kept and freed all the same."""
    board = Board(interval_ms=0)
    board.come(ALICE, BOB)
    board.board.typing(board.room(), ALICE)
    board.lose(BOB)
    assert (board.told(11), board.gone) == ([], [("a", BOB)])


def test_who_types_is_told_once(board: Board) -> None:
    """However often it said so; 20 at most, and not in a large room."""
    board.settled(ALICE)
    typists = [Sender(f"t{number}", f"n{number}") for number in range(25)]
    for sender in (*typists, *typists):
        board.board.typing(board.room(), sender)
    assert board.told() == [TypingNow(room="a", senders=tuple(typists[:20]))]
    assert board.told() == []


def test_in_a_large_room_typing_is_not_told() -> None:
    """Nor does it cause an event of any kind."""
    board = Board(list_up_to=1).settled(ALICE, BOB)
    board.told(3)
    board.board.typing(board.room(), ALICE)
    assert (board.told(3), board.scheduled) == ([], [])


def test_the_lost_are_bounded(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the longest absent is missed at once."""
    monkeypatch.setattr(presence, "MAX_ABSENT", 2)
    board.settled(ALICE, BOB, CAROL)
    board.lose(ALICE, BOB, CAROL)
    assert board.gone == [("a", ALICE)]
    assert board.told() == here(0, went=[ALICE])


def test_a_room_that_is_no_more_is_forgotten(board: Board) -> None:
    """Whoever was lost in it is missed without a word to anybody."""
    board.come(ALICE)
    board.lose(ALICE)
    board.board.forget(board.rooms.pop("a"))
    assert (board.told(11), board.gone) == ([], [("a", ALICE)])
