"""The server under test as its URL names it: which address answers, and whether it speaks what the clients will."""

import base64
import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from aiochat.loadtest.scenario import CannotRun, Scenario

SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
SUBPROTOCOLS: Final = {"json": "aiochat.v1.json"}  # of the codecs that need one
ANSWER_SECONDS: Final = 10.0
SHOWN_CHARACTERS: Final = 40  # of what a stranger answered
_LEAVE_SECONDS: Final = 1.0
_LEAVE_READS: Final = 100  # in which the server should have answered a Close, however much it has to say
_DEFAULT_PATH: Final = "/ws"
_CLOSE: Final = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")  # RFC 6455, 5.5.1, masked
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_START: Final = "to start one: make run, or aiochat serve"


class Target(msgspec.Struct, frozen=True):
    """The server: its URL, and the address that answered, so that no client resolves a name.

    `others` are further nodes of the same chat.
    """

    url: str
    address: tuple[str, int]
    family: int
    others: tuple["Target", ...] = ()

    @property
    def nodes(self) -> "tuple[Target, ...]":
        """It, and the others."""
        return (self, *self.others)

    @property
    def shown(self) -> str:
        """The URLs as they may be printed."""
        return ", ".join(shown(node.url) for node in self.nodes)

    def room_url(self, room: str) -> str:
        """Of no room: the URL as it was given."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{room}" if room else parts.path
        return parts._replace(path=path).geturl()


def shown(text: str) -> str:
    """Without what may be secret in a URL in it: its query, and a password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", re.sub(r"(://[^?\s']*)\?[^\s']*", r"\1", text))


def find(url: str) -> Target:
    """The address of the URL that accepts a connection, or CannotRun. Without a path it is that of aiochat, /ws."""
    parts = _parts(url)
    port = parts.port or (443 if SCHEMES[parts.scheme] == "wss" else 80)
    path = parts.path if parts.path.strip("/") or (parts.path and parts.scheme in ("ws", "wss")) else _DEFAULT_PATH
    full = parts._replace(scheme=SCHEMES[parts.scheme], path=path, fragment="").geturl()
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=ANSWER_SECONDS) as probe:
            return Target(full, probe.getpeername()[:2], probe.family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotRun(f"there is no server at {shown(full)}: {reason} ({_START})") from None


def _parts(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in SCHEMES and parts.hostname and parts.port != 0:
            return parts
    raise CannotRun(f"--url is {url!r}; it takes ws://HOST:PORT/PATH, or wss://, http://, https://")


def trusting() -> ssl.SSLContext:
    """A load test meets certificates of one's own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check(target: Target, scenario: Scenario) -> None:
    """One handshake (RFC 6455, 4): CannotRun if there is something else, in words that say what.

    A server that chooses no subprotocol may be one that sends on what it gets: that can be measured, in its own way.
    """
    key, subprotocol = base64.b64encode(os.urandom(16)).decode(), SUBPROTOCOLS.get(scenario.codec)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    answer = _answer(target, headers | ({"Sec-WebSocket-Protocol": subprotocol} if subprotocol else {}))
    if answer.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
        said = f"it answers {answer.status} {answer.reason!r} instead of upgrading"
        raise CannotRun(f"{target.shown} is no WebSocket server, or not at this path: {said}")
    wanted = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()
    if answer.headers.get("Sec-WebSocket-Accept") != wanted:
        raise CannotRun(f"{target.shown} is no WebSocket server: its Sec-WebSocket-Accept is wrong")
    if subprotocol:
        _check_chosen(target, subprotocol, answer.headers.get("Sec-WebSocket-Protocol", ""), scenario.aiochat_only)


def _check_chosen(target: Target, subprotocol: str, chosen: str, needs: str) -> None:
    if chosen and chosen != subprotocol:
        raise CannotRun(f"{target.shown} speaks {chosen[:SHOWN_CHARACTERS]!r}, and the clients speak {subprotocol}")
    if needs and not chosen:
        remedy = "for other chat servers there is aiochat loadtest broadcast --set codec=text"
        raise CannotRun(f"{target.shown} does not speak {subprotocol}, which {needs} needs; {remedy}")


def _answer(target: Target, headers: dict[str, str]) -> http.client.HTTPResponse:
    parts = urlsplit(target.url)
    with contextlib.closing(_connection(parts)) as connection:
        try:
            connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
            answer = connection.getresponse()
        except TimeoutError:
            raise CannotRun(f"{target.shown} accepts a connection, but does not answer") from None
        except (OSError, http.client.HTTPException) as error:
            said = error.strerror if isinstance(error, ssl.SSLError) else repr(str(error))
            raise CannotRun(f"{target.shown} is no WebSocket server: it does not speak HTTP ({said})") from None
        if answer.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            _leave(connection.sock)
        return answer


def _leave(sock: socket.socket) -> None:
    """Politely: a simple server may stumble over a member of its room that is suddenly gone."""
    with contextlib.suppress(OSError):
        sock.settimeout(_LEAVE_SECONDS)
        sock.sendall(_CLOSE)
        for _ in range(_LEAVE_READS):
            if not sock.recv(1 << 16):
                return


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "wss":
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=trusting())
    return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
