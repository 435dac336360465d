"""An application that mounts the chat and sees whether it leaves the rest of the process alone; `python -m` runs it."""

import asyncio
import gc
import importlib
import logging
import signal
import sys
import threading
import warnings
from importlib.util import find_spec
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

_LOGGERS = (None, "asyncio", "aiohttp", "aiohttp.access", "aiohttp.server", "aiohttp.web", "py.warnings")


def state_of_the_process() -> dict[str, Any]:
    """What an application sets up for itself, and nobody else may."""
    loggers = map(logging.getLogger, _LOGGERS)
    return {
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "loggers": [(logger.level, logger.handlers[:], logger.filters[:], logger.disabled) for logger in loggers],
        "logger class": logging.getLoggerClass(),
        "structlog": (structlog.is_configured(), structlog.get_config()),
        "event loop": type(_new_loop()),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning),
        "garbage collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "metrics": _metrics(),
    }


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


def _metrics() -> set[str]:
    """The names in the registry that a whole process shares, where there is one."""
    if find_spec("prometheus_client") is None:
        return set()
    registry = importlib.import_module("prometheus_client").REGISTRY
    return {metric.name for metric in registry.collect()}


async def chat() -> dict[str, Any]:
    """Mount it, talk in it, end it; the state while it ran."""
    aiochat = importlib.import_module("aiochat")  # here, because its import is part of what may not be felt
    app = web.Application()
    config = aiochat.load(flags={"store": {"url": "memory:"}})
    mounted = aiochat.setup(app, config, prefix="/chat")
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.make_url("/chat/ws")) as socket,
    ):
        await mounted.publish("lobby", text="hello")
        assert await socket.receive_str() == "hello"
        return state_of_the_process()


async def main() -> None:
    """Compare before, meanwhile and after."""
    assert "aiochat" not in sys.modules
    before = state_of_the_process()
    meanwhile = await chat()
    for state in (meanwhile, state_of_the_process()):
        for name, was in before.items():
            assert state[name] == was, f"{name}: was {was}, is {state[name]}"


if __name__ == "__main__":
    asyncio.run(main())
