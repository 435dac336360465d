"""aiochat: a chat server for people and programs. Follow one message through it:

    socket -> frames -> codec -> hub inbox -> HUB turn -> room log -> fan-out -> outbox -> socket

    cli           the `aiochat` command; remote/: what it asks of a running server; durations: 1h, 15m
    serve         one process: signals, listener, logging; announcement: where it is
    workers/      several of them on one port: their parent, and what it shares with them
    app           builds the chat into an aiohttp application: start, drain, stop
    http/         handlers: the upgrade; admission and origins: who may come in; the page, health, proxies, request ids
    auth/         who somebody is and what it may do: access tokens and their keys, rights, rules of rooms, sessions
    limits/       what one client may use: budgets and shares, strikes, bans
    hooks/        the functions of the embedding application, and what waits for them; publishing: what it says itself
    api/          the HTTP API, and what it does to the chat
    connections   what all upgraded sockets share
    takeover      of the socket, from aiohttp; connection: one upgraded socket: bytes in, batches out, close
    keepalive     one timer for all connections
    hub           the one coroutine that owns rooms and clients
    inbox         what waits for the next turn; commands: what each command does in it
    joining       how a client comes into a room and catches up; greeting: how its session begins and goes on
    logqueue      what waits for the room log; fanout: what it answers, to everybody
    room  client  state only, no sockets; tail: the newest entries of a room; presence: who came and went; listing
    roomlog/      what was said: the contract and its engines; following: what comes of a log that nodes share
    directory/    who is where: the names taken in each room; cluster/: all of it, over many nodes
    codecs/       bytes to commands, events to bytes; frames: of a WebSocket; names: which are allowed
    batches       events to bytes for one write; outbox: what goes out to one client, within bounds
    messages/     commands and events: frozen structs, nothing else; schema: their description for docs/protocol.md
    config  settings  memory  errors
    monitoring/   metrics, log, lag, supervision
    sdk/          the Python client; terminal/: `aiochat chat`, on it
    loadtest/     the load generator and its report
    web/          the browser page

In your own application: `chat = aiochat.setup(app, prefix="/chat")`, then `await chat.publish("lobby", text="hi")`.
As its client: `async with aiochat.connect("ws://127.0.0.1:8080/ws", name="alice", rooms=["lobby"]) as chat: ...`
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiochat.app import Chat, setup
    from aiochat.auth.identity import Identity
    from aiochat.config import Config, load
    from aiochat.errors import ConfigError, Reply, StartError
    from aiochat.hooks.onconnect import IDENTITY
    from aiochat.hooks.registry import ClientInfo, Hooks, Publication, Refused
    from aiochat.sdk import connect

__version__ = "0.1.0"

__all__ = [
    "IDENTITY",
    "Chat",
    "ClientInfo",
    "Config",
    "ConfigError",
    "Hooks",
    "Identity",
    "Publication",
    "Refused",
    "Reply",
    "StartError",
    "connect",
    "load",
    "setup",
]

# Imported when first used: who only connects, and the room log's process, need no server.
_HOMES = {
    "Chat": "app",
    "Config": "config",
    "ClientInfo": "hooks.registry",
    "ConfigError": "errors",
    "Hooks": "hooks.registry",
    "IDENTITY": "hooks.onconnect",
    "Identity": "auth.identity",
    "Publication": "hooks.registry",
    "Refused": "hooks.registry",
    "Reply": "errors",
    "StartError": "errors",
    "connect": "sdk",
    "load": "config",
    "setup": "app",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
