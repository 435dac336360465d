"""The load test as its user sees it: it runs what is asked, says plainly what is wrong, and leaves nothing behind."""

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from aiochat.cli import main
from aiochat.loadtest.interrupts import Interrupts
from aiochat.loadtest.record import Record
from aiochat.loadtest.server import own
from tests.servers import environment, running

FEW = ("--clients", "20", "--set", "warmup=0", "--quiet")
TEXT = ("--set", "codec=text", "--set", "rate=100", "--set", "senders=1", *FEW)
Socket = web.WebSocketResponse


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server as the load test starts it, for many tests."""
    with Interrupts() as interrupts, own(interrupts) as server:
        yield server.target.url


def recorded(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Record]:
    """The command in this process: its exit code, and all that it has measured."""
    code = main(["loadtest", *arguments, "--json", "-"])
    output, errors = capsys.readouterr()
    assert errors == ""
    return code, msgspec.json.decode(output, type=Record)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that it says, with exit code 2."""
    assert main(["loadtest", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    return errors.removeprefix("aiochat loadtest: ").rstrip()


def servers() -> set[int]:
    """And workers: what this process has started, and they in turn."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if re.search("aiochat|spawn_main", " ".join(child.cmdline()))}


@asynccontextmanager
async def commanded(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", "loadtest", *arguments),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# Scenarios.


@pytest.mark.parametrize("name", ["chat", "broadcast", "saturate", "pairs", "idle", "slow", "churn"])
def test_a_scenario_runs_clean(name: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With few clients and for a moment; what it is about has happened."""
    fewer = ("--set", "senders=5", "--set", "slow=2", "--set", "size=2000") if name == "slow" else ()
    code, record = recorded(capsys, name, "--url", url, *FEW, "--seconds", "0.5", *fewer)
    (only,) = record.rounds
    assert (code, only.outcome.clean, only.ended_early, only.clients) == (0, True, "", 20)
    assert (only.delivered_per_second > 0) is (name != "idle")
    assert (only.outcome.newcomers > 0) is (name == "churn")
    assert only.memory_peak_bytes is not None, "the process at the URL is found"


def test_in_a_storm_all_break_and_resume(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All who are there, twice within the load, and nothing is lost."""
    code, record = recorded(capsys, "storm", "--url", url, *FEW, "--seconds", "1.5")
    (only,) = record.rounds
    assert (code, only.outcome.clean) == (0, True)
    assert 20 < only.outcome.cuts <= 40
    assert only.outcome.resumed == only.outcome.cuts


def test_it_starts_a_server_and_a_peer_in_turn_and_ends_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is left of them, not even a folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = servers()
    code, record = recorded(capsys, "broadcast", *FEW, "--seconds", "0.5", "--peer")
    assert (code, len(record.rounds), len(record.peer_rounds)) == (0, 1, 1)
    assert all(each.outcome.clean and each.delivered_per_second for each in (*record.rounds, *record.peer_rounds))
    assert record.server.own
    assert record.server.settings["limits.messages_per_second"] == "0.0"
    assert servers() == before
    assert list(tmp_path.iterdir()) == []


def test_a_record_says_what_was_run(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The exact command, the scenario with what was overridden, and a line for each second, warm-up included."""
    flags = ("--url", url, "--clients", "4", "--seconds", "1.2", "--set", "warmup=1", "--rounds", "2", "--quiet")
    code, record = recorded(capsys, "broadcast", *flags, "--set", "senders=2")
    assert (code, len(record.rounds)) == (0, 2)
    assert record.command == f"aiochat loadtest broadcast {' '.join(flags)} --set senders=2 --json -"
    assert (record.scenario["clients"], record.scenario["senders"]) == (4, 2)
    assert [second.phase for second in record.rounds[0].timeline] == ["warmup", "measure", "measure"]
    assert record.rounds[0].seconds > 1.1


# What cannot be run.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["strom"], "there is no scenario 'strom'; did you mean 'storm'?"),
        (["--set", "clints=5"], "--set: there is no key 'clints'; did you mean 'clients'?"),
        (["--clients", "0"], "--set: clients is 0; it takes a whole number above 0"),
        (["--url", "ws://127.0.0.1:1"], "there is no server at ws://127.0.0.1:1/ws: Connection refused"),
        (["--url", "127.0.0.1:8080"], "--url is '127.0.0.1:8080'; it takes ws://HOST:PORT/PATH"),
        (["--pid", "1"], "--pid goes with one --url"),
        (["--pid", "1", "--url", "ws://127.0.0.1:1", "--url", "ws://127.0.0.1:2"], "--pid goes with one --url"),
        (["--peer"], "--peer: it only sends on what it gets"),
        (["--rounds", "0"], "--rounds is 0; it takes 1 or more"),
        (["--json", "no/such/folder/a.json"], "--json 'no/such/folder/a.json': there is no such folder"),
        (["--compare", "none.json"], "none.json cannot be read"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    assert refused(capsys, *arguments).startswith(says)


def test_more_clients_than_open_files_are_refused_before_the_start() -> None:
    """The line says the limit, what is needed, and how to raise it."""
    result = subprocess.run(
        [sys.executable, "-m", "aiochat", "loadtest", "--clients", "500"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert re.fullmatch(
        r"aiochat loadtest: 500 clients need \d+ open files .*, and the limit is 300; raise it .*ulimit -n.*\n",
        result.stderr,
    )


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The URL of something that speaks HTTP."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    try:
        yield f"ws://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def _page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def _other_subprotocol(request: web.Request) -> web.StreamResponse:
    socket = Socket()
    socket.headers["Sec-WebSocket-Protocol"] = "chat.v2"
    await socket.prepare(request)
    return socket


async def _silent(request: web.Request) -> web.StreamResponse:
    socket = Socket()
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


@pytest.mark.parametrize(
    ("scenario", "handler", "codec", "says"),
    [
        (
            "broadcast",
            _page,
            "json",
            "is no WebSocket server, or not at this path: it answers 200 'OK' instead of upgrading",
        ),
        ("broadcast", _other_subprotocol, "json", "speaks 'chat.v2', and the clients speak aiochat.v1.json"),
        (
            "chat",
            _silent,
            "json",
            "does not speak aiochat.v1.json, which typing_per_second needs; for other chat servers",
        ),
        ("broadcast", _silent, "text", "it is no chat server, or not one that speaks text"),
    ],
)
async def test_something_else_at_the_url_is_one_line(
    scenario: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]], codec: str, says: str
) -> None:
    """Which says what is there instead."""
    flags = (*FEW, "--seconds", "0.5", "--set", f"codec={codec}")
    async with serving(handler) as url, commanded(scenario, "--url", url, *flags) as process:
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().count("\n") == 1
    assert says in errors.decode()


async def test_what_speaks_no_http_is_one_line() -> None:
    """A port of something else."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, commanded("--url", f"ws://127.0.0.1:{port}") as process:
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert f"ws://127.0.0.1:{port}/ws is no WebSocket server: it does not speak HTTP" in errors.decode()


# A server that goes wrong, and a user who has seen enough.


class Room:
    """Of a text server that broadcasts; its fifth message comes to all but the last who joined."""

    def __init__(self, *, lossy: bool = False) -> None:
        self.members: list[Socket] = []
        self.count = 0
        self.lossy = lossy
        self.spoken = asyncio.Event()

    async def join(self, request: web.Request) -> Socket:
        socket = Socket()
        await socket.prepare(request)
        self.members.append(socket)
        async for message in socket:
            self.count += 1
            self.spoken.set()
            for member in self.members[: -1 if self.lossy and self.count == 5 else None]:
                with suppress(ConnectionError):
                    await member.send_str(message.data)
        self.members.remove(socket)
        return socket


async def test_a_lost_message_is_named_and_is_exit_code_1(tmp_path: Path) -> None:
    """Receiver, room, sender and sequence are in the report and in the JSON."""
    file = tmp_path / "record.json"
    flags = (*TEXT, "--seconds", "0.5", "--json", str(file))
    room = Room(lossy=True)
    async with serving(room.join) as url, commanded("broadcast", "--url", url, *flags) as process:
        output, _ = await process.communicate()
    (only,) = msgspec.json.decode(file.read_bytes(), type=Record).rounds
    assert process.returncode == 1
    assert only.outcome.lost == 1
    (violation,) = only.outcome.violations
    assert (violation.kind, violation.sequences) == ("lost", (4, 4))
    said = " ".join(output.decode().split())
    assert f"receiver {violation.receiver}" in said
    assert f"sender {violation.sender}" in said


async def test_a_server_that_chooses_no_subprotocol_is_measured_without_acks() -> None:
    """It sends on what it gets, JSON or not; the report says that nothing was acknowledged."""
    flags = (*TEXT, "--set", "codec=json", "--seconds", "0.5")
    async with serving(Room().join) as url, commanded("broadcast", "--url", url, *flags) as process:
        output, errors = await process.communicate()
    said = " ".join(output.decode().split())
    assert (process.returncode, errors) == (0, b"")
    assert "No message was lost, doubled or out of order, at any receiver" in said
    assert "each was acknowledged" not in said
    assert "The server chose no subprotocol and acknowledges nothing" in said


async def test_a_server_that_dies_midway_leaves_a_report(tmp_path: Path) -> None:
    """Of what was measured until then; exit code 1, and a line that says so."""
    file = tmp_path / "record.json"
    room = Room()
    flags = (*TEXT, "--seconds", "50", "--json", str(file))
    async with AsyncExitStack() as stack:
        async with serving(room.join) as url:
            process = await stack.enter_async_context(commanded("broadcast", "--url", url, *flags))
            await room.spoken.wait()
        output, _ = await process.communicate()
    (only,) = msgspec.json.decode(file.read_bytes(), type=Record).rounds
    assert process.returncode == 1
    assert only.ended_early == f"the server at {url}/ws is gone"
    assert only.ended_early in " ".join(output.decode().split())
    assert 0 < only.seconds < 50


@pytest.mark.parametrize(
    ("kill", "number"), [(os.killpg, signal.SIGINT), pytest.param(os.kill, signal.SIGTERM, marks=pytest.mark.faults)]
)
async def test_an_interrupted_run_reports_what_there_is(
    kill: Callable[[int, int], None], number: signal.Signals, tmp_path: Path
) -> None:
    """Exit code 130; and its workers are gone. Ctrl-C in a terminal comes to them, too."""
    file, room = tmp_path / "record.json", Room()
    flags = (*TEXT, "--seconds", "50", "--json", str(file))
    async with serving(room.join) as url, commanded("broadcast", "--url", url, *flags) as process:
        await room.spoken.wait()
        children = psutil.Process(process.pid).children(recursive=True)
        kill(process.pid, number)
        output, errors = await process.communicate()
    (only,) = msgspec.json.decode(file.read_bytes(), type=Record).rounds
    assert (process.returncode, errors) == (130, b"")
    assert (only.ended_early, only.outcome.clean) == ("interrupted", True)
    assert "interrupted" in output.decode()
    assert psutil.wait_procs(children, timeout=10)[1] == []


async def test_before_the_load_an_interrupt_ends_it_at_once() -> None:
    """There is nothing to report; its server is gone with it."""
    async with commanded("--seconds", "50", "--clients", "2") as process:
        while not (children := psutil.Process(process.pid).children()):  # noqa: ASYNC110 - no event tells of them
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors.decode() == "aiochat loadtest: interrupted, and nothing was measured\n"
    assert psutil.wait_procs(children, timeout=10)[1] == []


async def test_killed_outright_it_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server and its workers notice that nobody holds the other end of their pipes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a folder is left, for nobody is there to remove it
    async with commanded("idle", "--seconds", "50", "--clients", "2", "--quiet") as process:
        while len(children := psutil.Process(process.pid).children(recursive=True)) < 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)  # the server and its writer, a worker and Python's own tracker
        process.kill()
        await process.wait()
    assert psutil.wait_procs(children, timeout=15)[1] == []


def test_the_second_interrupt_is_not_waited_for() -> None:
    """The first is noted while a load runs; held ones count when the block is over."""
    with Interrupts() as interrupts:
        with interrupts.noted():
            signal.raise_signal(signal.SIGINT)
            assert interrupts.requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), interrupts.held():
            signal.raise_signal(signal.SIGINT)


@pytest.mark.faults
async def test_limits_of_one_client_are_said_plainly() -> None:
    """With the command that starts a server without them; what it refused is not called lost."""
    limits = {"limits.messages_per_second": 1, "limits.burst_messages": 10}
    async with (
        running(settings=limits) as server,
        commanded("saturate", "--url", server.ws_url, *FEW, "--seconds", "0.5") as process,
    ):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    assert "(rate_limited)" in errors.decode()
    assert errors.decode().endswith("aiochat serve --config config/loadtest.toml\n")


def test_help_shows_the_four_scenarios_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an example of each, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["loadtest", "--help"])
    output = capsys.readouterr().out
    places = [output.index(f"aiochat loadtest{name}") for name in (" ", " broadcast", " storm", " idle")]
    assert places == sorted(places)
    assert max(map(len, output.splitlines())) <= 80


def test_the_list_has_all_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its title, the four first ones first."""
    assert main(["loadtest", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    assert listed[:4] == ["chat", "broadcast", "storm", "idle"]
    assert len(listed) == 8 + 1
