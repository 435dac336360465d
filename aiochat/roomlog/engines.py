"""Which engine `store.url` names, by its scheme."""

from collections.abc import Callable
from typing import Final

from aiochat.config import Config
from aiochat.errors import ConfigError
from aiochat.roomlog.contract import RoomLog
from aiochat.roomlog.memory import MemoryLog

_ENGINES: Final[dict[str, Callable[[Config], RoomLog]]] = {"memory": MemoryLog}


def make_log(config: Config) -> RoomLog:
    """The room log that `store.url` names, to be opened. Raises `ConfigError` for a URL that no engine takes."""
    scheme, colon, _ = config.store.url.partition(":")
    if not colon or scheme not in _ENGINES:
        schemes = ", ".join(f"{name}:" for name in _ENGINES)
        raise ConfigError(f"store.url: got {config.store.url!r}, takes a URL that begins with one of {schemes}")
    return _ENGINES[scheme](config)


def data_path(config: Config) -> str:
    """Where the messages are, for people to read."""
    return "in memory, and gone when the server stops"
