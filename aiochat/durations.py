"""A time as people write it in a command: 90s, 15m, 8h or 7d."""

import re
from typing import Final

from aiochat.errors import ConfigError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str, flag: str) -> int:
    """Raises `ConfigError` that names the flag."""
    duration = re.fullmatch(r"([1-9]\d{0,8})([smhd])", text, re.ASCII)
    if not duration:
        raise ConfigError(f"{flag}: got {text!r}, takes a time such as 90s, 15m, 8h or 7d")
    return int(duration[1]) * _UNITS[duration[2]]
