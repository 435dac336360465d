"""What commands and events share: the types of their fields, and how they are told apart."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_INTEGER: Final = (1 << 53) - 1  # what every language's numbers hold exactly
MIN_KEY_CHARACTERS: Final = 8
MAX_KEY_CHARACTERS: Final = 64
HERE: Final = ""  # as a room: the one that a text client is in

Id = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Offset = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Key = Annotated[str, Meta(min_length=MIN_KEY_CHARACTERS, max_length=MAX_KEY_CHARACTERS)]
Limit = Annotated[int, Meta(ge=0, le=300)]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Up to where a client has a room's messages: the last `offset` it saw, of this `epoch` of the log."""

    epoch: str
    offset: Offset


def snake_case(name: str) -> str:
    """The `type` of a struct on the wire."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
