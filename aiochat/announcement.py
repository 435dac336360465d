"""Says where the chat is, on standard output: it is for people, not for the log."""

import sys

from aiochat.config import Config
from aiochat.roomlog.engines import data_path


def announce(config: Config, port: int) -> None:
    """`port` is the one that it listens on."""
    server = config.server
    tls = "s" if server.tls_certificate else ""
    host = server.host if server.host not in ("", "0.0.0.0", "::", "localhost") else "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    print(f"aiochat is at  http{tls}://{host}:{port}/  in a browser")
    print(f"or in a shell  wscat -c ws{tls}://{host}:{port}{server.path}")
    for internal in range(server.internal_port, server.internal_port + server.workers) if server.internal_port else ():
        print(f"its metrics at http{tls}://{host}:{internal}/metrics")
    print(f"its data is    {data_path(config)}")
    if server.workers > 1:
        print(f"its workers    {server.workers} processes")
    sys.stdout.flush()
