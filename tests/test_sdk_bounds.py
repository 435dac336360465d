"""What the Python client holds for a program that is slow; against a server with a script."""

import asyncio

from aiochat.messages import Ack, Join, Left, Message, Presence, Publish
from aiochat.sdk import CaughtUp
from tests.scripted import (
    Script,
    chatting,
    events_until,
    joined,
    message,
    messages,
    position,
    told,
    until_heard,
)


async def test_who_never_takes_an_event_can_publish_for_ever(script: Script) -> None:
    """What does not fit is left out, and the acks come through: a publisher need not iterate."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        for offset in range(6, 106):
            publishing = asyncio.create_task(chat.publish("lobby", "one"))
            publish = await peer.hear(Publish)
            await peer.tell(message(offset), Ack(id=publish.id, room="lobby", offset=offset, ts=1))
            assert (await publishing).offset == offset


async def test_what_did_not_fit_is_asked_for_when_there_is_room(script: Script) -> None:
    """The caller gets all of it, in order and once, a page larger than the bounds too, and is not told of it."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*messages(6, 30))
        await until_heard(chat, peer)
        events = [await anext(chat) for _ in range(5)]
        join = await peer.hear(Join)
        assert (join.since, join.limit) == (position(13), None)
        await peer.tell(message(99), joined(join, *messages(14, 99), recovered=True, more=False), message(100))
        events += await events_until(chat, lambda event: told([event]) == [99])
        assert told(events) == list(range(6, 100))
        again = await peer.hear(Join)
        assert again.since == position(99)
        await peer.tell(joined(again, message(100), recovered=True, more=False), message(101))
        events = await events_until(chat, lambda event: told([event]) == [101])
        assert events == [message(100), message(101)]


async def test_who_cannot_catch_up_yet_stays_in_the_room(script: Script) -> None:
    """The server takes out who does not ask on: so it comes in without what it missed, and asks for that later."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*messages(6, 30))
        peer.reset()
        back = await script.connection()
        await back.welcome()
        await back.take_back(joined(None, *messages(14, 20), offset=30, recovered=True, more=True))
        live = await back.hear(Join)
        assert (live.since, live.limit) == (None, 0)
        await back.tell(joined(live, offset=30))
        events = [await anext(chat) for _ in range(7)]
        join = await back.hear(Join)
        assert join.since == position(13)
        await back.tell(joined(join, *messages(14, 30), recovered=True, more=False))
        events += await events_until(chat, lambda event: isinstance(event, CaughtUp))
        assert told(events) == list(range(6, 31))


async def test_what_is_in_no_log_is_dropped_far_beyond_the_bounds(script: Script) -> None:
    """Nobody fills the memory of who does not look: twice as many events as were allowed, and no more."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*(Presence(room="lobby", members=number) for number in range(100)))
        await until_heard(chat, peer)
        await chat.close()
        assert len([event async for event in chat]) == 20


async def test_that_it_is_out_of_a_room_is_told_in_any_case(script: Script) -> None:
    """There are no more of these than rooms."""
    async with chatting(script, max_events=10) as (chat, peer, _):
        await peer.tell(*(Presence(room="lobby", members=number) for number in range(100)))
        await peer.tell(Left(room="lobby", reason="forbidden"))
        await until_heard(chat, peer)
        await chat.close()
        assert [event async for event in chat][-1] == Left(room="lobby", reason="forbidden")


async def test_the_bound_holds_in_bytes_too(script: Script) -> None:
    """A few large messages are as many as a lot of small ones."""
    async with chatting(script, max_bytes=10_000) as (chat, peer, _):
        await peer.tell(*(Message("lobby", offset, 1, None, "x" * 3000) for offset in range(6, 20)))
        await until_heard(chat, peer)
        await chat.close()
        assert told([event async for event in chat]) == [6, 7, 8, 9]
