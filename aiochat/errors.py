"""The two ways to fail: a `Reply`, after which the connection lives, and a `Disconnect`, which ends it.

Each carries what to send; the hub and the connection turn it into bytes in one place.
"""

from enum import IntEnum
from typing import Final

# The codes that metrics tell apart, of commands and of upgrades; the hooks of an application may have more.
REPLIES: Final = (
    "ambiguous", "bad_message", "bad_name", "bad_room", "epoch_changed", "forbidden", "key_reused", "no_such_client",
    "no_such_message", "not_joined", "rate_limited", "session_lost", "timeout", "too_long", "too_many_rooms",
    "unauthorized", "unavailable", "unknown_method", "unknown_type",
)  # fmt: skip
REFUSALS: Final = (
    "bad_name", "bad_request", "bad_room", "bad_subprotocol", "banned", "forbidden", "rate_limited", "unauthorized",
    "unavailable",
)  # fmt: skip


# Why a message was refused that may be in the room log, or come into it, all the same.
UNCONFIRMED: Final = "the history did not confirm it"


class Close(IntEnum):
    """Close codes: RFC 6455 section 7.4.1, and our own from 4000 up (docs/protocol.md)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    WRONG_TYPE = 1003
    ABNORMAL = 1006
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    SLOW = 4000
    SILENT = 4001
    TOKEN_EXPIRED = 4003
    BAD_REQUEST = 4400
    NOT_AUTHENTICATED = 4401
    BANNED = 4403
    REPLACED = 4409
    KICKED = 4410
    FLOODING = 4429


class Reply(Exception):
    """A refusal the client is told of: `code` from docs/protocol.md, `reason` a sentence, `field` what was wrong.

    `retry_after_ms` says when trying again makes sense; `None` means never. A codec that refuses a command names it
    with `command` and `id`, as far as it can tell.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        field: str | None = None,
        retry_after_ms: int | None = None,
        command: str | None = None,
        id: str | int | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.field = field
        self.retry_after_ms = retry_after_ms
        self.command = command
        self.id = id


class Disconnect(Exception):
    """The end of one connection: the Close frame's code and reason."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ConfigError(Exception):
    """A setting that cannot be used: one line that names the key, what it got and what it takes."""


class StartError(Exception):
    """The server cannot start: one line that says why and what to do."""


class Ended(Exception):
    """The server can go on no longer: one line that says why. It may do so again once it is started again."""


class StoreError(Exception):
    """The room log could not do what was asked; publishers are told `unavailable`."""


class RefusedError(StoreError):
    """It is there, and would not do it the next time either."""


def no_such_client(field: str) -> Reply:
    """What who addresses a client or user gets that is not connected."""
    return Reply("no_such_client", f"there is no such {field}", field=field)


def unavailable(reason: str = "the history is not available") -> Reply:
    """What a publisher or reader gets while the room log does not answer."""
    return Reply("unavailable", reason, retry_after_ms=1000)
