"""Which engine `store.url` names, by its scheme."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiochat.config import Config
from aiochat.errors import ConfigError
from aiochat.roomlog import urls
from aiochat.roomlog.contract import RoomLog
from aiochat.roomlog.memory import MemoryLog
from aiochat.roomlog.sqlite import SCHEME, SqliteLog, path_of


def _memory_log(config: Config) -> RoomLog:
    if config.store.url != "memory:":
        raise ConfigError(f"store.url: got {config.store.url!r}, takes memory: with nothing after it")
    return MemoryLog(config)


def _redis_log(config: Config) -> RoomLog:
    urls.address_of(config.store.url)  # what is wrong with it is said whether Redis's client is installed or not
    try:
        from aiochat.roomlog.redis import RedisLog  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"store.url: got Redis, and {error.name} is not installed: pip install 'aiochat-server[redis]'"
        ) from None
    return RedisLog(config)


_ENGINES: Final[dict[str, Callable[[Config], RoomLog]]] = {
    "memory": _memory_log,
    "sqlite": SqliteLog,
    **dict.fromkeys(urls.SCHEMES, _redis_log),
}


def make_log(config: Config) -> RoomLog:
    """The room log that `store.url` names, to be opened. Raises `ConfigError` for a URL that no engine takes."""
    scheme, colon, _ = config.store.url.partition(":")
    if not colon or scheme not in _ENGINES:
        schemes = ", ".join(f"{name}:" for name in _ENGINES)
        shown = urls.shown(config.store.url)
        raise ConfigError(f"store.url: got {shown!r}, takes a URL that begins with one of {schemes}")
    return _ENGINES[scheme](config)


def file_path(config: Config) -> Path | None:
    """The file that the messages are in, if they are in one."""
    return path_of(config.store.url) if config.store.url.startswith(SCHEME) else None


def data_path(config: Config) -> str:
    """Where the messages are, for people to read."""
    if config.store.url.startswith(urls.SCHEMES):
        return f"in Redis at {urls.address_of(config.store.url)}"
    return str(file_path(config) or "in memory, and gone when the server stops")
