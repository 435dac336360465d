"""A chat in which nobody swears: such words are starred out, and too many of them are refused.

Run it with `python docs/examples/profanity_filter.py`, and open http://127.0.0.1:8080/chat/.
"""

import os
import re

from aiohttp import web

import aiochat

SWEARING = re.compile(r"\b(?:damn|blast|heck)\w*", re.IGNORECASE)
TOO_MUCH = 3

hooks = aiochat.Hooks()


@hooks.on_join
async def decent_names(client: aiochat.ClientInfo, room: str) -> None:
    if SWEARING.search(client.name or ""):
        raise aiochat.Refused("bad_name", "choose another name")


@hooks.on_publish
async def decent_words(client: aiochat.ClientInfo, message: aiochat.Publication) -> aiochat.Publication:
    text, words = SWEARING.subn(lambda found: "*" * len(found[0]), message.text or "")
    if words >= TOO_MUCH:
        raise aiochat.Refused("no_swearing", "say it politely")
    return message.replace(text=text) if words else message


def make_app() -> web.Application:
    app = web.Application()
    config = aiochat.load(flags={"store": {"url": "memory:"}})
    aiochat.setup(app, config, prefix="/chat", hooks=hooks)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
