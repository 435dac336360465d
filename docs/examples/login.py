"""A chat for those who have logged in to the site around it, with a cookie.

Run it with `python docs/examples/login.py`, and open http://127.0.0.1:8080/.
"""

import os
import secrets

from aiohttp import web

import aiochat

PAGE = '<form method="post" action="/login"><input name="user" placeholder="your name" required><button>Log in</button>'

sessions: dict[str, str] = {}  # a real site has aiohttp-session, and a password
hooks = aiochat.Hooks()


@hooks.on_connect
async def who_is_it(request: web.Request) -> aiochat.Identity:
    user = sessions.get(request.cookies.get("session", ""))
    if user is None:
        raise aiochat.Refused("unauthorized", "log in first", close=4401)
    return aiochat.Identity(user=user, rooms=("lobby",), join=("lobby", f"{user}:*"))


async def form(request: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def login(request: web.Request) -> web.Response:
    session = secrets.token_urlsafe()
    sessions[session] = str((await request.post())["user"])
    there = web.HTTPSeeOther("/chat/")
    there.set_cookie("session", session, httponly=True, samesite="Lax")
    raise there


def make_app() -> web.Application:
    app = web.Application()
    app.add_routes([web.get("/", form), web.post("/login", login)])
    config = aiochat.load(flags={"store": {"url": "memory:"}})
    aiochat.setup(app, config, prefix="/chat", hooks=hooks)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
