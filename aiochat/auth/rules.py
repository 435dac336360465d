"""What holds in each room: the `[[room]]` tables of the settings, of which the first whose pattern fits counts.

A client may do what both its identity and the room's rule let it do. The embedding application and the API may all.
"""

from collections.abc import Callable, Container, Sequence
from typing import Final

import structlog

from aiochat.auth.identity import Identity, fits
from aiochat.config import Config, RoomRule
from aiochat.errors import Reply

OPEN: Final = RoomRule(match="*")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Rules:
    """The rules of one chat; without a table, all rooms are open."""

    def __init__(self, tables: Sequence[RoomRule]) -> None:
        self._tables = tables

    def of(self, room: str) -> RoomRule:
        """The rule of the room of this name, in the form that the server makes of it."""
        return next((rule for rule in self._tables if fits(rule.match, room)), OPEN)


def warn_of_rules_for_nobody(config: Config, hooks: Container[str]) -> None:
    """Say which rules are for verified users, where neither a token nor the hook `on_connect` makes anybody one."""
    if config.security.mode != "anonymous" or "on_connect" in hooks:
        return
    for rule in config.room:
        takes = {"join": rule.join, "publish": rule.publish}
        for_users = {key: who for key, who in takes.items() if who in {"users", "named"}}
        if for_users:
            _log.warning("room_rule_for_nobody", match=rule.match, **for_users)


def may_join(identity: Identity, room: str, rule: RoomRule) -> bool:
    """Whether a client of this identity may come into the room, and stay there."""
    return identity.may_join(room) and _JOIN[rule.join](identity, room)


def may_publish(identity: Identity, room: str, rule: RoomRule) -> bool:
    """Whether it may speak there, as a member."""
    return identity.may_publish(room) and _PUBLISH[rule.publish](identity)


def check_join(identity: Identity, room: str, rule: RoomRule) -> None:
    """Raise `Reply` `forbidden` unless it may come into the room."""
    if not may_join(identity, room, rule):
        raise Reply("forbidden", f"you may not join {room}", field="room")


def check_publish(identity: Identity, room: str, rule: RoomRule) -> None:
    """Raise `Reply` `forbidden` unless it may speak there."""
    if not may_publish(identity, room, rule):
        raise Reply("forbidden", f"you may not publish in {room}", field="room")


_JOIN: Final[dict[str, Callable[[Identity, str], bool]]] = {
    "all": lambda identity, room: True,
    "users": lambda identity, room: identity.user is not None,
    "named": lambda identity, room: identity.names(room),
}
_PUBLISH: Final[dict[str, Callable[[Identity], bool]]] = {
    "all": lambda identity: True,
    "users": lambda identity: identity.user is not None,
    "api": lambda identity: False,
}
