"""Servers that are cut from Redis by their network: packets vanish, and nobody is told."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import redis_server

# Whatever is made in them, processes too, goes with the first process.
_NAMESPACES = ("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_PROBE = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add one && ip link add two type bridge"


@pytest.fixture
def namespaces() -> tuple[str, ...]:
    """What begins a command line that runs on a machine of its own, as far as the network goes."""
    if redis_server.PROGRAM is None:
        pytest.skip("needs redis-server")
    command = (*_NAMESPACES, "sh", "-c", _PROBE)
    if (
        shutil.which("unshare") is None
        or shutil.which("ip") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("nobody may make network namespaces here")
    return _NAMESPACES


@pytest.mark.faults
@pytest.mark.timeout(150)
async def test_servers_are_cut_from_redis_and_joined_again(namespaces: tuple[str, ...]) -> None:
    """Both, then one alone: nothing acknowledged is lost or there twice, connections stay, all agree afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(*namespaces, sys.executable, "-m", "tests.cut_network"),
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
