"""Looks at every log line of every server that a test runs for what must be in none: tokens, and what people said."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

_TOKENS: Final = (
    re.compile(r"eyJ[\w-]{6,}\.[\w-]{6,}"),  # a JWT's header and claims
    re.compile(r"\bbearer[. ]+[\w-]{6,}", re.IGNORECASE),
    re.compile(r"\btoken=[\w%.-]", re.IGNORECASE),
)
_FEWEST_CHARACTERS: Final = 12  # in what is shorter a log line may be right by chance
_MOST_TEXTS: Final = 1000  # of one server

_said: Final[defaultdict[int, dict[str, None]]] = defaultdict(dict)


def note(port: int, text: str) -> None:
    """A client has said this to the server at the port."""
    texts = _said[port]
    if len(text) >= _FEWEST_CHARACTERS and len(texts) < _MOST_TEXTS:
        texts[text] = None


def note_command(port: int, command: Any) -> None:
    """A client has sent this command to the server at the port."""
    for field in ("text", "token"):
        if isinstance(command, dict) and isinstance(command.get(field), str):
            note(port, command[field])


def texts_of(port: int) -> list[str]:
    """What was said to it; from now on it is another server's port."""
    return list(_said.pop(port, ()))


def leaks(log: str, texts: Iterable[str]) -> list[str]:
    """What stands in a log that must not: each in the words of the log, as far as they go."""
    found = [match[0] for pattern in _TOKENS for match in pattern.finditer(log)]
    return found + [text for text in texts if text in log or json.dumps(text)[1:-1] in log]
