"""Which browser pages may connect. An origin is scheme, host and port (RFC 6454), and is compared whole."""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final, NamedTuple

import structlog
from yarl import URL

ANY: Final = "*"
SAME_ORIGIN: Final = "same-origin"

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_INSTEAD_OF: Final = {"http": "http", "ws": "http"}  # what a page has whose WebSocket has the scheme; else https
_SHAPE: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_REMEMBERED: Final = 100  # refused origins, each logged once

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Origin(NamedTuple):
    """In lower case; `port` is absent where it is the scheme's own."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port is not None else "")


def parse_origin(text: str) -> Origin | None:
    """The origin that `text` is, as browsers write one (RFC 6454 section 6.2); None where it is none."""
    parts = _SHAPE.fullmatch(text)
    if parts is None:
        return None
    scheme, host = parts["scheme"].lower(), parts["host"].lower()
    if host[0] == "[":
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    port = int(parts["port"]) if parts["port"] else None
    if port is not None and port > 65535:
        return None
    return Origin(scheme, host, None if port == _DEFAULT_PORTS.get(scheme) else port)


def allowed_origin(entry: str) -> str:
    """An entry of `security.allowed_origins`, in the one form it has. Raises `ValueError` with a right one."""
    if entry in {ANY, SAME_ORIGIN}:
        return entry
    origin = parse_origin(entry)
    if origin is None:
        meant = _meant_by(entry) or "https://chat.example"
        raise ValueError(f'"{SAME_ORIGIN}", "{ANY}" or scheme, host and port of a page, such as "{meant}"')
    return str(origin)


def _meant_by(entry: str) -> Origin | None:
    """Without its path, with a scheme, and in ASCII, as browsers send a name of other letters."""
    scheme, _, rest = entry.strip().rpartition("://")
    if not scheme and "." not in rest:
        return None
    try:
        return parse_origin(str(URL(f"{_INSTEAD_OF.get(scheme.lower(), 'https')}://{rest}").origin()))
    except ValueError:
        return None


class Origins:
    """Those of `security.allowed_origins`."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = tuple(entries)
        self._listed = frozenset(map(parse_origin, self._entries)) - {None}
        self._refused: set[str] = set()

    def allow(self, header: str, host: str) -> bool:
        """Whether a page of the origin in `header` may connect to `host`, what the client took us for."""
        if ANY in self._entries:
            return True
        origin = parse_origin(header)
        if origin is not None and (origin in self._listed or self._is_same(origin, host)):
            return True
        self._log_refused(origin, header)
        return False

    def _is_same(self, origin: Origin, host: str) -> bool:
        """Host and port alone: behind a proxy that ends TLS, the scheme here is not the page's."""
        return (
            SAME_ORIGIN in self._entries
            and origin.scheme in _DEFAULT_PORTS
            and parse_origin(f"{origin.scheme}://{host}") == origin
        )

    def _log_refused(self, origin: Origin | None, header: str) -> None:
        """Once for each, and never in the client's own words."""
        name = str(origin) if origin else "null" if header == "null" else "unreadable"
        if name in self._refused or len(self._refused) >= _REMEMBERED:
            return
        self._refused.add(name)
        entries = ", ".join(f'"{entry}"' for entry in (*self._entries, name))
        remedy = f"security.allowed_origins = [{entries}]" if origin else "none: such a page has no origin to allow"
        _log.warning("origin_refused", origin=name, remedy=remedy)
        if len(self._refused) == _REMEMBERED:
            _log.warning("origins_refused", count=_REMEMBERED, reason="further ones are not logged")
