"""What a codec is: one subprotocol's way from a WebSocket message to commands, and from events to frames."""

from typing import Protocol

from aiochat.messages import Command, Event, Message


class Codec(Protocol):
    """Codecs keep no state, so that one instance serves every client."""

    @property
    def subprotocol(self) -> str:
        """The name in `Sec-WebSocket-Protocol`."""
        ...

    @property
    def single_room(self) -> bool:
        """Whether its clients are in one room at a time, so that a join moves them and a command needs no room."""
        ...

    def decode(self, payload: bytes) -> Command | None:
        """The command in a WebSocket message; None where there is nothing to do.

        Raises `Reply` for what cannot be understood, and `Disconnect` where the connection must end.
        """
        ...

    def encode_message(self, message: Message) -> bytes:
        """One message of a room."""
        ...

    def encode_event(self, event: Event) -> list[bytes]:
        """One private event, in as many payloads as the codec needs."""
        ...

    def frame(self, payloads: list[bytes]) -> bytes:
        """The payloads as WebSocket frames, in one piece for one write."""
        ...
