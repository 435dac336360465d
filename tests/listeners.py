"""Clients in a process of their own: `python -m tests.listeners URL COUNT`, through aiochat.connect.

It prints "here" once all are in the lobby. Each listens until it hears "the end"; then it prints, as JSON, a list for
each client of all that it heard, null in the place of a gap.
"""

import asyncio
import json
import sys

import aiochat
from aiochat.messages import Gap, Message
from aiochat.sdk import Backoff, ChatClient

SOON = Backoff(shortest_seconds=0.05, longest_seconds=0.5)


async def _listen(chat: ChatClient) -> list[str | None]:
    heard: list[str | None] = []
    async for event in chat:
        if isinstance(event, Message):
            heard.append(event.text)
            if event.text == "the end":
                break
        elif isinstance(event, Gap):
            heard.append(None)
    await chat.close()
    return heard


async def _main(url: str, count: int) -> None:
    chats = [aiochat.connect(url, rooms=["lobby"], backoff=SOON) for _ in range(count)]
    await asyncio.gather(*(chat.open() for chat in chats))
    _say("here")
    _say(json.dumps(await asyncio.gather(*map(_listen, chats))))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
