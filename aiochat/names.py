"""Room names and display names: the one place that says what is allowed (docs/protocol.md)."""

import unicodedata
from functools import lru_cache
from typing import Final

from aiochat.errors import Reply

MAX_ROOM_BYTES: Final = 128
MAX_NAME_CHARACTERS: Final = 32
_MOST_CODE_POINTS: Final = 4  # that NFC makes one of
GUEST: Final = "guest-"  # and the client's id: how an unnamed client is shown
_ROOM_PUNCTUATION: Final = frozenset("_.:-")
_NAME_FORBIDDEN: Final = frozenset(":@/\"'\ufffd")
_NAME_FORBIDDEN_FIRST: Final = ("*", "!")
# What shows nothing: Default_Ignorable_Code_Point, DerivedCoreProperties.txt of Unicode 17, and the empty Braille cell.
_INVISIBLE: Final = dict.fromkeys(
    code
    for first, last in (
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)  # fmt: skip


@lru_cache(maxsize=1024)
def room_name(raw: str) -> str:
    """The room's name as the server keeps it: NFC and lower case. Raises `Reply` `bad_room`."""
    room = _nfc(raw.lower(), MAX_ROOM_BYTES)
    if not room or len(room.encode("utf-8", "replace")) > MAX_ROOM_BYTES:
        raise Reply("bad_room", f"a room's name is 1 to {MAX_ROOM_BYTES} bytes long", field="room")
    if unicodedata.category(room[0])[0] not in "LN":
        raise Reply("bad_room", "a room's name begins with a letter or a number", field="room")
    if not all(map(_fits_room, room)):
        raise Reply("bad_room", "a room's name holds letters, numbers and _ . : -", field="room")
    return room


def room_pattern(raw: str) -> str:
    """A pattern of rooms, `*` for any characters, in the form of their names. Raises `Reply` `bad_room`."""
    room_name(raw.replace("*", "x"))
    return _nfc(raw.lower(), MAX_ROOM_BYTES)


def display_name(raw: str) -> str:
    """The name as others see it: NFC and trimmed. Raises `Reply` `bad_name`."""
    name = _nfc(raw.strip(), MAX_NAME_CHARACTERS)
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise Reply("bad_name", f"a name is 1 to {MAX_NAME_CHARACTERS} characters long", field="name")
    folded = fold(name)
    if not folded:
        raise Reply("bad_name", "a name has characters that can be seen", field="name")
    if folded.startswith(GUEST):
        raise Reply("bad_name", f"a name does not begin with {GUEST}: the server calls the unnamed so", field="name")
    seen = name.translate(_INVISIBLE).lstrip()
    if not name.isprintable() or not _NAME_FORBIDDEN.isdisjoint(name) or seen.startswith(_NAME_FORBIDDEN_FIRST):
        reason = "a name holds none of : @ / \" ' and no control characters, and does not begin with * or !"
        raise Reply("bad_name", reason, field="name")
    return name


def fitting_name(raw: str) -> str | None:
    """As much of a name from elsewhere as can be one here: `Mary O'Brien` is Mary OBrien. None if nothing is left."""
    kept = "".join(letter for letter in raw if letter.isprintable() and letter not in _NAME_FORBIDDEN)
    try:
        return display_name(_nfc(kept.lstrip("*! "), MAX_NAME_CHARACTERS)[:MAX_NAME_CHARACTERS])
    except Reply:
        return None


def fold(name: str) -> str:
    """The form in which two names are the same: NFKC_Casefold (Unicode 3.13), with spaces as in RFC 8266, 2.3.

    It leaves out what is not seen, as in an emoji that its selector makes colourful, and keeps one of several spaces.
    """
    seen = unicodedata.normalize("NFKC", name).casefold().translate(_INVISIBLE)
    return " ".join(unicodedata.normalize("NFKC", seen).split())


def _fits_room(character: str) -> bool:
    """Of the letters and marks some show nothing: a room of the same look would be another one."""
    return character in _ROOM_PUNCTUATION or (
        unicodedata.category(character)[0] in "LMN" and ord(character) not in _INVISIBLE
    )


def _nfc(raw: str, limit: int) -> str:
    """Normalized, unless it is too long anyway: a run of 32,000 marks in the wrong order takes NFC two seconds."""
    return raw if len(raw) > _MOST_CODE_POINTS * limit else unicodedata.normalize("NFC", raw)
