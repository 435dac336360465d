"""`aiochat chat`, on the Python client: a prompt in a terminal; lines in and lines out in a pipe."""

import asyncio
import os
import sys


def chat(url: str, room: str, name: str | None, token: str | None = None) -> int:
    """Chat until the end of input, `/quit` or a Close of the server. Raises `StartError` where there is no chat."""
    from aiochat.terminal.talk import talk

    if sys.stdin.isatty() and sys.stdout.isatty():
        from aiochat.terminal.screen import Screen

        return asyncio.run(talk(url, room, name, Screen, token))
    from aiochat.terminal.pipe import Pipe

    try:
        return asyncio.run(talk(url, room, name, Pipe, token))
    except BrokenPipeError:  # who reads has had enough; nor is there anybody to flush the rest to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
