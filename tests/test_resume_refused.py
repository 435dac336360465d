"""When `resume` is refused: nothing is lost by it, and the client goes on as a new one."""

import asyncio

import pytest

from tests.hub_programs import Clock, ProgramChat


@pytest.fixture
async def clock() -> Clock:
    """That of the test's loop."""
    return Clock(asyncio.get_running_loop())


@pytest.fixture
async def chat(clock: Clock) -> ProgramChat:
    """A hub with the settings of default.toml."""
    return ProgramChat(clock)


@pytest.mark.parametrize("token", ["", "x", "é", "AAAA" * 20, "x" * 10_000])
async def test_a_foreign_token_is_a_lost_session(chat: ProgramChat, token: str) -> None:
    """And the client goes on as a new one, under the id from `welcome`."""
    alice = await chat.come()
    alice.ask("resume", token=token, rooms={"a": {"epoch": "x", "offset": 1}})
    alice.ask("join", room="a", name="alice")
    await chat.turn(4)
    error, joined = alice.news()[:2]
    assert (error["code"], error["field"], joined["name"]) == ("session_lost", "token", "alice")
    assert chat.hub.clients[alice.of("welcome")[0]["client"]] is alice.client


async def test_a_changed_token_is_foreign(chat: ProgramChat) -> None:
    """Whichever character was changed, and another server's is, too."""
    alice = await chat.come("a", "alice")
    other = await ProgramChat().come("a", "alice")
    tampered = [alice.token[:place] + "_" + alice.token[place + 1 :] for place in range(len(alice.token) - 4)]
    for token in {other.token, *tampered} - {alice.token}:
        client = chat.connect()
        client.ask("resume", token=token)
        await chat.turn(2)
        assert client.of("error")[0]["code"] == "session_lost"
    assert alice.close_code is None


async def test_an_expired_token_is_a_lost_session(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `history.session_minutes`; a new one comes after half of them."""
    now = [1e9]
    monkeypatch.setattr("aiochat.auth.sessions.time.time", lambda: now[0])
    chat = ProgramChat(clock, history={"session_minutes": 10})
    alice = await chat.come("a", "alice")
    alice.news()
    for seconds, renewed in ((290, []), (11, ["session"]), (290, []), (11, ["session"])):
        now[0] += seconds
        await chat.later(clock, seconds)
        assert [event["type"] for event in alice.news() if event["type"] != "presence"] == renewed
    for seconds, answer in ((599, "resumed"), (2, "error")):
        now[0] += seconds
        again = await chat.come()
        again.ask("resume", token=alice.token)
        await chat.turn(3)
        assert again.news()[0]["type"] == answer


@pytest.mark.parametrize(
    ("room", "name", "before"),
    [("a", None, None), (None, "alice", None), (None, None, "ping"), (None, None, "nonsense")],
)
async def test_resume_comes_first_or_not_at_all(
    chat: ProgramChat, room: str | None, name: str | None, before: str | None
) -> None:
    """With a room or a name in the URL, or after any other command, it is a bad message that changes nothing."""
    alice = await chat.come("a", "alice")
    other = await chat.come(room, name)
    if before is not None:
        other.ask(before)
    other.ask("resume", token=alice.token)
    await chat.turn(3)
    error = other.news()[-1]
    assert (error["code"], error["field"]) == ("bad_message", "type")
    assert alice.close_code is None


async def test_more_rooms_than_allowed_are_refused_before_anything_happens(clock: Clock) -> None:
    """The older connection lives on."""
    chat = ProgramChat(clock, limits={"messages_per_second": 0, "max_rooms_per_client": 2})
    alice = await chat.come("a", "alice")
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={room: {"epoch": "x", "offset": 0} for room in "abc"})
    await chat.turn(3)
    (error,) = again.news()
    assert (error["code"], error["field"], alice.close_code) == ("too_many_rooms", "rooms", None)
