"""A link that dies without a word: no reset, no end, no packet any more."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults


@pytest.fixture
def namespace() -> list[str]:
    """What begins a command line that runs on a network of its own."""
    command = ["unshare", "--map-root-user", "--net"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("nobody may make a network namespace here")
    return command


async def test_who_is_behind_a_dead_link_goes_and_comes_back(namespace: list[str], uvloop: bool) -> None:
    """All are called silent and their sockets are freed; with the link they are back and have missed nothing."""
    process = await asyncio.create_subprocess_exec(
        *(*namespace, sys.executable, "-m", "tests.dead_link", "uvloop" if uvloop else "asyncio"),
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
