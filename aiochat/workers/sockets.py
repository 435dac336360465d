"""The sockets that workers listen on. The parent opens and keeps them: a port in use is known before anything starts,
port 0 is one port for all, and who connects while a worker is started again waits for it.
"""

import errno
import socket
import sys
from typing import Final

from aiochat.config import Config
from aiochat.errors import StartError

# Linux spreads connections over sockets with SO_REUSEPORT. macOS does not: there all workers accept from one socket.
_SPREADS: Final = sys.platform == "linux"
_LACKING: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_ATTEMPTS: Final = 10  # at a port that is free on all addresses


class Sockets:
    """Those of all workers, bound. Raises `StartError`."""

    def __init__(self, config: Config) -> None:
        server = config.server
        self.opened: list[socket.socket] = []
        self._internal: list[list[socket.socket]] = []
        try:
            # Alone on the port first, for with SO_REUSEPORT a second server of this user would be let in.
            first = self._bound(server.host, server.port)
            self.port = int(first[0].getsockname()[1])
            self._public = [first] * server.workers if not _SPREADS else self._spread(first, config)
            if server.internal_port:
                for number in range(server.workers):
                    self._internal.append(self._bound(server.host, server.internal_port + number))
        except StartError:
            self.close()
            raise

    def of(self, number: int) -> list[list[socket.socket]]:
        """Those of a worker, counted from 0: of server.port, and of its internal port if there is one."""
        return [self._public[number], *self._internal[number : number + 1]]

    def close(self) -> None:
        for opened in self.opened:
            opened.close()

    def _spread(self, first: list[socket.socket], config: Config) -> list[list[socket.socket]]:
        for opened in first:
            opened.close()
        server = config.server
        return [self._bound(server.host, self.port, reuse_port=True) for _ in range(server.workers)]

    def _bound(self, host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
        for attempt in range(_ATTEMPTS):
            try:
                bound = _bind(host, port, reuse_port=reuse_port)
            except OSError as error:
                if port or error.errno != errno.EADDRINUSE or attempt + 1 == _ATTEMPTS:
                    raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from None
            else:
                break
        self.opened += bound
        return bound


def _bind(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """One for each address of `host`, all on one port; those that this machine lacks, as without IPv6, are left out."""
    bound: list[socket.socket] = []
    lacking: OSError | None = None
    addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(addresses):
        try:
            bound.append(_bind_one(family, (address[0], port, *address[2:]), reuse_port=reuse_port))
        except OSError as error:
            lacking = error
            if error.errno not in _LACKING:
                break
        else:
            port = bound[0].getsockname()[1]
    if lacking is not None and (not bound or lacking.errno not in _LACKING):
        for opened in bound:
            opened.close()
        raise lacking
    return bound


def _bind_one(family: int, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened
