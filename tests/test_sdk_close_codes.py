"""When the Python client comes back, and when never; against a server with a script."""

import asyncio
import dataclasses

import msgspec
import pytest
from aiohttp import WSMsgType, web

import aiochat
from aiochat.messages import Goodbye, Message, Presence, Publish
from aiochat.sdk import Backoff, ChatClosed, Disconnected
from tests.scripted import Naps, Script, chatting, events_until, message, next_of, welcome

FINAL = [1000, 1002, 1003, 1007, 1009, 4400, 4403, 4409, 4429, 4499, 4500, 4999, 4003]


@pytest.mark.parametrize("code", FINAL)
async def test_after_a_final_code_it_does_not_come_back(script: Script, code: int) -> None:
    """The iteration and all that waits end with the code and the reason."""
    async with chatting(script) as (chat, peer, naps):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        await peer.close(code, "that was it")
        with pytest.raises(ChatClosed) as closed:
            await next_of(chat, Disconnected)
        assert (closed.value.code, closed.value.reason) == (code, "that was it")
        for waiting in (publishing, chat.publish("lobby", "two")):
            with pytest.raises(ChatClosed, match="that was it"):
                await waiting
        assert naps.seconds == []


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 3000, 4000, 4001, 4004, 4399])
async def test_after_any_other_code_it_comes_back(script: Script, code: int) -> None:
    """After the first step of the back-off; whoever iterates is told when."""
    async with chatting(script) as (chat, peer, naps):
        await peer.close(code, "later")
        assert await next_of(chat, Disconnected) == Disconnected(code, "later", 1.0)
        await script.connection()
        assert naps.seconds == [1.0]


async def test_it_stays_away_for_as_long_as_the_goodbye_asks(script: Script) -> None:
    """A server that stops spreads those who come back."""
    async with chatting(script) as (chat, peer, naps):
        await peer.tell(Goodbye(code=1012, reason="restart", after_ms=12_345))
        await peer.close(1012)
        assert await next_of(chat, Disconnected) == Disconnected(1012, "restart", 12.345)
        await script.connection()
        assert naps.seconds == [12.345]


@pytest.mark.parametrize(("code", "reconnect"), [(4403, True), (1012, False)])
async def test_what_the_goodbye_says_of_coming_back_counts(script: Script, code: int, *, reconnect: bool) -> None:
    """It goes over what the code's range says."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(Goodbye(code=code, reason="so", reconnect=reconnect))
        await peer.close(code)
        if reconnect:
            assert (await next_of(chat, Disconnected)).code == code
        else:
            with pytest.raises(ChatClosed, match="so"):
                await next_of(chat, Disconnected)


def test_the_back_off_is_spread() -> None:
    """Clients that were thrown off together do not come back together."""
    backoff = Backoff()
    for failures, bound in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 20.0), (1000, 20.0)]:
        delays = [backoff.delay(failures) for _ in range(1000)]
        assert 0.5 <= min(delays) < 0.5 + 0.1 * bound
        assert 0.9 * bound < max(delays) <= bound


async def test_a_connection_that_held_ends_the_row_of_failures(script: Script) -> None:
    """The next break is a first one again; one that broke at once is one more."""
    naps = Naps()
    backoff = dataclasses.replace(naps.backoff, steady_seconds=1.0)
    async with chatting(script, backoff=backoff) as (_, peer, _):
        last = peer
        for held_seconds in (0, 0, 1.01):
            await asyncio.sleep(held_seconds)
            last.reset()
            last = await script.connection()
        assert naps.seconds == [1.0, 2.0, 1.0]


async def test_the_back_off_doubles_up_to_its_bound(script: Script) -> None:
    """Refusals that may pass count as failures, `Retry-After` goes over it, and the caller is told once."""
    async with chatting(script) as (chat, peer, naps):
        refusals = [web.Response(status=status) for status in (502, 503, 404, 429, 500, 503)]
        script.refusals = [*refusals, web.Response(status=503, headers={"Retry-After": "7"})]
        peer.reset()
        await script.connection()
        assert naps.seconds == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 7.0]
        events = await events_until(chat, lambda event: isinstance(event, Disconnected))
        assert sum(isinstance(event, Disconnected) for event in events) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_status_that_refuses_for_good_ends_it(script: Script, status: int) -> None:
    """Also on the way back."""
    async with chatting(script) as (chat, peer, _):
        script.refusals = [web.Response(status=status)]
        peer.reset()
        with pytest.raises(ChatClosed) as closed:
            await events_until(chat, lambda event: False)
        assert closed.value.code == status


async def test_a_server_that_is_silent_is_left(script: Script) -> None:
    """No byte for two of its ping intervals, not even a ping."""
    naps = Naps()
    chat = aiochat.connect(script.url, backoff=naps.backoff)
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.tell(msgspec.structs.replace(welcome(), ping_interval_ms=20))
    await opening
    disconnected = await next_of(chat, Disconnected)
    assert (disconnected.code, disconnected.reason) == (1006, "the server was silent for 0.04 seconds")
    await chat.close()


async def test_pings_are_life_enough(script: Script) -> None:
    """They are answered, too."""
    chat = aiochat.connect(script.url)
    opening = asyncio.create_task(chat.open())
    peer = await script.connection()
    await peer.tell(msgspec.structs.replace(welcome(), ping_interval_ms=250))
    await opening
    for _ in range(10):
        await peer.socket.ping()
        assert (await peer.socket.receive()).type is WSMsgType.PONG
        await asyncio.sleep(0.1)  # ten of them are twice the silence that would end it
    await peer.tell(message(1), Presence(room="lobby", members=3))
    assert (await next_of(chat, Presence)).members == 3
    await chat.close()


async def test_what_it_cannot_understand_ends_it(script: Script) -> None:
    """Coming back would bring the same."""
    async with chatting(script) as (chat, peer, _):
        await peer.socket.send_str('{"type": "message", "room": 5}')
        closing = asyncio.create_task(peer.socket.receive())
        with pytest.raises(ChatClosed, match="does not understand"):
            await events_until(chat, lambda event: False)
        assert (await closing).type is WSMsgType.CLOSE


async def test_events_that_it_does_not_know_are_left_out(script: Script) -> None:
    """A newer server is no reason to end."""
    async with chatting(script) as (chat, peer, _):
        await peer.socket.send_str('{"type": "reaction", "room": "lobby"}')
        await peer.tell(message(6))
        assert (await next_of(chat, Message)).offset == 6
