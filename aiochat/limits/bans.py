"""Who may not come in: users, and addresses or networks of them, for a time or until lifted. In force at once.

A ban ends the connections it is about (4403) and stops new ones; the room log keeps it, where that outlives the server.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

import msgspec
import structlog

from aiochat.errors import Reply, StoreError
from aiochat.limits.addresses import SITE_BITS, parsed
from aiochat.roomlog import RoomLog

MAX_BANS: Final = 10_000  # one more is refused until one has expired or was lifted
MAX_REASON: Final = 100  # characters; a Close has room for 123 bytes
MAX_USER: Final = 256

_MAPPED_BITS: Final = 96  # before an IPv4 address within an IPv6 one
_USER: Final = "ban user "
_ADDRESS: Final = "ban address "
_MARK: Final = "mark"  # is kept beside the bans of a shared log, which without it, or with another, has lost them

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_Network = IPv4Network | IPv6Network


class Ban(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Of a `user`, or of an `address`, a network in CIDR form; `expires` is in seconds since 1970, None is never."""

    user: str | None = None
    address: str | None = None
    reason: str = ""
    expires: float | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Ban).decode


class Bans:
    """All bans of a chat. At MAX_BANS a new one is refused; none is ever dropped for another one's sake."""

    def __init__(self, log: RoomLog, enforce: Callable[[], None]) -> None:
        self._log = log
        self.share: Callable[[str, bytes | None], object] | None = None  # with other nodes
        self._enforce = enforce  # ends the connections that a new ban is about
        self._users: dict[str, Ban] = {}
        self._networks: dict[_Network, Ban] = {}
        self._prefixes: list[tuple[int, int]] = []  # the versions and lengths among them
        self._unkept: set[str] = set()  # keys of which the log has not what is here
        self._next_expiry = float("inf")
        self._is_failing = False  # one was not taken since the last look
        self._was_told = False  # in the log
        self._mark = log.kept.get(_MARK)
        for key, value in log.kept.items():
            if key != _MARK:
                self._put(_decode(value))

    def __len__(self) -> int:
        return len(self._users) + len(self._networks)

    def ban_user(self, user: str, reason: str, seconds: float | None = None) -> Ban:
        """For so long, or until lifted; over an earlier ban. Raises `Reply`: `bad_message`, `too_many_bans`."""
        if not 0 < len(user) <= MAX_USER:
            raise Reply("bad_message", f"a user has 1 to {MAX_USER} characters", field="user")
        return self._ban(Ban(user=user, reason=_checked(reason), expires=_end(seconds)))

    def ban_address(self, network: str, reason: str, seconds: float | None = None) -> Ban:
        """The same with an address, or a network such as 192.0.2.0/24.

        An IPv6 address without a prefix length stands for its /64.
        """
        return self._ban(Ban(address=str(_network(network)), reason=_checked(reason), expires=_end(seconds)))

    def lift_user(self, user: str) -> bool:
        """Whether there was a ban to lift."""
        return self._lift(Ban(user=user))

    def lift_address(self, network: str) -> bool:
        """The same with an address or network, written in any way. Raises `Reply`: `bad_message`."""
        return self._lift(Ban(address=str(_network(network))))

    def listed(self) -> Sequence[Ban]:
        """All that are in force, users first, each in the order in which they came."""
        now = time.time()
        return [ban for ban in (*self._users.values(), *self._networks.values()) if _is_in_force(ban, now)]

    def reason_for(self, user: str | None, address: str) -> str | None:
        """Why this user, or who comes from this address, may not come in; None if nothing is against it."""
        if not self:
            return None
        ban = self._users.get(user) if user is not None else None
        if ban is None or not _is_in_force(ban, time.time()):
            ban = self._of_address(address)
        return None if ban is None else ban.reason or "no reason was given"

    def check(self) -> None:
        """Forget those that have expired, and try again to keep what the log has not taken; about once a second."""
        now = time.time()
        if now >= self._next_expiry:
            self._next_expiry = float("inf")
            for ban in (*self._users.values(), *self._networks.values()):
                if _is_in_force(ban, now):
                    self._next_expiry = min(self._next_expiry, ban.expires or float("inf"))
                else:
                    self._lift(ban)
        if self._is_failing:
            self._is_failing = False
            for key in list(self._unkept):
                self._keep(key)

    def apply(self, key: str, value: bytes | None) -> None:
        """Another node has banned somebody, or lifted a ban; it sees to its being kept."""
        if value is not None:
            self._put(_decode(value))
            self._enforce()
        elif (ban := self._of_key(key)) is not None:
            self._drop(ban)

    def apply_all(self, kept: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """What is kept now, where news of it may have been missed; what a log that has lost it is to keep again."""
        mark = kept.get(_MARK)
        is_lost = mark is None or self._mark not in (None, mark)
        missing = {
            key: ban
            for ban in (*self._users.values(), *self._networks.values())
            if (key := _key(ban)) not in kept and key not in self._unkept
        }
        for key, value in kept.items():
            if key != _MARK and key not in self._unkept:
                self._put(_decode(value))
        self._enforce()
        if is_lost:
            again = {key: _encode(ban) for key, ban in missing.items()}
            if mark is None:
                again[_MARK] = os.urandom(8)
            if again:
                return again  # until that is done it is still lost
        for ban in () if is_lost else missing.values():
            self._drop(ban)
        self._mark = mark
        return {}

    def _ban(self, ban: Ban) -> Ban:
        is_new = self._found(ban) is None
        if is_new and max(len(self), len(self._unkept)) >= MAX_BANS:
            raise Reply("too_many_bans", f"{MAX_BANS} bans are the most: lift one first")
        self._put(ban)
        self._keep(_key(ban))
        if self.share is not None:
            self.share(_key(ban), _encode(ban))
        self._enforce()
        _log.info("banned", **_said_of(ban))
        return ban

    def _lift(self, ban: Ban) -> bool:
        found = self._found(ban)
        if found is None:
            return False
        self._drop(found)
        self._keep(_key(found))
        is_over = not _is_in_force(found, time.time())
        if self.share is not None and not is_over:  # that it is over every node sees by itself
            self.share(_key(found), None)
        _log.info("ban_expired" if is_over else "ban_lifted", **_who(_key(found)))
        return not is_over

    def _drop(self, ban: Ban) -> None:
        if ban.user is not None:
            self._users.pop(ban.user, None)
        else:
            self._networks.pop(ip_network(ban.address or ""), None)
            self._prefixes = _prefixes(self._networks)

    def _found(self, ban: Ban) -> Ban | None:
        return self._users.get(ban.user) if ban.user is not None else self._networks.get(ip_network(ban.address or ""))

    def _put(self, ban: Ban) -> None:
        if ban.user is not None:
            self._users[ban.user] = ban
        else:
            self._networks[ip_network(ban.address or "")] = ban
            self._prefixes = _prefixes(self._networks)
        if ban.expires is not None:
            self._next_expiry = min(self._next_expiry, ban.expires)

    def _of_address(self, address: str) -> Ban | None:
        """The ban of the smallest network it is in."""
        found = parsed(address) if self._networks else None
        if found is None:
            return None
        number, bits, now = int(found), found.max_prefixlen, time.time()
        of_version = IPv4Network if found.version == 4 else IPv6Network
        for version, length in self._prefixes:
            if version == found.version:
                ban = self._networks.get(of_version((number >> (bits - length) << (bits - length), length)))
                if ban is not None and _is_in_force(ban, now):
                    return ban
        return None

    def _of_key(self, key: str) -> Ban | None:
        kind = _USER if key.startswith(_USER) else _ADDRESS
        name = key.removeprefix(kind)
        return self._users.get(name) if kind is _USER else self._networks.get(ip_network(name))

    def _keep(self, key: str) -> None:
        """Let the log keep what is here under this key, or forget it."""
        ban = self._of_key(key)
        self._unkept.add(key)
        value = None if ban is None else _encode(ban)
        self._log.keep(key, value, lambda result: self._kept(key, result))

    def _kept(self, key: str, result: StoreError | None) -> None:
        if result is None:
            self._unkept.discard(key)
            self._was_told = self._was_told and bool(self._unkept)
            return
        self._is_failing = True
        if not self._was_told:
            self._was_told = True
            _log.warning("ban_not_kept", **_who(key), reason=str(result))


def _key(ban: Ban) -> str:
    return f"{_USER}{ban.user}" if ban.user is not None else f"{_ADDRESS}{ban.address}"


def _who(key: str) -> dict[str, str]:
    """Whose it is, for a line of the log."""
    if key.startswith(_USER):
        return {"user": key.removeprefix(_USER)}
    return {"address": key.removeprefix(_ADDRESS)}


def _said_of(ban: Ban) -> dict[str, str]:
    """What there is to tell in the log; a ban without `until` is for ever."""
    said = _who(_key(ban))
    if ban.reason:
        said["reason"] = ban.reason
    if ban.expires is not None:
        said["until"] = f"{datetime.fromtimestamp(ban.expires, UTC):%FT%TZ}"
    return said


def _end(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds <= 1e9:
        reason = "a ban lasts for more than 0 seconds and up to 1e9, or until it is lifted"
        raise Reply("bad_message", reason, field="seconds")
    return None if seconds is None else time.time() + seconds


def _is_in_force(ban: Ban, now: float) -> bool:
    return ban.expires is None or ban.expires > now


def _checked(reason: str) -> str:
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise Reply("bad_message", f"a reason is one line of up to {MAX_REASON} characters", field="reason")
    return reason


def _network(text: str) -> _Network:
    found = parsed(text)
    try:
        if isinstance(found, IPv6Address):
            return ip_network((int(found), SITE_BITS), strict=False)
        network = ip_network(found or text, strict=False)
        mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
        if mapped is None or network.prefixlen < _MAPPED_BITS:
            return network
        return ip_network((int(mapped), network.prefixlen - _MAPPED_BITS))
    except ValueError:
        reason = "takes an address, or a network such as 192.0.2.0/24 or 2001:db8::/32"
        raise Reply("bad_message", reason, field="address") from None


def _prefixes(networks: dict[_Network, Ban]) -> list[tuple[int, int]]:
    return sorted({(network.version, network.prefixlen) for network in networks}, key=lambda each: -each[1])
