"""What one client is sent, and when it is too slow."""

from typing import Any

import pytest

from aiochat import frames
from aiochat.config import Queue
from aiochat.errors import Close
from aiochat.outbox import Backlog, Batch
from tests import wire
from tests.outboxes import LIMITS, Side, line


@pytest.fixture
def backlog() -> Backlog:
    """Small limits: four messages, a hundred bytes, a thousand in all."""
    return Backlog(Queue(**LIMITS), lambda: 0.0)


def test_an_open_socket_is_written_to_at_once(backlog: Backlog) -> None:
    """Nothing is queued, and nothing counted, while the socket takes it."""
    side = Side(backlog, is_open=True)
    for text in "abc":
        side.outbox.send(line(text))
    assert [frame.payload for frame in side.socket.frames] == [b"a", b"b", b"c"]
    assert (side.outbox.messages_out, side.outbox.bytes_out) == (3, 9)
    assert (backlog.bytes, len(backlog), side.outbox.queue) == (0, 0, None)


def test_a_paused_socket_gets_what_waited_in_order(backlog: Backlog) -> None:
    """As much as fills it again; the rest goes on waiting."""
    side = Side(backlog)
    for text in "abc":
        side.outbox.send(line(text))
    assert (side.heard, side.outbox.queued_messages, side.outbox.queued_bytes, backlog.bytes) == ([], 3, 9, 9)
    side.socket.take()
    assert (side.heard, side.outbox.queued_messages, backlog.bytes) == (["a"], 2, 6)
    side.socket.take()
    side.socket.take()
    assert (side.heard, side.outbox.queued_messages, backlog.bytes) == (["a", "b", "c"], 0, 0)
    assert side.outbox.messages_out == 4


@pytest.mark.parametrize(("texts", "too_many"), [(["a"] * 4, "a"), (["a" * 48] * 2, "")], ids=["messages", "bytes"])
def test_who_has_too_much_queued_is_dropped(backlog: Backlog, texts: list[str], too_many: str) -> None:
    """The limit itself is fine; one message or byte more is 4000, and the queue is thrown away at once."""
    side = Side(backlog)
    for text in texts:
        side.outbox.send(line(text))
    assert not side.outbox.is_sealed
    side.outbox.send(line(too_many))
    assert side.owner.sealings == [(Close.SLOW, "the outgoing queue is full")]
    assert side.owner.queued_bytes == sum(len(line(text).data) for text in texts)
    assert (side.heard, side.close_codes) == ([], [Close.SLOW])
    assert (side.outbox.queued_messages, side.outbox.queued_bytes, backlog.bytes, len(backlog)) == (0, 0, 0, 0)


def test_an_empty_outbox_takes_one_batch_of_any_size(backlog: Backlog) -> None:
    """A message over `max_bytes`, and a batch over `max_messages`, still arrive."""
    for batch in (line("x" * 500), Batch(frames.text_frames([b"x"] * 9), 9)):
        side = Side(backlog)
        side.outbox.send(batch)
        assert not side.outbox.is_sealed
        side.outbox.send(line("y"))
        assert side.owner.sealings == [(Close.SLOW, "the outgoing queue is full")]


@pytest.mark.parametrize("code", [1000, 1001, 1012, 4003, *range(4401, 4430)])
def test_a_graceful_end_writes_what_is_queued_first(backlog: Backlog, code: int) -> None:
    """What was said before the goodbye is heard before it."""
    side = Side(backlog)
    side.outbox.send(line("a"))
    side.outbox.send(line("b"))
    side.outbox.close(code, "bye")
    assert side.close_codes == []
    for _ in range(4):
        side.socket.take()
    assert side.heard == ["a", "b"]
    assert side.socket.frames[-1] == wire.Frame(wire.CLOSE, code.to_bytes(2, "big") + b"bye")
    assert backlog.bytes == 0


@pytest.mark.parametrize("code", [1002, 1003, 1006, 1007, 1009, 1011, 1013, 4000, 4001, 4400])
def test_any_other_end_throws_the_queue_away(backlog: Backlog, code: int) -> None:
    """Who is at fault, or not there, is sent nothing but the Close."""
    side = Side(backlog)
    side.outbox.send(line("a"))
    side.outbox.close(code, "")
    side.socket.take()
    assert (side.heard, side.close_codes, backlog.bytes) == ([], [code], 0)


@pytest.mark.parametrize("code", [1000, 4000])
def test_nothing_is_written_after_a_close(backlog: Backlog, code: int) -> None:
    """No message, ping or pong, no second Close, whatever was asked for before and however the socket goes on."""
    side = Side(backlog)
    side.outbox.pong(b"asked before")
    side.outbox.close(code, "")
    side.outbox.close(1011, "again")
    for _ in range(2):
        side.outbox.send(line("a"))
        side.outbox.ping()
        side.outbox.pong(b"asked after")
        side.socket.take()
    assert side.socket.frames[-1].opcode == wire.CLOSE
    assert (side.close_codes, len(side.owner.sealings), backlog.bytes) == ([code], 1, 0)


def test_of_unanswered_pings_only_the_newest_is_kept(backlog: Backlog) -> None:
    """A client that pings and never reads costs one pong (RFC 6455 section 5.5.3)."""
    side = Side(backlog)
    for number in range(1000):
        side.outbox.pong(b"%d" % number)
    side.outbox.send(line("a"))
    side.socket.take()
    assert side.socket.frames[1:] == [wire.Frame(wire.PONG, b"999")]
    side.socket.take()
    assert side.heard == ["a"]


def test_pings_and_pongs_go_at_once_while_the_socket_is_open(backlog: Backlog) -> None:
    """A paused socket is not pinged: the ping would only wait behind what it has not taken."""
    side = Side(backlog, is_open=True)
    side.outbox.ping()
    side.outbox.pong(b"x", b"y")
    assert side.socket.frames == [wire.Frame(wire.PING, b""), wire.Frame(wire.PONG, b"x"), wire.Frame(wire.PONG, b"y")]
    assert side.socket.writes == 2
    paused = Side(backlog)
    paused.outbox.ping()
    assert len(paused.socket.frames) == 1


def test_a_lost_connection_frees_everything(backlog: Backlog) -> None:
    """The queue, its count, and the connection itself."""
    side = Side(backlog)
    side.outbox.send(line("a"))
    side.outbox.pong(b"x")
    for _ in range(2):
        side.outbox.seal(Close.ABNORMAL, "lost")
    side.outbox.lost()
    side.outbox.pause()
    kept: list[Any] = [getattr(side.outbox, name, None) for name in ("_owner", "_transport", "_pong")]
    assert (backlog.bytes, len(backlog), kept) == (0, 0, [None, None, None])
    assert side.close_codes == []
