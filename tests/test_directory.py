"""Names taken in each room: one holder each, and always a free one."""

from hypothesis import given
from hypothesis import strategies as st

from aiochat.directory import LocalDirectory
from aiochat.names import MAX_NAME_CHARACTERS, display_name, fold
from tests.strategies import DISPLAY_NAMES


def test_a_name_is_held_per_room() -> None:
    """Two rooms may each have an alice."""
    directory = LocalDirectory()
    assert [directory.claim(room, "alice", client) for room, client in (("a", "c1"), ("b", "c2"))] == ["alice", "alice"]
    assert [directory.holder(room, "ALICE") for room in "abc"] == ["c1", "c2", None]


def test_a_taken_name_is_numbered() -> None:
    """With the first number that is free, also in the middle."""
    directory = LocalDirectory()
    given = [directory.claim("a", name, f"c{number}") for number, name in enumerate(["bob", "BOB", "bob", "bob"])]
    assert given == ["bob", "BOB-2", "bob-3", "bob-4"]
    directory.release("a", "bob-3")
    assert directory.claim("a", "bob", "c9") == "bob-3"


def test_who_holds_a_name_may_claim_it_again() -> None:
    """In another case, too, and it stays one name."""
    directory = LocalDirectory()
    assert [directory.claim("a", name, "c1") for name in ("bob", "Bob")] == ["bob", "Bob"]
    directory.release("a", "BOB")
    assert directory.holder("a", "bob") is None


def test_nothing_is_kept_of_a_room_without_names() -> None:
    """Rooms come and go by the million."""
    directory = LocalDirectory()
    for room in map(str, range(100)):
        directory.claim(room, "bob", "c1")
        directory.release(room, "bob")
    assert not directory._holders


@given(st.lists(DISPLAY_NAMES | st.just("x" * MAX_NAME_CHARACTERS), max_size=40))
def test_everybody_gets_a_name_of_its_own(wanted: list[str]) -> None:
    """That is allowed, begins as the one that was wanted, and is the only one of its kind in the room."""
    directory = LocalDirectory()
    given = [directory.claim("a", name, f"c{number}") for number, name in enumerate(wanted)]
    assert len({fold(name) for name in given}) == len(wanted)
    for name, asked in zip(given, wanted, strict=True):
        assert display_name(name) == name
        assert name.rpartition("-")[0] in asked or name == asked


def test_the_thousandth_of_a_name_finds_one() -> None:
    """Without trying nine hundred numbers first."""
    directory = LocalDirectory()
    given = {directory.claim("a", "alice", f"c{number}") for number in range(1000)}
    assert len(given) == 1000
