"""What `aiochat serve` tells systemd about itself (sd_notify(3)): nothing where systemd has not started it."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_FEEDS: Final = 3  # in the time after which systemd takes the server for dead


class Systemd:
    """The socket that systemd listens on, of a unit with `Type=notify`."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6  # 0 = systemd does not watch

    def tell(self, *states: str) -> None:
        """Such as READY=1. Who is not there to hear it is no trouble of ours."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto("\n".join(states).encode(), self._address)

    async def feed(self, in_turn: Callable[[Callable[[], object]], None], status: Callable[[], str]) -> None:
        """Show that the hub turns, until cancelled: a hub that hangs, or a loop, is not fed, and systemd ends it."""
        if not self._address or not self.watchdog_seconds:
            return
        while True:
            in_turn(lambda: self.tell("WATCHDOG=1", f"STATUS={status()}"))
            await asyncio.sleep(self.watchdog_seconds / _FEEDS)
