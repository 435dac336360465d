"""docs/api.md: its examples work as they stand there, and there is one for everything that the API can do."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from aiochat.api.openapi import STATUSES
from aiochat.api.operations import OPERATIONS
from tests.apis import TOKEN, administered
from tests.minted import OPTIONAL, minted
from tests.programs import program

DOCUMENT = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^curl .*$", DOCUMENT, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_examples_work() -> None:
    """One after the other in a shell, against a server with a client of each kind that they speak of."""
    token = {"Authorization": f"Bearer {minted('alice')}"}
    async with administered(**OPTIONAL) as (server, _), program(server, "lobby", headers=token) as alice:
        variables = {"API": f"{server.base_url}/api/v1", "AUTH": f"Authorization: Bearer {TOKEN}"}
        script = "\n".join(example.replace("curl ", "curl --fail-with-body -sS ") for example in EXAMPLES)
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", script),
            env={**os.environ, **variables, "CLIENT": alice.client},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await shell.communicate())[0].decode()
        assert shell.returncode == 0, said


def test_there_is_an_example_of_everything() -> None:
    """And every refusal is named."""
    done = [(re.search(r" -X (\w+)", line), " -d " in line, re.search(r'"\$API/([^"?]+)', line)) for line in EXAMPLES]
    asked = {(method[1] if method else "POST" if is_post else "GET", path[1]) for method, is_post, path in done if path}
    for operation in OPERATIONS:
        pattern = re.sub(r"{\w+}", "[^/]+", operation.path)
        assert any(method == operation.method and re.fullmatch(pattern, path) for method, path in asked), operation
    for code, status in STATUSES.items():
        assert f"`{code}`" in DOCUMENT or code == "internal_error", (code, status)
