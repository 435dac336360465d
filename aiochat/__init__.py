"""aiochat: a chat server for people and programs. Follow one message through it:

    socket -> frames -> codec -> hub inbox -> HUB turn -> room log -> fan-out -> outbox -> socket

    cli           the `aiochat` command: serve | chat | loadtest | config
    serve         one process: signals, listener, logging
    app           builds the chat into an aiohttp application: start, drain, stop
    handlers      HTTP: the page, the upgrade, health
    connections   what all upgraded sockets share
    connection    one upgraded socket: the take-over, bytes in, batches out, close
    keepalive     one timer for all connections
    hub           the one coroutine that owns rooms and clients; commands: what each command does in its turn
    logqueue      what waits for the room log
    room  client  state only, no sockets
    roomlog/      what was said: the contract and its engines
    directory/    who is where: the names taken in each room
    codecs/       bytes to commands, events to bytes; outbox: what goes out to one client, within bounds
    frames  names  limits     WebSocket frames; what names are allowed; budgets
    messages      commands and events: frozen structs, nothing else
    config  memory  logs  errors
    terminal      `aiochat chat`
    loadtest/     the load generator and its report
    web/          the browser page

In your own application: `chat = aiochat.setup(app, prefix="/chat")`, then `await chat.publish("lobby", text="hi")`.
"""

from aiochat.app import Chat, setup
from aiochat.config import Config, load
from aiochat.errors import ConfigError, Reply, StartError

__version__ = "0.1.0"

__all__ = ["Chat", "Config", "ConfigError", "Reply", "StartError", "load", "setup"]
