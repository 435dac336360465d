"""Logging: structlog through and through; the lines of aiohttp and asyncio in the same format, repetition cut short.

Called by `aiochat serve` alone: mounted in another application, the chat logs with whatever that has set up.
"""

import logging
import re
import sys
import time
from io import StringIO
from typing import Any, Final, TextIO

import structlog

from aiochat.config import Logging

_SAME_LINES: Final = 5  # of one kind, from aiohttp or asyncio or with a traceback, that pass within _SECONDS
_SECONDS: Final = 10.0
_KINDS: Final = 100  # remembered at once
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # and bidi; line ends may stay
_VARYING: Final = re.compile(r"0x[0-9a-f]+|[0-9]+")  # what differs between two lines of a kind


class _Repetition(logging.Filter):
    """Lets the first few lines of a kind pass, then one that says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = self._kind(record)
        if kind is None:
            return True
        now = time.monotonic()
        since, lines = self._kinds.get(kind, (now, 0))
        if now - since > _SECONDS:
            if lines > _SAME_LINES:
                self._tell(record, lines - _SAME_LINES)
            since, lines = now, 0
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = (since, lines + 1)
        return lines < _SAME_LINES

    def _kind(self, record: logging.LogRecord) -> tuple[str, str] | None:
        return (record.name, _VARYING.sub("", str(record.msg).partition("\n")[0]))

    def _tell(self, record: logging.LogRecord, left_out: int) -> None:
        record.msg = f"{record.msg} (and {left_out} more like it before)"


class _Tracebacks(_Repetition):
    """The same for our own lines with a traceback: who knows how to cause one must not fill the disk with it."""

    def _kind(self, record: logging.LogRecord) -> tuple[str, str] | None:
        line: Any = record.msg  # structlog's are dicts up to the formatter
        return (record.name, line["event"]) if isinstance(line, dict) and line.get("exc_info") else None

    def _tell(self, record: logging.LogRecord, left_out: int) -> None:
        line: Any = record.msg
        line["left_out"] = left_out


class _ClientFaults(logging.Filter):
    """A request that is no HTTP is one line without its traceback, which quotes the request and may hold a token."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if type(error).__module__ == "aiohttp.http_exceptions":
            record.msg, record.exc_info = f"{record.msg}: {type(error).__name__}", None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def set_up(settings: Logging, worker: int | None = None) -> None:
    """Format everything this process logs, to standard error; `worker` is which of several it is."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        shared.append(lambda logger, method, event: {**event, "worker": worker})
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.addFilter(_Tracebacks())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    repetition = _Repetition()
    for name in ("asyncio", "aiohttp.access", "aiohttp.server", "aiohttp.web", "aiohttp.websocket", "aiohttp_remotes"):
        logging.getLogger(name).addFilter(repetition)
    logging.getLogger("aiohttp.server").addFilter(_ClientFaults())


def _renderers(settings: Logging) -> list[Any]:
    if settings.format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty()
    return [_escaped, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20, exception_formatter=_traceback)]


def _escaped(logger: Any, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Whoever was the first to say it, nothing in a line drives a terminal."""
    return {key: _without_controls(value) if isinstance(value, str) else value for key, value in line.items()}


def _traceback(file: TextIO, error: structlog.typing.ExcInfo) -> None:
    """A plain one: where rich is installed, its own shows local variables, and with them what people say."""
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    file.write(_without_controls(plain.getvalue()))


def _without_controls(text: str) -> str:
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
