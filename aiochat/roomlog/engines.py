"""Which engine `store.url` names, by its scheme."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiochat.config import Config
from aiochat.errors import ConfigError
from aiochat.roomlog.contract import RoomLog
from aiochat.roomlog.memory import MemoryLog
from aiochat.roomlog.sqlite import SCHEME, SqliteLog, path_of

_ENGINES: Final[dict[str, Callable[[Config], RoomLog]]] = {"memory": MemoryLog, "sqlite": SqliteLog}
_LATER: Final = ("redis", "rediss")


def make_log(config: Config) -> RoomLog:
    """The room log that `store.url` names, to be opened. Raises `ConfigError` for a URL that no engine takes."""
    scheme, colon, rest = config.store.url.partition(":")
    if colon and scheme in _LATER:
        raise ConfigError(f"store.url: got {scheme}:, which comes with a later version")
    if not colon or scheme not in _ENGINES:
        schemes = ", ".join(f"{name}:" for name in _ENGINES)
        raise ConfigError(f"store.url: got {config.store.url!r}, takes a URL that begins with one of {schemes}")
    if scheme == "memory" and rest:
        raise ConfigError(f"store.url: got {config.store.url!r}, takes memory: with nothing after it")
    return _ENGINES[scheme](config)


def file_path(config: Config) -> Path | None:
    """The file that the messages are in, if they are in one."""
    return path_of(config.store.url) if config.store.url.startswith(SCHEME) else None


def data_path(config: Config) -> str:
    """Where the messages are, for people to read."""
    return str(file_path(config) or "in memory, and gone when the server stops")
