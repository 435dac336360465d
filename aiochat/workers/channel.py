"""What a worker and its parent tell each other: JSON, one object a line, over a socketpair that is the worker's stdin.

Its end is the end of whoever had the other end.
"""

from typing import Any

import msgspec


class Begin(msgspec.Struct, frozen=True):
    """The first line, and the only one to a worker: what it is, with the settings in force."""

    number: int  # from 1
    config: dict[str, Any]
    listening: list[
        list[int]
    ]  # the descriptors that it inherits: those of server.port, then those of its internal port


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """It listens."""


class Turned(msgspec.Struct, frozen=True, tag="turned"):
    """Its hub turns; said once a second."""

    clients: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It cannot start or go on, for this reason, and ends."""

    reason: str


Report = Ready | Turned | Failed


def line(message: Begin | Report) -> bytes:
    return msgspec.json.encode(message) + b"\n"
