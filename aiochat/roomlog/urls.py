"""`store.url` for Redis: where it is and how to get in, checked before anything is connected; no password is shown."""

import re
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

from aiochat.errors import ConfigError

_URL: Final = re.compile(
    r"(?P<scheme>[a-z+]+)://(?:(?P<username>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_FORMS: Final = (
    "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS, unix://[USER:PASSWORD@]/PATH[?db=DATABASE],"
    " or redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]/MASTER[/DATABASE]"
)
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class Address(msgspec.Struct, frozen=True):
    """Of a server's hosts the first and only one, of Sentinels all; of neither, the path of a unix socket."""

    hosts: tuple[tuple[str, int], ...]
    path: str | None
    master: str | None
    username: str | None
    password: str | None
    database: int
    is_tls: bool

    def __repr__(self) -> str:
        return f"Address({self})"

    def __str__(self) -> str:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        where = hosts if self.master is None else f"{hosts}/{self.master}"
        return self.path if self.path is not None else where


def address_of(url: str) -> Address:
    """What a `store.url` names. Raises `ConfigError`, which does not repeat what may be a password."""
    found = _URL.fullmatch(url)
    if found is None or found["scheme"] not in SCHEMES:
        raise _refused(url)
    scheme, path = found["scheme"], unquote(found["path"] or "")
    query = parse_qs(found["query"] or "", keep_blank_values=True)
    username, password = (unquote(found[name]) or None if found[name] else None for name in ("username", "password"))
    if scheme == "unix":
        database = query.pop("db", ["0"])[-1]
        if found["hosts"] or len(path) < 2 or query or not _is_number(database):
            raise _refused(url)
        return Address((), path, None, username, password, int(database), is_tls=False)
    is_sentinel = scheme.endswith("+sentinel")
    hosts = tuple(_host(url, text, _SENTINEL_PORT if is_sentinel else _PORT) for text in found["hosts"].split(","))
    parts = path.removeprefix("/").split("/") if path not in {"", "/"} else []
    master = parts.pop(0) if is_sentinel and parts else None
    database = parts.pop(0) if parts else "0"
    if query or parts or not _is_number(database) or (not master if is_sentinel else len(hosts) > 1):
        raise _refused(url)
    return Address(hosts, None, master, username, password, int(database), is_tls=scheme.startswith("rediss"))


def _host(url: str, text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 1 << 16:
        raise _refused(url)
    return found["host"].strip("[]"), int(found["port"] or port)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,6}", text) is not None


def _refused(url: str) -> ConfigError:
    return ConfigError(f"store.url: got {shown(url)!r}, takes {_FORMS}")


def shown(url: str) -> str:
    """The URL without what may be a password in it."""
    scheme, colon, rest = url.partition("://")
    before, at, after = rest.rpartition("@")
    return f"{scheme}{colon}***@{after}" if at and before else url
