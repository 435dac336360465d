"""What every directory promises: who is called what, in which room. `local` serves one process; Redis will serve many.

Names that fold alike are the same. A name holds per room; a user's own clients may share one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence


class Directory(ABC):
    """The answers of `claim` come through the hub's inbox, or within the call; the caller never waits."""

    @abstractmethod
    def claim(self, room: str, name: str, client: str, user: str | None, then: Callable[[str], object]) -> None:
        """Take `name` for a client; where it is taken, the next free of `name-2`, `name-3`, ...: `then` is told."""

    @abstractmethod
    def release(self, room: str, name: str, client: str) -> None:
        """Give the client's name back, if it has it."""

    @abstractmethod
    def holders(self, room: str, name: str) -> Sequence[str]:
        """The ids of the clients that have the name in this room."""
