"""`aiochat rooms | clients | say | kick | ban | unban`: what an operator types, and reads when it does not work."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import pytest_asyncio

from aiochat.cli import main
from tests.apis import TOKEN, administered
from tests.programs import program
from tests.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    """One for all of these tests, each in a room of its own."""
    async with administered() as (server, _):
        yield server


async def aiochat(*arguments: str, token: str | None = TOKEN) -> tuple[int, str]:
    """Run the command to its end: its exit code, and what it printed or complained of."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said, redirect_stderr(said):
        if token is not None:
            patch.setenv("AIOCHAT_SECURITY__ADMIN_TOKEN", token)
        code = await asyncio.to_thread(main, arguments)
    return code, said.getvalue()


async def test_an_operator_finds_a_client_and_throws_it_out(server: Server, room: str) -> None:
    """Rooms and clients as tables, the id of the client in one of them."""
    url = ("--url", server.base_url)
    async with program(server, room, "alice") as alice:
        assert (0, f"said in {room}, as number 1\n") == await aiochat("say", room, "hi", "--name", "news", *url)
        assert (await alice.next("message"))["sender"] == {"name": "news"}
        code, rooms = await aiochat("rooms", *url)
        assert (code, rooms) == (0, f"MEMBERS  ROOM\n1        {room}\n")
        code, clients = await aiochat("clients", "--room", room, *url)
        header, line = clients.splitlines()
        assert (code, header.split()[:4]) == (0, ["CLIENT", "NAME", "USER", "ADDRESS"])
        assert line.split()[:5] == [alice.client, "alice", "-", "127.0.0.1", "aiochat.v1.json"]
        assert await aiochat("kick", alice.client, *url) == (0, f"{alice.client} is out\n")
        assert (await alice.closed())[0] == 4410


async def test_bans_are_for_a_time_or_until_lifted(server: Server) -> None:
    """Of a user or of an address; what is lifted was there."""
    url = ("--url", server.base_url)
    code, said = await aiochat("ban", "mallory", "--for", "1h", "--reason", "noise", *url)
    assert (code, bool(re.fullmatch(r"mallory is banned until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", said))) == (0, True)
    address = ("--address", "192.0.2.0/24", *url)
    assert await aiochat("ban", *address) == (0, "192.0.2.0/24 is banned until it is lifted\n")
    for whom in (("mallory", *url), address):
        assert (await aiochat("unban", *whom))[0] == 0
    assert await aiochat("unban", "mallory", *url) == (2, "aiochat: there is no such ban\n")


async def test_what_goes_wrong_is_told_in_one_line(server: Server, shared: Server, tmp_path: Path) -> None:
    """What it was and what to do; no traceback, and the token is in none of it."""
    url = ("--url", server.base_url)
    file = tmp_path / "settings.toml"
    file.write_text(f'[security]\nadmin_token = "{TOKEN}"\n[server]\nport = {server.port}\n')
    assert (await aiochat("rooms", "--config", str(file), token=None))[0] == 0
    for arguments, token, complaint in (
        (("rooms", *url), None, "there is no admin token: set AIOCHAT_SECURITY__ADMIN_TOKEN, or security.admin_token"),
        (("rooms", *url), "x" * 16, f"{server.base_url} has another admin token: see AIOCHAT_SECURITY__ADMIN_TOKEN"),
        (("rooms", *url), "short", "security.admin_token: takes 16 characters or more"),
        (("rooms", "--url", shared.base_url), TOKEN, f"{shared.base_url} has no HTTP API: it is there once"),
        (("rooms", "--url", "http://127.0.0.1:1"), TOKEN, "http://127.0.0.1:1 does not answer: Connection refused"),
        (("rooms", "--url", "127.0.0.1:80"), TOKEN, "--url: got '127.0.0.1:80', takes such as http://127.0.0.1:8080"),
        (("say", "no room", "hi", *url), TOKEN, "room: a room's name holds letters, numbers and _ . : -"),
        (("kick", "nobody", *url), TOKEN, "client: there is no such client"),
        (("ban", "eve", "--for", "soon", *url), TOKEN, "--for: got 'soon', takes a time such as 90s, 15m, 8h or 7d"),
    ):
        code, said = await aiochat(*arguments, token=token)
        assert (code, said.startswith(f"aiochat: {complaint}"), said.count("\n")) == (2, True, 1), said
        assert token is None or token not in said


async def test_a_server_of_another_kind_is_told_apart() -> None:
    """Whatever answers there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        code, said = await aiochat("rooms", "--url", url)
    assert (code, said) == (2, f"aiochat: {url} is no aiochat server: it answers with HTTP 200; see --url\n")
