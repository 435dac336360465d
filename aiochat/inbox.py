"""What clients have sent and the next turn takes: bounded for each client and for all together.

A client whose share is full stops being read; its connection feeds the rest once a turn has taken what came before.
"""

from collections.abc import Callable
from typing import Final

import structlog

from aiochat.client import Client
from aiochat.config import Hub as Settings
from aiochat.errors import Close, Reply
from aiochat.messages import Command

_BYTES_PER_CLIENT: Final = 128 << 10

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Inbox:
    """True while there is something for a turn to do; `wake` is called when there begins to be."""

    def __init__(self, settings: Settings, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._per_client = settings.inbox_per_client
        self._max_bytes = settings.inbox_bytes
        self._senders: list[Client] = []  # who has commands for the next turn
        self._held: dict[Client, None] = {}  # whose connections stopped reading until their commands are taken
        self.bytes = 0  # of all commands that wait
        self._is_shut = False

    def __bool__(self) -> bool:
        return bool(self._senders or self._held)

    def submit(self, client: Client, command: Command | Reply, size: int) -> None:
        """Queue a command of `size` bytes for the next turn; `client.is_full` says whether to send more before it."""
        commands = client.commands
        if commands is not None:
            commands.append(command)
        else:
            client.commands = commands = [command]
            if not client.waiting:
                self._senders.append(client)
                self._wake()
        client.queued_bytes += size
        self.bytes += size
        client.is_full = (
            len(commands) >= self._per_client
            or client.queued_bytes >= _BYTES_PER_CLIENT
            or self.bytes >= self._max_bytes
        )

    def hold(self, client: Client, feed_on: Callable[[], None]) -> None:
        """Call `feed_on` after the turn that takes the last of the client's commands."""
        client.feed_on = feed_on
        self._held[client] = None
        self._wake()

    def take(self) -> list[Client]:
        """Those with commands, in the order in which they began to have some."""
        senders, self._senders = self._senders, []
        if self._is_shut:
            for client in senders:
                client.commands = None
        return senders

    def shut(self) -> None:
        """No command counts any more: who is told to go would not hear what others are then told they have said."""
        self._is_shut = True

    def has_taken(self, client: Client) -> None:
        """All that the client had sent is applied, or will never be."""
        self.bytes -= client.queued_bytes
        client.queued_bytes = 0
        client.is_full = False

    def go_on(self, client: Client) -> None:
        """The client waits no longer: its commands count again."""
        if client.commands is not None:
            self._senders.append(client)
        if client.feed_on is not None:
            self._held[client] = None

    def feed_on(self) -> None:
        """Let the connections go on whose clients' commands were all taken."""
        held, self._held = self._held, {}
        for client in held:
            if client.commands is not None:
                if not client.waiting:  # go_on() sees to those that wait
                    self._held[client] = None
            elif client.feed_on is not None:
                feed_on, client.feed_on = client.feed_on, None
                try:
                    feed_on()
                except Exception:
                    _log.exception("feed_failed", client=client.id)
                    client.outbox.close(Close.INTERNAL_ERROR, "internal error")
