"""What all clients of one user, or from one address, have together: how many they are, and budgets.

Who is behind one address with others (NAT, a proxy that is not trusted) shares with them, so no limit here is on by
default. IPv6 addresses are counted by their /64 (aiochat.limits.addresses).
"""

from dataclasses import dataclass
from typing import Final

from aiochat import config
from aiochat.limits.addresses import source_of
from aiochat.limits.budgets import Budget, Joint

RATES: Final = tuple(
    f"{whose}{what}_per_second" for whose in ("", "user_", "address_") for what in ("messages", "bytes")
)
_LEAST_BURST: Final = 10  # connects, so that a page with a few tabs opens
_FORGOTTEN_AT_ONCE: Final = 10_000  # a few milliseconds


@dataclass(frozen=True, slots=True)
class Quota:
    """What each user, or each address, may have; 0 is no limit. `kind` is user or address, as in the settings."""

    kind: str
    clients: int
    messages: float
    burst_messages: float
    bytes: float
    connects: float = 0


class Share:
    """Of one user or address."""

    __slots__ = ("bytes", "clients", "connects", "messages")

    def __init__(self) -> None:
        self.clients = 0
        self.bytes: Budget | None = None
        self.connects: Budget | None = None
        self.messages: Budget | None = None

    def is_full(self, now: float) -> bool:
        """Whether nothing is lost if it is forgotten."""
        budgets = (self.bytes, self.connects, self.messages)
        return not self.clients and all(budget is None or budget.is_full(now) for budget in budgets)


class Shares:
    """Of all users, or of all addresses: at most `max_shares`.

    One is forgotten once its clients are gone and its budgets full again. At the bound the one without clients goes
    that was used the longest ago; where all have clients, a new one is refused.
    """

    def __init__(self, quota: Quota, max_shares: int) -> None:
        self.quota = quota
        self.is_limited = any((quota.clients, quota.messages, quota.bytes, quota.connects))
        self._max_shares = max_shares
        self._shares: dict[str, Share] = {}
        self._idle: dict[str, None] = {}  # those without clients, the longest unused first

    def __len__(self) -> int:
        return len(self._shares)

    def connect(self, key: str, now: float) -> float:
        """Count one more attempt to come in: 0, or the seconds until it would be let in."""
        rate = self.quota.connects
        if not rate:
            return 0.0
        share = self._share(key)
        if share is None:
            return 1.0
        if share.connects is None:
            share.connects = Budget(rate, max(2 * rate, _LEAST_BURST), now)
        if not share.clients:
            self._idle.pop(key, None)
            self._idle[key] = None
        return share.connects.take(1, now)

    def admit(self, key: str) -> bool:
        """Count one more client, or refuse it."""
        if not self.is_limited:
            return True
        share = self._share(key)
        if share is None or (self.quota.clients and share.clients >= self.quota.clients):
            return False
        share.clients += 1
        self._idle.pop(key, None)
        return True

    def release(self, key: str) -> None:
        """Take back one `admit` that said yes."""
        if not self.is_limited:
            return
        share = self._shares[key]
        share.clients -= 1
        if not share.clients:
            self._idle[key] = None

    def messages(self, key: str, now: float) -> Budget | None:
        """The budget of commands, if there is to be one."""
        rate, share = self.quota.messages, self._share(key) if self.quota.messages else None
        if share is not None and share.messages is None:
            burst = max(2 * rate, self.quota.burst_messages)
            share.messages = Budget(rate, burst, now, f"{self.quota.kind}_messages_per_second")
        return None if share is None else share.messages

    def bytes(self, key: str, now: float) -> Budget | None:
        """The budget of bytes, if there is to be one."""
        rate, share = self.quota.bytes, self._share(key) if self.quota.bytes else None
        if share is not None and share.bytes is None:
            share.bytes = Budget(rate, rate, now, f"{self.quota.kind}_bytes_per_second")
        return None if share is None else share.bytes

    def check(self, now: float) -> None:
        """Forget those that nobody uses and that are full again; about once a second."""
        for key in list(self._idle)[:_FORGOTTEN_AT_ONCE]:
            if not self._shares[key].is_full(now):
                break
            self._forget(key)

    def _share(self, key: str) -> Share | None:
        share = self._shares.get(key)
        if share is None:
            if len(self._shares) >= self._max_shares:
                if not self._idle:
                    return None
                self._forget(next(iter(self._idle)))
            share = self._shares[key] = Share()
            self._idle[key] = None
        return share

    def _forget(self, key: str) -> None:
        del self._shares[key], self._idle[key]


class Sharing:
    """The shares of one chat, and what a client draws on."""

    def __init__(self, limits: config.Limits) -> None:
        self._limits = limits
        burst = limits.burst_messages
        of_user = Quota(
            "user", limits.max_clients_per_user, limits.user_messages_per_second, burst, limits.user_bytes_per_second
        )
        of_address = Quota(
            "address",
            limits.max_clients_per_address,
            limits.address_messages_per_second,
            burst,
            limits.address_bytes_per_second,
            limits.address_connects_per_second,
        )
        self.users = Shares(of_user, limits.max_addresses)
        self.addresses = Shares(of_address, limits.max_addresses)
        self.limits_messages = any((limits.messages_per_second, of_user.messages, of_address.messages))
        self.limits_bytes = any((limits.bytes_per_second, of_user.bytes, of_address.bytes))

    def connect(self, address: str, now: float) -> float:
        """Whether one more may knock: 0, or the seconds until it may."""
        return self.addresses.connect(source_of(address), now)

    def admit(self, user: str | None, address: str) -> str | None:
        """Count one more client; why not, if it is one too many."""
        source = source_of(address)
        if not self.addresses.admit(source):
            return "too many clients from this address"
        if user is not None and not self.users.admit(user):
            self.addresses.release(source)
            return "too many clients of this user"
        return None

    def release(self, user: str | None, address: str) -> None:
        """Take back one `admit` that had nothing against it."""
        self.addresses.release(source_of(address))
        if user is not None:
            self.users.release(user)

    def messages(self, user: str | None, address: str, now: float) -> Budget | Joint:
        """What a client's commands cost from, if `limits_messages`."""
        rate = self._limits.messages_per_second
        own = Budget(rate, self._limits.burst_messages, now, "messages_per_second") if rate else None
        users = self.users.messages(user, now) if user is not None else None
        return _joint(own, users, self.addresses.messages(source_of(address), now))

    def bytes(self, user: str | None, address: str, now: float) -> Budget | Joint:
        """What a client's bytes cost from, if `limits_bytes`."""
        rate = self._limits.bytes_per_second
        own = Budget(rate, rate, now, "bytes_per_second") if rate else None
        users = self.users.bytes(user, now) if user is not None else None
        return _joint(own, users, self.addresses.bytes(source_of(address), now))

    def check(self, now: float) -> None:
        """Forget what nobody uses; about once a second."""
        self.users.check(now)
        self.addresses.check(now)


def _joint(*budgets: Budget | None) -> Budget | Joint:
    found = tuple(budget for budget in budgets if budget is not None)
    return found[0] if len(found) == 1 else Joint(found)
