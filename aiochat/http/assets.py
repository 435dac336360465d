"""HTTP: the page and its files, read and compressed once, at the start.

The page refers to them at addresses that carry the hash of them all, so they are kept for ever and a new version is
fetched at once. At /web/NAME each is found too, for pages of other people.
"""

import gzip
import re
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import hdrs, web

_WEB: Final = Path(__file__).parent.parent / "web"
_PAGE: Final = "index.html"
_TYPES: Final = {  # what is not among them is not served
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".ts": "application/typescript; charset=utf-8",
}
# 'self' lets in a WebSocket to the same host and port (CSP level 3; Safari from 15.5 on).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_FOR_ANY_PAGE: Final = _ASK_AGAIN | {"Access-Control-Allow-Origin": "*"}
# RFC 9110 section 12.5.3: gzip is named, and not with the weight 0.
_TAKES_GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+\s*)?(?:,|$)", re.IGNORECASE)


class _Asset(NamedTuple):
    content_type: str
    body: bytes
    zipped: bytes  # as gzip
    tag: str


class Assets:
    """The page of one chat, whose WebSocket is at the path `websocket`."""

    def __init__(self, websocket: str, folder: Path = _WEB) -> None:
        files = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in _TYPES}
        self._version = _hash(b"\0".join(name.encode() + b"\0" + body for name, body in files.items()))
        page = files.pop(_PAGE).replace(b'"web/', b'"web/%s/' % self._version.encode())
        self._page = _asset(
            _PAGE, page.replace(b'data-websocket="ws"', b'data-websocket="%s"' % websocket[1:].encode())
        )
        self._files = {name: _asset(name, body) for name, body in files.items()}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """The page at `prefix`/, its files below `prefix`/web/."""
        return [
            web.get(prefix + "/", self.page),
            web.get(f"{prefix}/web/{self._version}/{{name}}", self.own_file),
            web.get(prefix + "/web/{name}", self.file),
        ]

    async def page(self, request: web.Request) -> web.Response:
        return _answer(request, self._page, _ASK_AGAIN)

    async def own_file(self, request: web.Request) -> web.Response:
        """A file at the address that the page has for it."""
        return _answer(request, self._named(request), _FOR_EVER)

    async def file(self, request: web.Request) -> web.Response:
        """A file at its lasting address."""
        return _answer(request, self._named(request), _FOR_ANY_PAGE)

    def _named(self, request: web.Request) -> _Asset:
        if asset := self._files.get(request.match_info["name"]):
            return asset
        raise web.HTTPNotFound


def _asset(name: str, body: bytes) -> _Asset:
    return _Asset(_TYPES[Path(name).suffix], body, gzip.compress(body, mtime=0), _hash(body))


def _hash(body: bytes) -> str:
    return sha256(body).hexdigest()[:16]


def _answer(request: web.Request, asset: _Asset, caching: dict[str, str]) -> web.Response:
    # Weak, for it stands for what is compressed too.
    headers = _HEADERS | caching | {hdrs.ETAG: f'W/"{asset.tag}"'}
    if any(tag.value in {asset.tag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = asset.content_type
    if not _TAKES_GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
        return web.Response(body=asset.body, headers=headers)
    return web.Response(body=asset.zipped, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})
