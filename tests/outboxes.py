"""One client's outbox with a fake socket, and what it was sent."""

from typing import Any, Final

from aiochat import frames
from aiochat.outbox import Backlog, Batch, Outbox
from tests import fakes, wire

LIMITS: Final[dict[str, Any]] = {"max_messages": 4, "max_bytes": 100, "stall_seconds": 10.0, "total_bytes": 1000}


def line(text: str) -> Batch:
    """A batch of one message."""
    return Batch(frames.text_frames([text.encode()]), 1)


class Side:
    """One client's outbox, its socket and its owner; the socket pauses at the first byte unless it is `open`."""

    def __init__(self, backlog: Backlog, *, is_open: bool = False) -> None:
        self.socket = fakes.Socket(1 << 16 if is_open else 0)
        self.owner = fakes.Owner()
        self.outbox = self.socket.outbox = self.owner.outbox = Outbox(self.socket, backlog, self.owner)
        if not is_open:
            self.outbox.send(line("full"))

    @property
    def heard(self) -> list[str]:
        """The lines written since the one that filled the socket."""
        return [frame.payload.decode() for frame in self.socket.frames if frame.opcode == wire.TEXT][1:]

    @property
    def close_codes(self) -> list[int]:
        return [frame.code for frame in self.socket.frames if frame.opcode == wire.CLOSE]
