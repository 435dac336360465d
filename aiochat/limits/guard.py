"""What keeps one client from hurting the others, within the hub's turn: rates, strikes and bans."""

from typing import TYPE_CHECKING, Final

from aiochat.client import Client
from aiochat.errors import Close, Reply
from aiochat.limits.bans import Bans
from aiochat.limits.budgets import Strikes
from aiochat.limits.shares import RATES, Sharing
from aiochat.monitoring.counts import Counts
from aiochat.monitoring.tally import Tally
from aiochat.roomlog import RoomLog

if TYPE_CHECKING:
    from aiochat.hub import Hub

_REFUSALS_ALLOWED: Final = (100, 10.0)  # within so many seconds, then 4429
_BAD_MESSAGES_ALLOWED: Final = (19, 60.0)  # likewise 4400: the twentieth ends it
_SHARED: Final = {
    "user_messages_per_second": " from all clients of this user",
    "address_messages_per_second": " from this address",
}


class Guard:
    """One for a hub; what it remembers is bounded by its parts."""

    def __init__(self, hub: "Hub", log: RoomLog) -> None:
        self._hub = hub
        self.shares = Sharing(hub.config.limits)
        self.bans = Bans(log, lambda: hub.later(self._end_banned))
        self.tally = Tally()
        self.reached = Counts(RATES)

    def charge(self, client: Client, cost: int) -> None:
        """Take a command from the client's budget. Raises `Reply`."""
        now = self._hub.now
        if client.budget is None:
            client.budget = self.shares.messages(client.user, client.address, now)
        wait_seconds = client.budget.take(cost, now)
        if wait_seconds:
            scarce = client.budget.scarcest(cost, now)
            self.limited(client, scarce.limit)
            reason = f"more than {scarce.rate:g} messages a second{_SHARED.get(scarce.limit, '')}"
            raise Reply("rate_limited", reason, retry_after_ms=int(wait_seconds * 1000) + 1)

    def limited(self, client: Client, limit: str) -> None:
        """A limit has slowed a client: one is named in the log, then they are only counted."""
        self.reached.add(limit)
        who = {"client": client.id, "user": client.user, "address": client.address}
        self.tally.info("limit_reached", limit, lines=1, limit=limit, **who)

    def strike(self, client: Client, code: str) -> None:
        """A command was refused; too many bad or hasty ones end the connection."""
        now = self._hub.now
        if code == "rate_limited":
            client.refusals = client.refusals or Strikes()
            if client.refusals.add(*_REFUSALS_ALLOWED, now):
                self._hub.finish(client, Close.FLOODING, "too many messages")
        elif code == "bad_message":
            client.bad_messages = client.bad_messages or Strikes()
            if client.bad_messages.add(*_BAD_MESSAGES_ALLOWED, now):
                self._hub.end(client, Close.BAD_REQUEST, "too many bad messages")

    def end_if_banned(self, client: Client) -> bool:
        """Whether it was; it is told why."""
        reason = self.bans.reason_for(client.user, client.address)
        if reason is None:
            return False
        self._hub.end(client, Close.BANNED, f"banned: {reason}")
        return True

    def check(self) -> None:
        """Forget what is over; about once a second."""
        self.bans.check()
        self.shares.check(self._hub.now)

    def _end_banned(self) -> None:
        for client in list(self._hub.clients.values()):
            self.end_if_banned(client)
