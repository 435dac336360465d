"""Logging: one format for all, no flood of the same line, and never what people say."""

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from aiochat.config import Logging
from aiochat.monitoring import logs
from tests.raw import Raw
from tests.servers import running

SetUp = Callable[..., None]
SECRET = "xyz" + "zy"  # in no line of source as it is said


@pytest.fixture
def set_up() -> Iterator[SetUp]:
    """Sets logging up as the server does; afterwards everything is as it was."""
    loggers = [logging.getLogger(name) for name in (None, "asyncio", "aiohttp.access", "aiohttp.server", "aiohttp.web")]
    before = [(logger, logger.handlers[:], logger.filters[:], logger.level) for logger in loggers]

    def set_up(style: Any = "json", level: Any = "info") -> None:
        logs.set_up(Logging(format=style, level=level, connections=True, lag_seconds=1.0))

    yield set_up
    for logger, handlers, filters, level in before:
        logger.handlers, logger.filters = handlers, filters
        logger.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def parsed(captured: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines logged so far, each of which is JSON."""
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


def fail(text: str) -> None:
    """What a command may do at worst."""
    raise ValueError(len(text))


def test_json_lines_are_one_object_each(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """With time, level, logger and event, whatever else stands in it."""
    set_up()
    structlog.get_logger("aiochat.hub").warning("client_dropped", reason="ü\n{}", queued_bytes=7)
    (line,) = parsed(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert (line.pop("event"), line.pop("level"), line.pop("logger")) == ("client_dropped", "warning", "aiochat.hub")
    assert line == {"reason": "ü\n{}", "queued_bytes": 7}


def test_other_loggers_are_in_the_same_format(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """aiohttp, asyncio and Python's warnings too, with their arguments filled in."""
    set_up()
    logging.getLogger("aiohttp.server").error("Unhandled %s", "exception")
    logging.getLogger("asyncio").warning("socket.accept() out of system resource")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second, third = parsed(capsys)
    assert (first["event"], first["level"], first["logger"]) == ("Unhandled exception", "error", "aiohttp.server")
    assert (second["level"], second["logger"]) == ("warning", "asyncio")
    assert third["logger"] == "py.warnings"
    assert "DeprecationWarning: old" in third["event"]


def test_a_traceback_is_in_its_line(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """A log collector gets one event, with the whole of it."""
    set_up()
    try:
        fail(SECRET)
    except ValueError:
        structlog.get_logger("aiochat.hub").exception("command_failed")
    (line,) = parsed(capsys)
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: 5")


def test_the_console_is_for_people(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """One line: when, how bad, what, where, and the rest as key=value; no colours where there is no terminal."""
    set_up("console")
    structlog.get_logger("aiochat.serve").info("stopping", drain_seconds=10)
    logging.getLogger("aiohttp.server").error("Unhandled %s", "exception")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\S+Z \[info +\] stopping +\[aiochat.serve\] drain_seconds=10", first)
    assert re.fullmatch(r"\S+Z \[error +\] Unhandled exception +\[aiohttp.server\]", second)


@pytest.mark.parametrize("style", ["console", "json"])
def test_nothing_in_a_line_drives_a_terminal(set_up: SetUp, capsys: pytest.CaptureFixture[str], style: str) -> None:
    """Neither a value nor the text of an error; a C1 control alone is as good as an escape and a bracket."""
    set_up(style)
    driving = "a\x1b[2Jb\x9bc\u202ed"
    structlog.get_logger("aiochat.limits.bans").info("banned", user=driving)
    try:
        raise ValueError(driving)
    except ValueError:
        structlog.get_logger("aiochat.hub").exception("command_failed")
    written = capsys.readouterr().err
    assert written.isascii()
    assert set(written) & set(map(chr, range(32))) == {"\n"}


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_variables(set_up: SetUp, capsys: pytest.CaptureFixture[str], style: str) -> None:
    """What people say stands in them; with rich installed, structlog would print them all."""
    set_up(style)
    try:
        fail(SECRET)
    except ValueError:
        structlog.get_logger("aiochat.hub").exception("command_failed")
    written = capsys.readouterr().err
    assert "ValueError: 5" in written
    assert SECRET not in written


def test_the_level_is_kept(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """By our loggers and by all others."""
    set_up(level="warning")
    for logger in (structlog.get_logger("aiochat"), logging.getLogger("aiohttp.server")):
        logger.info("not this")
        logger.warning("but this")
    assert [line["event"] for line in parsed(capsys)] == ["but this", "but this"]


@pytest.mark.parametrize("name", ["asyncio", "aiohttp.access", "aiohttp.server", "aiohttp.web", "aiohttp.websocket"])
def test_the_same_line_does_not_flood_the_log(set_up: SetUp, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """3,000 of a kind leave fewer than twenty, though each names another object, port or number."""
    set_up()
    for number in range(3000):
        line = f"Fatal error on transport {number} <at 0x{number:x}>\nhandle: <{number * 7}>"
        logging.getLogger(name).error(line)
    assert 1 <= len(parsed(capsys)) < 20


def test_different_lines_all_pass(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """A flood of one kind hides no other; ours are never cut short."""
    set_up()
    kinds = ["Error of kind " + a + b for a in "abcdefghij" for b in "abcdefghijklmno"]
    for kind in kinds:
        logging.getLogger("aiohttp.server").error(kind)
        structlog.get_logger("aiochat.connection").info("connection_opened")
    events = [line["event"] for line in parsed(capsys)]
    assert [event for event in events if event != "connection_opened"] == kinds
    assert events.count("connection_opened") == len(kinds)


def test_a_flood_is_counted_when_it_comes_again(
    set_up: SetUp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten seconds the next line of the kind says how many were left out."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    set_up()
    for _ in range(100):
        logging.getLogger("asyncio").error("accept() failed: %s", "EMFILE")
    assert len(parsed(capsys)) == 5
    now += 11
    logging.getLogger("asyncio").error("accept() failed: %s", "EMFILE")
    assert [line["event"] for line in parsed(capsys)] == ["accept() failed: EMFILE (and 95 more like it before)"]
    now += 11
    logging.getLogger("asyncio").error("accept() failed: %s", "EMFILE")
    assert [line["event"] for line in parsed(capsys)] == ["accept() failed: EMFILE"]


def test_a_defect_that_comes_again_and_again_does_not_flood_the_log(
    set_up: SetUp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five tracebacks of an event pass, and five of another one; the next one says how many were left out."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    set_up()
    logger = structlog.get_logger("aiochat.http.request_ids")

    def log(event: str) -> None:
        try:
            fail(SECRET)
        except ValueError:
            logger.exception(event, request_id=str(time.perf_counter()))

    for _ in range(1000):
        log("request_failed")
    log("command_failed")
    assert [line["event"] for line in parsed(capsys)] == ["request_failed"] * 5 + ["command_failed"]
    now += 11
    log("request_failed")
    (line,) = parsed(capsys)
    assert (line["left_out"], "exception" in line) == (995, True)


def test_failed_tasks_are_of_one_kind(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """asyncio names each task and each coroutine in its line."""
    set_up()

    async def main() -> None:
        for number in range(50):
            handler = asyncio.get_running_loop().call_exception_handler
            task = asyncio.create_task(asyncio.sleep(0), name=f"Task-{number}")
            handler({"message": "Task exception was never retrieved", "task": task})
            await task

    asyncio.run(main())
    assert len(parsed(capsys)) == 5


def test_a_request_that_is_no_http_is_one_line(set_up: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the client's fault and no error of ours; its traceback would quote the request, and a token in it."""
    set_up()
    try:
        raise BadHttpMessage("GET /ws?token=secret")
    except BadHttpMessage:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    (line,) = parsed(capsys)
    assert (line["event"], line["level"]) == ("Error handling request: BadHttpMessage", "warning")
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize("style", ["console", "json"])
async def test_what_people_say_is_never_logged(style: str) -> None:
    """Neither when it is delivered, nor refused, nor when its sender is thrown out."""
    settings = {"logging.level": "debug", "logging.format": style, "limits.burst_messages": 10}
    async with running(settings=settings) as server:
        talker = await Raw.join(server, f"/ws?name={SECRET}")
        try:
            await talker.say(*(f"{before}{SECRET}" for before in ("", "/", "/me ", "/history ", "/nick x/", "/msg x ")))
            await talker.say(*[SECRET] * 200)
            assert await talker.closed() == 4429
        finally:
            talker.close()
        assert await server.stop() == 0
    assert server.log
    assert SECRET not in repr(server.log)
