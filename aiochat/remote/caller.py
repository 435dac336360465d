"""Calls to the HTTP API of a running server; what goes wrong is one line that says what to do."""

import json
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from aiochat.config import Config
from aiochat.errors import StartError

_TIMEOUT_SECONDS: Final = 15.0
_EVERYWHERE: Final = ("", "0.0.0.0", "::", "localhost")
_TOKEN: Final = "AIOCHAT_SECURITY__ADMIN_TOKEN"


class Caller:
    """Follows no redirect, so that the token goes nowhere else."""

    def __init__(self, config: Config, url: str | None) -> None:
        self.url = _url_of(config) if url is None else url.rstrip("/")
        self._token = config.security.admin_token
        if not self._token:
            raise StartError(f"there is no admin token: set {_TOKEN}, or security.admin_token in the file of --config")

    def call(self, method: str, *path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """What the API answers. Raises `StartError`."""
        parts = urlsplit(self.url)
        where = f"{parts.path}/api/v1/{'/'.join(quote(name, safe='') for name in path)}"
        given = {name: value for name, value in (query or {}).items() if value}
        sent = None if body is None else json.dumps(body).encode()
        connection = _connection(self.url)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, f"{where}?{urlencode(given)}" if given else where, sent, headers)
            response = connection.getresponse()
            return self._read(response.status, response.read())
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StartError(
                f"{self.url} does not answer: {reason}; is it the server's --url, and does it run?"
            ) from None
        finally:
            connection.close()

    def pages(self, name: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """All of a list, page by page."""
        cursor = ""
        while True:
            page = self.call("GET", name, query={**(query or {}), "limit": "300", "cursor": cursor})
            yield from page[name]
            cursor = page.get("cursor", "")
            if not cursor:
                return

    def _read(self, status: int, body: bytes) -> Any:
        try:
            said = json.loads(body) if body else {}
        except ValueError:
            said = None
        if status < 300 and isinstance(said, dict):
            return said
        if isinstance(said, dict) and "reason" in said:
            raise StartError(_refusal(self.url, said))
        if status == 404:
            raise StartError(
                f"{self.url} has no HTTP API: it is there once the server has security.admin_token, and then on"
                " server.internal_port if that is set"
            )
        raise StartError(f"{self.url} is no aiochat server: it answers with HTTP {status}; see --url")


def _refusal(url: str, said: Mapping[str, Any]) -> str:
    if said.get("code") == "unauthorized":
        return f"{url} has another admin token: see {_TOKEN} and security.admin_token"
    field = f"{said['field']}: " if said.get("field") else ""
    return f"{field}{said['reason']}"


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host:
        raise StartError(f"--url: got {url!r}, takes such as http://127.0.0.1:8080 or https://chat.example/chat")
    if parts.scheme == "http":
        return HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    return HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())


def _url_of(config: Config) -> str:
    """The server that has these settings, on this machine."""
    server = config.server
    host = "127.0.0.1" if server.host in _EVERYWHERE else server.host
    scheme = "https" if server.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.internal_port or server.port}"
