"""What all tests share: a real server process, and text clients that talk to it."""

from collections.abc import AsyncIterator

import pytest

from tests.servers import Server, running

pytest_plugins = ["tests.skips"]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server with the settings of default.toml."""
    async with running() as server:
        yield server


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def uvloop(request: pytest.FixtureRequest) -> bool:
    """Whether the server runs on uvloop; a test that asks for it runs on both loops."""
    return bool(request.param)
