"""Names taken in each room: one holder each, and always a free one."""

from hypothesis import given
from hypothesis import strategies as st

from aiochat.directory import LocalDirectory
from aiochat.names import MAX_NAME_CHARACTERS, display_name, fold
from tests.strategies import DISPLAY_NAMES


def claim(directory: LocalDirectory, room: str, name: str, client: str, user: str | None = None) -> str:
    """The name that a client is given."""
    given: list[str] = []
    directory.claim(room, name, client, user, given.append)
    (called,) = given
    return called


def test_a_name_is_held_per_room() -> None:
    """Two rooms may each have an alice."""
    directory = LocalDirectory()
    assert [claim(directory, room, "alice", id) for room, id in (("a", "c1"), ("b", "c2"))] == ["alice", "alice"]
    assert [list(directory.holders(room, "ALICE")) for room in "abc"] == [["c1"], ["c2"], []]


def test_a_taken_name_is_numbered() -> None:
    """With the first number that is free, also in the middle."""
    directory = LocalDirectory()
    given = [claim(directory, "a", name, f"c{number}") for number, name in enumerate(["bob", "BOB", "bob", "bob"])]
    assert given == ["bob", "BOB-2", "bob-3", "bob-4"]
    directory.release("a", "bob-3", "c2")
    assert claim(directory, "a", "bob", "c9") == "bob-3"


def test_who_holds_a_name_may_claim_it_again() -> None:
    """In another case, too, and it stays one name."""
    directory = LocalDirectory()
    assert [claim(directory, "a", name, "c1") for name in ("bob", "Bob")] == ["bob", "Bob"]
    directory.release("a", "BOB", "c1")
    assert not directory.holders("a", "bob")


def test_a_users_clients_share_a_name() -> None:
    """Another user's do not, nor does who has none; it is free once the last of them has given it back."""
    directory = LocalDirectory()
    assert [claim(directory, "a", "bob", id, "b@x") for id in ("c1", "c2")] == ["bob", "bob"]
    assert [claim(directory, "a", "bob", "c3", "other"), claim(directory, "a", "bob", "c4")] == ["bob-2", "bob-3"]
    assert list(directory.holders("a", "bob")) == ["c1", "c2"]
    directory.release("a", "bob", "c1")
    assert claim(directory, "a", "bob", "c5") == "bob-4"
    directory.release("a", "bob", "c2")
    assert claim(directory, "a", "bob", "c6") == "bob"


def test_only_who_holds_a_name_can_give_it_back() -> None:
    """An answer that comes late takes nothing from who has the name by then."""
    directory = LocalDirectory()
    claim(directory, "a", "bob", "c1")
    for room, name in (("a", "bob"), ("a", "eve"), ("b", "bob")):
        directory.release(room, name, "c2")
    assert list(directory.holders("a", "bob")) == ["c1"]


def test_nothing_is_kept_of_a_room_without_names() -> None:
    """Rooms come and go by the million."""
    directory = LocalDirectory()
    for room in map(str, range(100)):
        claim(directory, room, "bob", "c1")
        directory.release(room, "bob", "c1")
    assert not directory._rooms


@given(st.lists(DISPLAY_NAMES | st.just("x" * MAX_NAME_CHARACTERS), max_size=40))
def test_everybody_gets_a_name_of_its_own(wanted: list[str]) -> None:
    """That is allowed, begins as the one that was wanted, and is the only one of its kind in the room."""
    directory = LocalDirectory()
    given = [claim(directory, "a", name, f"c{number}") for number, name in enumerate(wanted)]
    assert len({fold(name) for name in given}) == len(wanted)
    for name, asked in zip(given, wanted, strict=True):
        assert display_name(name) == name
        assert name.rpartition("-")[0] in asked or name == asked


def test_the_thousandth_of_a_name_finds_one() -> None:
    """Without trying nine hundred numbers first."""
    directory = LocalDirectory()
    given = {claim(directory, "a", "alice", f"c{number}") for number in range(1000)}
    assert len(given) == 1000
