"""aiochat: a chat server for people and programs. Follow one message through it:

    socket -> frames -> codec -> hub inbox -> HUB turn -> room log -> fan-out -> outbox -> socket

    cli           the `aiochat` command; remote/: what it asks of a running server; durations: 1h, 15m
    serve         one process: signals, listener, logging; proxies: whom a request is from; systemd; announcement
    workers/      several of them on one port: their parent, and what it shares with them
    handshakes    the connections that are no WebSocket (yet)
    app           builds the chat into an aiohttp application: start, drain, stop
    handlers      HTTP: the upgrade and health; admission, origins: who may come in; assets: the page and its files
    health        alive? ready?  metrics: for Prometheus  supervision: what must not die
    connections   what all upgraded sockets share
    takeover      of the socket, from aiohttp; connection: one upgraded socket: bytes in, batches out, close
    keepalive     one timer for all connections; lag: how late it comes
    hub           the one coroutine that owns rooms and clients
    inbox         what waits for the next turn; commands: what each command does in it
    guard         rates, strikes and bans; shares: what clients of a user or an address have together; tally: in the log
    joining       how a client comes into a room and catches up; greeting: how its session begins and goes on
    hooks         what the embedding application decides; onconnect: who comes in; application: what the hub asks it
    hookqueue     what waits for its answers; verdicts: what it made of messages that are said again
    publishing    what it says itself
    api/          the HTTP API; administration: what it does to the chat; requests: the id of each request
    logqueue      what waits for the room log; fanout: what it answers, to everybody
    following     which rooms this node hears of, in a log that it shares with others
    room  client  state only, no sockets; tail: the newest entries of a room; presence: who came and went
    tokens        who the access token says a client is; keys: what it is checked with; minting: `aiochat token`
    rules         what holds in each room; access: the end of a token, and its refresh
    sessions      the signed tokens to resume with
    roomlog/      what was said: the contract and its engines
    directory/    who is where: the names taken in each room
    cluster/      who is where over many nodes; listing: who and what is on this one
    codecs/       bytes to commands, events to bytes
    batches       events to bytes for one write; outbox: what goes out to one client, within bounds
    frames  names  limits  addresses  identity   WebSocket frames; what names are allowed; budgets; who a client is
    messages/     commands and events: frozen structs, nothing else; schema: their description for docs/protocol.md
    config  settings  memory  logs  counts  errors
    sdk/          the Python client; terminal: `aiochat chat`, on it
    loadtest/     the load generator and its report
    web/          the browser page

In your own application: `chat = aiochat.setup(app, prefix="/chat")`, then `await chat.publish("lobby", text="hi")`.
As its client: `async with aiochat.connect("ws://127.0.0.1:8080/ws", name="alice", rooms=["lobby"]) as chat: ...`
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiochat.app import Chat, setup
    from aiochat.config import Config, load
    from aiochat.errors import ConfigError, Reply, StartError
    from aiochat.hooks import ClientInfo, Hooks, Publication, Refused
    from aiochat.identity import Identity
    from aiochat.onconnect import IDENTITY
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
    "ClientInfo": "hooks",
    "ConfigError": "errors",
    "Hooks": "hooks",
    "IDENTITY": "onconnect",
    "Identity": "identity",
    "Publication": "hooks",
    "Refused": "hooks",
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
