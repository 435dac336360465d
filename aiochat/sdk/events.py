"""What the client tells of itself among the server's events, and how a chat ends."""

import msgspec

from aiochat.messages import Event


class Connected(msgspec.Struct, frozen=True):
    """The connection stands. `client` is this session's id; `resumed`: it is the one from before the break."""

    client: str
    resumed: bool


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is lost, and the client comes back by itself after `retry_in_seconds`.

    `code` is that of the Close, 1006 where there was none.
    """

    code: int
    reason: str
    retry_in_seconds: float


class CaughtUp(msgspec.Struct, frozen=True):
    """All of `room` that was missed has been told, `messages` of them; what follows is live."""

    room: str
    messages: int


ChatEvent = Event | Connected | Disconnected | CaughtUp


class ChatClosed(ConnectionError):
    """The chat is over, or did not begin, and the client does not come back by itself.

    `code` is that of the Close (docs/protocol.md), the HTTP status that refused the connection, or None where there was
    no connection.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(reason if code is None else f"{reason} ({code})")
        self.code = code
        self.reason = reason


class Interrupted(ConnectionError):
    """The connection was lost before the answer, and asking again could do twice what was asked."""
