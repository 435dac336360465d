"""What a codec is: one subprotocol's way from a WebSocket message to commands, and from events to frames."""

from collections.abc import Sequence
from typing import Protocol

from aiochat.errors import Reply
from aiochat.messages import Command, Entry, Event


class Codec(Protocol):
    """Codecs keep no state, so that one instance serves every client."""

    @property
    def subprotocol(self) -> str:
        """The name in `Sec-WebSocket-Protocol`."""
        ...

    @property
    def is_text(self) -> bool:
        """Whether its clients are people at a line: in one room at a time, and told nothing that is for programs."""
        ...

    def decode(self, payload: bytes, is_binary: bool) -> Sequence[Command | Reply]:
        """The commands in a WebSocket message; a `Reply` stands in the place of what cannot be understood.

        Raises `Disconnect` where the connection must end.
        """
        ...

    def encode_entry(self, entry: Entry) -> bytes:
        """One entry of a room's log; empty where its clients are not shown it."""
        ...

    def encode_event(self, event: Event) -> Sequence[bytes]:
        """One event, in as many payloads as the codec needs; none where its clients are not told."""
        ...

    def frame(self, payloads: list[bytes]) -> bytes:
        """The payloads as WebSocket frames, in one piece for one write; of none, nothing."""
        ...
