"""The Python client: a chat that stays, whatever happens to the connection.

    import asyncio

    import aiochat
    from aiochat.messages import Message
    from aiochat.sdk import CaughtUp

    async def main():
        async with aiochat.connect("ws://127.0.0.1:8080/ws", name="alice", rooms=["lobby"]) as chat:
            await chat.publish("lobby", "hello")
            async for event in chat:
                match event:
                    case Message(text="bye"):
                        break
                    case Message(sender=sender, text=text):
                        print(sender.name, text)
                        await chat.publish("lobby", "bye")
                    case CaughtUp(messages=count):
                        print("back again,", count, "missed")

    asyncio.run(main())

It reconnects by itself, resumes its session, catches up with each room and sends again what was not acknowledged: what
it publishes is in the room's log once, and what the log holds comes once and in order. A `Gap` tells of what the log
has not any more. Events are those of `aiochat.messages`, and `Connected`, `Disconnected` and `CaughtUp`.
"""

from collections.abc import Iterable
from typing import Final

import aiohttp
from yarl import URL

from aiochat.names import room_name
from aiochat.sdk.backoff import Backoff
from aiochat.sdk.client import ChatClient
from aiochat.sdk.events import CaughtUp, ChatClosed, ChatEvent, Connected, Disconnected, Interrupted
from aiochat.sdk.link import CODECS, URL_SHAPE
from aiochat.sdk.session import Options, Token

__all__ = [
    "Backoff",
    "CaughtUp",
    "ChatClient",
    "ChatClosed",
    "ChatEvent",
    "Connected",
    "Disconnected",
    "Interrupted",
    "connect",
]

_SCHEMES: Final = {"ws", "wss", "http", "https"}


def connect(  # noqa: PLR0913 - each has its default, and is given by name
    url: str | URL,
    *,
    name: str | None = None,
    rooms: str | Iterable[str] = (),
    codec: str = "json",
    token: Token = None,
    session: aiohttp.ClientSession | None = None,
    retry_seconds: float = 30.0,
    max_events: int = 1000,
    max_bytes: int = 4 << 20,
    max_unanswered: int = 64,
    backoff: Backoff | None = None,
) -> ChatClient:
    """A chat at the WebSocket `url`, to be opened with `async with`: it is in `rooms` then, under `name`.

    `codec` is `json` or `msgpack`. `token` shows who one is: a string, or a coroutine function that gives one for each
    connection. `session` is used, and not closed, if given.

    `retry_seconds` is for how long what the server refuses for now is asked again. Up to `max_events` and `max_bytes`
    wait to be taken; of what comes beyond them nothing is lost that is in a room log, since it is asked for later.
    `max_unanswered` is how many commands may be under way; who asks more waits.

    The first connection is tried once; `backoff` says how the client comes back after it. Raises `ValueError` for a
    codec that there is not and a URL that is none, `Reply` for a room's name that cannot be.
    """
    if codec not in CODECS:
        raise ValueError(f"codec: got {codec!r}, takes {' or '.join(map(repr, CODECS))}")
    where = _address(url)
    named = [where.query["room"]] if "room" in where.query else []
    wanted = [rooms] if isinstance(rooms, str) else [*rooms]
    options = Options(
        url=where.without_query_params("room", "name"),
        name=where.query.get("name") if name is None else name,
        rooms=tuple(dict.fromkeys(map(room_name, wanted or named))),
        codec=codec,
        token=token,
        session=session,
        retry_seconds=retry_seconds,
        max_events=max_events,
        max_bytes=max_bytes,
        max_unanswered=max_unanswered,
        backoff=backoff or Backoff(),
    )
    return ChatClient(options)


def _address(url: str | URL) -> URL:
    try:
        where = URL(url)
    except (ValueError, TypeError):
        where = URL()
    if where.scheme not in _SCHEMES or not where.host:
        raise ValueError(f"url: expected one like {URL_SHAPE}")
    return where
