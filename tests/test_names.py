"""What a room and a client may be called, and when two names are the same."""

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from unittest.mock import Mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aiochat.errors import Reply
from aiochat.names import display_name, fold, room_name

ROOMS = st.text(st.characters(categories=["L", "M", "N"], include_characters="_.:-"), min_size=1, max_size=40)
NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=40)
MARKS_OUT_OF_ORDER = "a" + "\u0301\u0323" * 16_000  # acute above, dot below


def accepted(name: Callable[[str], str], raw: str) -> str:
    """What becomes of a raw name that is allowed; others are not looked at."""
    try:
        return name(raw)
    except Reply:
        assume(False)
        raise


def refusal(name: Callable[[str], str], raw: str) -> Reply:
    """Why a raw name is not allowed."""
    with pytest.raises(Reply) as refused:
        name(raw)
    return refused.value


@given(ROOMS)
def test_a_rooms_name_is_its_own_normal_form(raw: str) -> None:
    """Who joins the room that the server named is in that room."""
    room = accepted(room_name, raw)
    assert room_name(room) == room


@given(ROOMS)
def test_a_rooms_name_does_not_depend_on_how_it_was_typed(raw: str) -> None:
    """A Mac sends letters and accents apart, others together: it is one room."""
    room = accepted(room_name, raw)
    assert room_name(unicodedata.normalize("NFD", raw)) == room
    assert room_name(unicodedata.normalize("NFC", raw)) == room


@given(st.text() | ROOMS)
def test_a_rooms_name_is_short_and_without_spaces_or_signs(raw: str) -> None:
    """Whatever is asked for, it is refused or becomes 1 to 128 bytes of letters, marks, numbers and `_ . : -`."""
    with suppress(Reply):
        room = room_name(raw)
        assert 1 <= len(room.encode()) <= 128
        assert all(character in "_.:-" or unicodedata.category(character)[0] in "LMN" for character in room)


@pytest.mark.parametrize("raw", ["lobby", "7", "a_b.c:d-e", "küche", "कमरा", "部屋", "x" * 128, "ä" * 64])
def test_rooms_are_named_in_any_script(raw: str) -> None:
    """128 bytes pass, and so does each script with its marks."""
    assert room_name(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "-a",
        ".a",
        "\u0301a",
        "a b",
        "a/b",
        "a\nb",
        "a\u200bb",
        "a\ud800",
        "\U0001f600",
        "\u3164",
        "a\u115f",
        "a\ufe0f",
    ],
)
def test_a_room_that_cannot_be_is_refused(raw: str) -> None:
    """Neither empty, nor beginning with a sign, nor holding spaces, slashes, or what is not seen."""
    assert (refusal(room_name, raw).code, refusal(room_name, raw).field) == ("bad_room", "room")


def test_a_rooms_limit_is_in_bytes() -> None:
    """129 bytes are refused, however few characters they are."""
    assert room_name("x" + "ä" * 63) == "x" + "ä" * 63
    assert "128 bytes" in refusal(room_name, "x" * 129).reason
    assert "128 bytes" in refusal(room_name, "x" + "ä" * 64).reason


def test_case_does_not_make_another_room() -> None:
    """`/join Lobby` leads to the lobby."""
    assert room_name("LOBBY") == "lobby"
    assert room_name("STRAẞE") == "straße"


@given(NAMES)
def test_a_name_is_its_own_normal_form(raw: str) -> None:
    """Who is renamed to what it is called keeps its name."""
    name = accepted(display_name, raw)
    assert display_name(name) == name


@given(NAMES)
def test_a_name_does_not_depend_on_how_it_was_typed(raw: str) -> None:
    """Letters and accents apart or together: it is one name, shown the same."""
    name = accepted(display_name, raw)
    assert display_name(unicodedata.normalize("NFD", raw)) == name


@given(st.text() | NAMES)
def test_a_name_is_printable_and_trimmed(raw: str) -> None:
    """Whatever is asked for, it is refused or becomes 1 to 32 characters that cannot be taken for anything else."""
    with suppress(Reply):
        name = display_name(raw)
        assert 1 <= len(name) <= 32
        assert name == name.strip()
        assert not {unicodedata.category(character) for character in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert name[0] not in "*!"
        assert not set(name) & set(":@/\"'")


@pytest.mark.parametrize("raw", ["alice", "Dr. Who", "a*b!", "名前", "\U0001f600" * 32, "e\u0301" * 32])
def test_names_are_in_any_script_and_have_spaces(raw: str) -> None:
    """32 characters pass, counted once normalized; `*` and `!` are forbidden at the beginning alone."""
    assert display_name(raw) == unicodedata.normalize("NFC", raw)


@pytest.mark.parametrize("raw", ["", "   ", "x" * 33, "e\u0301" * 33])
def test_a_names_limit_is_in_characters(raw: str) -> None:
    """Nothing but spaces is no name, and 33 characters are too many."""
    assert "1 to 32 characters" in refusal(display_name, raw).reason


@pytest.mark.parametrize(
    "raw",
    ["a:b", "a@b", "a/b", 'a"b', "a'b", "*a", "!a", "\ufe0f*a", "\u3164 !a", "a\tb", "a\x1b[m", "a\u202eb", "a\u200bb"],
)
def test_a_name_that_could_deceive_is_refused(raw: str) -> None:
    """No characters that the text codec gives a meaning to, and no control, format or bidi characters."""
    assert (refusal(display_name, raw).code, refusal(display_name, raw).field) == ("bad_name", "name")


def test_spaces_around_a_name_are_cut() -> None:
    """Of any kind, and before the characters are counted."""
    assert display_name("\u3000\n alice" + " " * 500) == "alice"


@pytest.mark.parametrize("name", [room_name, display_name])
def test_what_is_too_long_is_not_normalized(name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of marks in the wrong order would hold everybody up for seconds."""
    normalize = Mock()
    with monkeypatch.context() as patched:
        patched.setattr(unicodedata, "normalize", normalize)
        assert "long" in refusal(name, MARKS_OUT_OF_ORDER).reason
    normalize.assert_not_called()


@pytest.mark.parametrize("raw", ["\u3164", "\u2800\u2800", "\ufe0f \ufe0f", "\uffa0\u034f"])
def test_a_name_that_nobody_can_see_is_none(raw: str) -> None:
    """Fillers, blanks and selectors alone show nothing."""
    assert "can be seen" in refusal(display_name, raw).reason


@pytest.mark.parametrize("other", ["alice\ufe0f", "\u3164alice", "al\u034fice", "al\U000e0100ice", "alice \u2800"])
def test_what_is_not_seen_makes_no_other_name(other: str) -> None:
    """Whatever it is, wherever it stands; who wants it gets what alice's name leaves."""
    assert fold(display_name(other)) == "alice"


def test_spaces_within_a_name_are_one() -> None:
    """A page shows several as one."""
    assert fold("Mary  Ann") == fold("mary ann") != fold("maryann")


def test_an_emoji_keeps_its_colour() -> None:
    """Its selector is shown, and makes it no other than without."""
    assert display_name("\u2764\ufe0f") == "\u2764\ufe0f"
    assert fold("\u2764\ufe0f") == fold("\u2764")


@pytest.mark.parametrize("raw", ["guest-1", "g\ufe0fuest-1"])
def test_nobody_passes_for_a_guest(raw: str) -> None:
    """The unnamed are shown so."""
    assert "guest-" in refusal(display_name, raw).reason


@pytest.mark.parametrize("other", ["ALICE", "alice", "\uff21\uff2c\uff29\uff23\uff25", "\U0001d400lice"])
def test_names_that_look_alike_are_the_same(other: str) -> None:
    """Case, width and style make no other person."""
    assert fold(other) == fold("Alice")


def test_letters_that_grow_in_upper_case_are_the_same() -> None:
    """Case folding, which is more than lower case."""
    assert fold("Strauß") == fold("STRAUSS")


@given(NAMES)
def test_a_folded_name_stands_for_all_that_fold_to_it(raw: str) -> None:
    """Being the same goes both ways: the folded form is the same name as what it was made of."""
    assert fold(fold(raw)) == fold(raw)
