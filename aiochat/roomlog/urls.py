"""`store.url` for Redis: where it is and how to get in, checked before anything is connected; no password is shown."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from aiochat.errors import ConfigError

_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<username>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_FORMS: Final = (
    "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], unix://[USER:PASSWORD@]/PATH[?db=DATABASE], or"
    " redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/MASTER[/DATABASE][?sentinel_password=PASSWORD];"
    " with rediss for TLS, and [?ssl_ca_certs=FILE]"
)
_TLS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SENTINEL: Final = frozenset({"sentinel_username", "sentinel_password"})
_SECRET: Final = re.compile(r"(?<=[?&])((?!db=|ssl_)[^=&]*)=[^&]*")  # what is shown of no query
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Of a server's hosts the first and only one, of Sentinels all; of neither, the path of a unix socket."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    master: str | None = None
    username: str | None
    password: str | None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    database: int
    is_tls: bool = False
    tls_files: Mapping[str, str] = {}  # by the names that they have in the URL and in redis-py

    def __repr__(self) -> str:
        return f"Address({self})"

    def __str__(self) -> str:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        where = hosts if self.master is None else f"{hosts}/{self.master}"
        return self.path if self.path is not None else where


def address_of(url: str) -> Address:
    """What a `store.url` names. Raises `ConfigError`, which does not repeat what may be a password."""
    found = _URL.fullmatch(url)
    try:
        if found is None or found["scheme"] not in SCHEMES:
            raise ValueError
        return (_at_path if found["scheme"] == "unix" else _at_hosts)(found, _query(found["query"] or ""))
    except ValueError:
        raise ConfigError(f"store.url: got {shown(url)!r}, takes {_FORMS}") from None


def _query(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split("&")] if text else []
    query = {name: unquote(value) for name, _, value in pairs if value}
    if len(query) < len(pairs):
        raise ValueError
    return query


def _at_path(found: re.Match[str], query: dict[str, str]) -> Address:
    path, database = unquote(found["path"] or ""), _number(query.pop("db", "0"))
    if found["hosts"] or len(path) < 2 or query:
        raise ValueError
    return Address(path=path, database=database, username=_part(found["username"]), password=_part(found["password"]))


def _at_hosts(found: re.Match[str], query: dict[str, str]) -> Address:
    is_tls, is_sentinel = found["scheme"].startswith("rediss"), found["scheme"].endswith("+sentinel")
    hosts = tuple(_host(text, _SENTINEL_PORT if is_sentinel else _PORT) for text in found["hosts"].split(","))
    parts = unquote(found["path"] or "").removeprefix("/").split("/")
    master = parts.pop(0) if is_sentinel else None
    database = _number("".join(parts[:1]) or "0")
    takes = (_TLS if is_tls else frozenset()) | (_SENTINEL if is_sentinel else frozenset())
    if len(parts) > 1 or not query.keys() <= takes or (not master if is_sentinel else len(hosts) > 1):
        raise ValueError
    if "ssl_keyfile" in query and "ssl_certfile" not in query:
        raise ValueError
    return Address(
        hosts=hosts,
        master=master,
        username=_part(found["username"]),
        password=_part(found["password"]),
        sentinel_username=query.get("sentinel_username"),
        sentinel_password=query.get("sentinel_password"),
        database=database,
        is_tls=is_tls,
        tls_files={name: file for name, file in query.items() if name in _TLS},
    )


def _part(text: str | None) -> str | None:
    return unquote(text) if text else None


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 1 << 16:
        raise ValueError
    return found["host"].strip("[]"), int(found["port"] or port)


def _number(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text) is None:
        raise ValueError
    return int(text)


def shown(url: str) -> str:
    """The URL without what may be a password in it."""
    scheme, colon, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    if "?" in before:  # of a password, or before one
        return f"{scheme}{colon}***"
    return _SECRET.sub(r"\1=***", f"{scheme}{colon}***@{after}" if at and before else url)
