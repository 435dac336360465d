"""What all tests share: a real server process, and text clients that talk to it."""

import signal
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from hypothesis import settings

from tests import redis_server
from tests.servers import Server, running

pytest_plugins = ["tests.browser", "tests.scripted", "tests.skips"]

_rooms = count(1)

# In the background of a shell SIGINT is ignored, and so it would be in the processes that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about the property.
settings.register_profile("aiochat", settings(), deadline=None)
settings.load_profile("aiochat")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server with the settings of default.toml."""
    async with running() as server:
        yield server


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.faults)], ids=["uvloop", "asyncio"])
def uvloop(request: pytest.FixtureRequest) -> bool:
    """Whether the server runs on uvloop; who asks for it runs on both loops, on that of asyncio with the slow tests."""
    return bool(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[Server]:
    """One server for all tests that each keep to a room of their own; they run on the session's loop."""
    async with running() as server:
        yield server


def pytest_unconfigure() -> None:
    """What tests have shared beyond the fixtures' reach ends with them."""
    redis_server.stop_shared()


@pytest.fixture
def room() -> str:
    """The name of a room that no other test is in."""
    return f"room-{next(_rooms)}"
