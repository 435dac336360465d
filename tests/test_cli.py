"""The `aiochat` command as a person meets it: its help, its errors, its end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiochat.config import defaults, load
from tests.servers import Server, running

CHECKOUT = Path(__file__).parent.parent
FLAG = re.compile(r"^  (--[a-z-]+)(?: [A-Z_]+)? +(.*(?:\n {5,}.*)*)", re.MULTILINE)
SETTINGS = ["--config", "--host", "--port", "--store", "--log-level"]
OWN = ["serve", "config", "backup", "chat", "token"]
REMOTE = ["rooms", "clients", "say", "kick", "ban", "unban"]


def aiochat(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "aiochat", *arguments],
        env=variables(environment),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def variables(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a shell that lets the command be found."""
    ours = {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "100", "AIOCHAT_STORE__URL": "memory:"}
    return {**os.environ, **ours, **(more or {})}


def complaint(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Why the command does not do it: exit code 2, and one line that is no traceback."""
    result = aiochat(*arguments, environment=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"aiochat: .+\n", result.stderr), result.stderr
    return result.stderr.removeprefix("aiochat: ").rstrip()


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_help_lists_the_commands() -> None:
    """In the order in which one needs them."""
    listed = re.findall(r"^    ([a-z]+) +\S", aiochat("--help").stdout, re.MULTILINE)
    assert listed == [*OWN, *REMOTE, "loadtest"]


@pytest.mark.parametrize(
    ("command", "flags"), [("serve", SETTINGS), ("config", SETTINGS), ("chat", ["--room", "--name"])]
)
def test_every_flag_has_its_default_in_the_help(command: str, flags: list[str]) -> None:
    """Nobody has to read the source to know what happens without it."""
    result = aiochat(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    listed = dict(FLAG.findall(result.stdout))
    assert set(flags) <= set(listed)
    assert len(listed) >= 2
    for flag, text in listed.items():
        assert "default: " in " ".join(text.split()), flag
    if command == "serve":
        config = load()
        usual = [
            "none",
            config.server.host,
            str(config.server.port),
            defaults()["store"]["url"],
            config.logging.level,
        ]
        assert [listed[flag].rpartition("default: ")[2] for flag in SETTINGS] == usual


def test_the_version_is_one_line() -> None:
    """As one would quote it in a report."""
    assert re.fullmatch(r"aiochat \d+\.\d+\S*\n", aiochat("--version").stdout)


def test_config_prints_what_is_in_force(tmp_path: Path) -> None:
    """File, environment and flags over the default, as a file that can be used, with the most memory it allows."""
    file = tmp_path / "chat.toml"
    file.write_text("[server]\nport = 1\n[limits]\nmax_clients = 7\n")
    flags = ["--config", str(file), "--host", "::1", "--port", "2", "--store", "memory:", "--log-level", "error"]
    result = aiochat("config", *flags, environment={"AIOCHAT_LIMITS__BURST_MESSAGES": "11"})
    assert (result.returncode, result.stderr) == (0, "")
    printed = tomllib.loads(result.stdout)
    assert (printed["server"]["host"], printed["server"]["port"], printed["logging"]["level"]) == ("::1", 2, "error")
    assert (printed["limits"]["max_clients"], printed["limits"]["burst_messages"]) == (7, 11)
    assert {section: list(settings) for section, settings in printed.items()} == {
        section: list(settings) for section, settings in load().model_dump(exclude={"room"}).items()
    }
    assert re.search(r"\n# The largest memory that these settings allow: \d+\.\d\d GiB\n$", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "eighty"], "server.port: got 'eighty', takes a whole number"),
        (["config", "--log-level", "loud"], "logging.level: got 'loud', takes 'debug', 'info', 'warning' or 'error'"),
        (["serve", "--config", "/no/such/file"], "/no/such/file: cannot be read: No such file or directory"),
        (["serve", "--store", "postgres://db"], "store.url: got 'postgres://db', takes a URL that begins with one of "),
    ],
)
def test_a_setting_that_cannot_be_ends_it_with_one_line(arguments: list[str], said: str) -> None:
    """Before anything is listened to."""
    assert complaint(*arguments).startswith(said)


def test_an_unknown_key_ends_the_start(tmp_path: Path) -> None:
    """With those that there are."""
    file = tmp_path / "chat.toml"
    file.write_text("[server]\nprot = 9000\n")
    assert complaint("serve", "--config", str(file)).startswith("server.prot: no such setting; takes host, port, ")


def test_a_taken_port_ends_the_start(taken: socket.socket) -> None:
    """With the address, so that one can look who is there."""
    port = taken.getsockname()[1]
    said = complaint("serve", "--host", "127.0.0.1", "--port", str(port))
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert "in use" in said


@pytest.mark.parametrize("missing", ["certificate.pem", "key.pem", ""])
def test_tls_files_that_cannot_be_used_end_the_start(tmp_path: Path, missing: str) -> None:
    """A missing one is named, and so are both where they are no certificate with its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for file in (certificate, key):
        if file.name != missing:
            file.write_text("nothing of the kind")
    tls = {"AIOCHAT_SERVER__TLS_CERTIFICATE": str(certificate), "AIOCHAT_SERVER__TLS_KEY": str(key)}
    said = complaint("serve", "--port", "0", environment=tls)
    if missing:
        named = f"{tmp_path / missing} (server.tls_certificate, tls_key)"
        assert said == f"{named} cannot be read: No such file or directory"
    else:
        assert said.startswith(f"{certificate}, {key} (server.tls_certificate, tls_key) cannot be used: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_and_sigterm_are_a_good_end(number: signal.Signals, *, uvloop: bool) -> None:
    """Exit code 0, and nothing on standard error that is not a log line."""
    async with running(uvloop=uvloop) as server:
        assert await server.stop(number) == 0
        assert [line["event"] for line in server.log][-2:] == ["stopping", "stopped"]
        assert not [line for line in server.log if line["event"] == "not JSON"]


async def test_the_start_says_where_to_go() -> None:
    """A browser, wscat and the data, and at once: each on a line of standard output."""
    async with running(settings={"server.path": "/chat"}) as server:
        assert server.process.stdout is not None
        wscat, data = [(await server.process.stdout.readline()).decode() for _ in range(2)]
        assert wscat.split() == ["or", "in", "a", "shell", "wscat", "-c", f"ws://127.0.0.1:{server.port}/chat"]
        assert data == "its data is    in memory, and gone when the server stops\n"


def test_chat_says_that_there_is_no_chat(taken: socket.socket) -> None:
    """One line, and not the name and room in it."""
    port = taken.getsockname()[1]
    taken.close()
    said = complaint("chat", f"ws://127.0.0.1:{port}/ws", "--name", "alice")
    assert said.startswith(f"there is no chat at ws://127.0.0.1:{port}/ws: ")


async def chat(server: Server, typed: bytes, *flags: str) -> tuple[int, str, str]:
    """What `aiochat chat` does with these lines in a pipe: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "chat", server.ws_url, *flags),
        env=variables(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(typed)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_a_chat_in_a_pipe_is_lines_in_and_lines_out(server: Server) -> None:
    """It ends with its input, once everything was said; who has no name is not greeted."""
    said = "".join(f"line {number}\n" for number in range(80))
    last = "the last, not UTF-8 \ufffd, without a newline"
    typed = (said + last).encode().replace("\ufffd".encode(), b"\xff")
    assert await chat(server, typed) == (0, f"{said}{last}\n", "")
    code, output, errors = await chat(server, b"/me waves\n/who\n/frobnicate\n/quit\nunsaid\n", "--name", "alice")
    lines = output.splitlines()
    assert (code, errors, lines[0], lines[19]) == (0, "", "line 61", last)
    assert lines[20] == "* you are in lobby as alice; nobody else is here"
    assert sorted(lines[21:]) == [
        "! /frobnicate is not a command; /help lists them",
        "* 1 in lobby: alice",
        "* alice waves",
    ]


@pytest.mark.parametrize(("flag", "value", "reason"), [("--name", "a:b", "a name holds"), ("--room", "!", "a room's")])
async def test_a_chat_under_a_name_that_cannot_be_is_one_line(
    server: Server, flag: str, value: str, reason: str
) -> None:
    """With the reason."""
    code, output, errors = await chat(server, b"", flag, value)
    assert (code, output) == (2, "")
    assert re.fullmatch(rf"aiochat: {server.ws_url} refused it: {reason}.+\n", errors)


async def test_a_chat_ends_when_nobody_reads_it(server: Server) -> None:
    """As any program before `head` does: without a traceback."""
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "chat", server.ws_url),
        env=variables(),
        stdin=asyncio.subprocess.PIPE,
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"one\n")
    assert await asyncio.to_thread(os.read, reader, 100) == b"one\n"
    os.close(reader)
    process.stdin.write(b"two\n")
    assert (await process.stderr.read(), await process.wait()) == (b"", 1)


async def test_ctrl_c_ends_a_chat_without_a_traceback() -> None:
    """As it ends any program: 130 is what a shell expects."""
    async with running() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aiochat", "chat", server.ws_url, "--name", "alice"),
            env=variables(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert b"you are in lobby as alice" in await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")


def test_the_load_test_says_what_it_needs() -> None:
    """A server alone is installed without the load generator's parts."""
    without_picows = "import sys; sys.modules['picows'] = None; from aiochat.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", without_picows, "loadtest"],
        env=variables(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "aiochat: picows is not installed: pip install 'aiochat-server[loadtest]'\n"
