"""A chat with a bot: it answers `!time` in the room where that is said, and programs can let it roll dice.

Run it with `python docs/examples/bot.py`, and open http://127.0.0.1:8080/chat/.
"""

import asyncio
import os
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

import aiochat


def make_app() -> web.Application:
    app = web.Application()
    hooks = aiochat.Hooks()
    config = aiochat.load(flags={"store": {"url": "memory:"}})
    chat = aiochat.setup(app, config, prefix="/chat", hooks=hooks)
    answers: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive

    async def say(room: str, text: str) -> None:
        with suppress(aiochat.Reply):  # the history does not take it now
            await chat.publish(room, text=text, name="clock")

    @hooks.on_publish
    async def listen(client: aiochat.ClientInfo, message: aiochat.Publication) -> None:
        if message.text == "!time":
            answer = asyncio.create_task(say(message.room, f"it is {datetime.now(UTC):%H:%M} UTC"))
            answers.add(answer)
            answer.add_done_callback(answers.discard)

    @hooks.method("roll")
    async def roll(client: aiochat.ClientInfo, data: Any) -> list[int]:
        if not isinstance(data, int) or not 1 <= data <= 100:
            raise aiochat.Refused("bad_dice", "I roll 1 to 100 dice")
        return [random.randint(1, 6) for _ in range(data)]

    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
