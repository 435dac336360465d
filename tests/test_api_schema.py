"""The API is as its description says: schemathesis asks for what is described, and for what is not."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from aiochat.api.openapi import STATUSES, description
from aiochat.api.operations import OPERATIONS
from tests.apis import TOKEN, administered
from tests.servers import Server

SETTINGS = Path(__file__).with_name("schemathesis.toml")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    """One for both."""
    async with administered() as (server, _):
        yield server


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    ("phase", "examples"),
    [("coverage", 1), pytest.param("fuzzing", 30, marks=pytest.mark.faults)],
    ids=["each rule at its border", "at random"],
)
async def test_the_api_is_as_described(server: Server, tmp_path: Path, phase: str, examples: int) -> None:
    """Status, type, headers and content of each answer; what is malformed, unauthorized or another method refused."""
    schemathesis = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(SETTINGS), "run", f"{server.base_url}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--phases", phase, "--max-examples", str(examples)),
        *("--seed", "1", "--no-shrink", "--continue-on-failure"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await schemathesis.communicate())[0].decode()
    assert schemathesis.returncode == 0, said
    assert f"Tested: {len(OPERATIONS)}\n" in said


def test_every_refusal_is_described_with_its_status() -> None:
    """And every operation with what it does."""
    described = json.loads(description("/chat"))
    assert described["servers"] == [{"url": "/chat/api/v1"}]
    for operation in OPERATIONS:
        said = described["paths"][f"/{operation.path}"][operation.method.lower()]
        assert (said["operationId"], bool(said["summary"])) == (operation.name, True)
        for code in operation.errors:
            assert code in said["responses"][str(STATUSES[code])]["description"]
