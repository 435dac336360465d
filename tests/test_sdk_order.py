"""The Python client publishes each message once, and in order; against a server with a script."""

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from aiochat.messages import Join, Publish, Resume, Typing
from aiochat.sdk import ChatClient, Interrupted
from tests.scripted import (
    LIMITS,
    Script,
    break_off,
    chatting,
    joined,
    message,
    messages,
    position,
    refused,
    taken,
    until_heard,
)

Publishing = asyncio.Task[object]


def publish_all(chat: ChatClient, texts: Iterable[str], room: str = "lobby") -> list[Publishing]:
    """Ask for all of them at once."""
    return [asyncio.create_task(chat.publish(room, text)) for text in texts]


async def test_a_message_of_ones_own_is_as_good_as_its_ack(script: Script) -> None:
    """Where the connection is cut between the two, and the new session would not know the key."""
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.tell(message(6, key=(await peer.hear(Publish)).key))
        assert (await publishing).offset == 6
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        assert join.since == position(6)
        await back.tell(joined(join, offset=6, recovered=True, more=False))
        await back.hears_nothing()


async def test_a_message_of_ones_own_lets_those_that_follow_go(script: Script) -> None:
    """The server tells it before the ack, which then finds nobody who waits."""
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        publishing = publish_all(chat, ["one", "two", "three"])
        await peer.tell(message(6, key=(await peer.hear(Publish)).key))
        assert [(await peer.hear(Publish)).text for _ in range(2)] == ["two", "three"]
        await chat.close()
        await asyncio.gather(*publishing, return_exceptions=True)


async def test_a_message_under_the_same_key_in_another_room_is_not_its_ack(script: Script) -> None:
    """A key is one of a room's."""
    async with chatting(script) as (chat, peer, _):
        (publishing,) = publish_all(chat, ["one"])
        await peer.tell(message(6, room="kitchen", key=(await peer.hear(Publish)).key), message(6))
        await until_heard(chat, peer)
        assert not publishing.done()
        await chat.close()
        await asyncio.gather(publishing, return_exceptions=True)


async def test_what_is_there_is_known_from_a_page_for_which_there_is_no_room(script: Script) -> None:
    """The page is left out, and asked for again; but the publisher need not wait for that, nor doubt."""
    async with chatting(script, max_events=1) as (chat, peer, _), asyncio.timeout(5):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        key = (await peer.hear(Publish)).key
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        page = (*messages(6, 7), message(8, key=key))
        await back.tell(joined(await back.hear(Join), *page, recovered=True, more=False))
        assert (await publishing).offset == 8


@pytest.mark.parametrize("code", ["rate_limited", "unavailable"])
async def test_none_overtakes_one_that_is_refused_for_now(script: Script, code: str) -> None:
    """Until the server has taken one on this connection, and after a refusal, they go one by one."""
    async with chatting(script) as (chat, peer, _):
        publishing = publish_all(chat, ["one", "two", "three"])
        for _ in range(2):
            first = await peer.hear(Publish)
            assert first.text == "one"
            await peer.hears_nothing()
            await peer.tell(refused(first, code, retry_after_ms=1))
        assert [(await peer.acknowledge(offset)).text for offset in (6, 7, 8)] == ["one", "two", "three"]
        await asyncio.gather(*publishing)


async def test_those_that_are_refused_together_are_sent_again_one_by_one(script: Script) -> None:
    """In their order, and under the same keys."""
    async with chatting(script) as (chat, peer, _):
        await taken(chat, peer, 6)
        publishing = publish_all(chat, ["one", "two", "three"])
        before = [await peer.hear(Publish) for _ in publishing]
        await peer.tell(*(refused(publish, "rate_limited", retry_after_ms=1) for publish in before))
        again = await peer.hear(Publish)
        await peer.hears_nothing()
        await peer.tell(refused(again, "rate_limited", retry_after_ms=1))
        after = [await peer.acknowledge(offset) for offset in (7, 8, 9)]
        assert [publish.key for publish in after] == [publish.key for publish in before]
        await asyncio.gather(*publishing)


async def test_on_a_new_connection_one_alone_is_under_way_again(script: Script) -> None:
    """What the server took on the one before says nothing of this one."""
    async with chatting(script) as (chat, peer, _):
        await taken(chat, peer, 6)
        back = await break_off(chat, peer, script)
        publishing = publish_all(chat, ["one", "two"])
        await back.take_back(joined(None, offset=6, recovered=True, more=False))
        first = await back.hear(Publish)
        await back.hears_nothing()
        await back.tell(refused(first, "unavailable", retry_after_ms=1))
        assert [(await back.acknowledge(offset)).text for offset in (7, 8)] == ["one", "two"]
        await asyncio.gather(*publishing)


async def test_where_it_may_be_too_fast_one_alone_is_under_way(script: Script) -> None:
    """The server's clock is another one: what it refuses must not be overtaken."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=10.0, burst_messages=2)
    async with chatting(script, limits=limits) as (chat, peer, _):
        await taken(chat, peer, 6)
        publishing = publish_all(chat, ["one", "two", "three"])
        refusing = await peer.hear(Publish)
        for _ in range(4):  # longer than the next one would wait for the rate alone
            await peer.hears_nothing()
        await peer.tell(refused(refusing, "rate_limited", retry_after_ms=1))
        assert [(await peer.acknowledge(offset)).text for offset in (7, 8, 9)] == ["one", "two", "three"]
        await asyncio.gather(*publishing)


async def test_what_is_not_published_does_not_wait_for_what_is(script: Script) -> None:
    """A page of history is asked for while one message alone is under way."""
    async with chatting(script) as (chat, peer, _):
        publishing = publish_all(chat, ["one", "two"])
        await peer.hear(Publish)
        await until_heard(chat, peer)
        await chat.typing("lobby")
        assert (await peer.hear(Typing)).room == "lobby"
        await chat.close()
        await asyncio.gather(*publishing, return_exceptions=True)


async def test_the_next_one_goes_when_the_one_under_way_is_given_up(script: Script) -> None:
    """Nobody waits for what nobody wants."""
    async with chatting(script) as (chat, peer, _):
        given_up, publishing = publish_all(chat, ["one", "two"])
        await peer.hear(Publish)
        given_up.cancel()
        assert (await peer.acknowledge(6)).text == "two"
        await publishing


async def test_none_overtakes_one_that_is_looked_for(script: Script) -> None:
    """After a lost session the room is told page by page until it is known."""
    async with chatting(script) as (chat, peer, _):
        publishing = publish_all(chat, ["one"])
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        publishing += publish_all(chat, ["two"])
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(joined(await back.hear(Join), message(6), offset=7, recovered=True, more=True))
        page = await back.hear(Join)
        await back.hears_nothing()
        await back.tell(joined(page, message(7), recovered=True, more=False))
        assert [(await back.acknowledge(offset)).text for offset in (8, 9)] == ["one", "two"]
        await asyncio.gather(*publishing)


async def test_what_cannot_be_looked_for_holds_up_nothing(script: Script) -> None:
    """Nobody takes the events: the rest of the log is not asked for, so its publisher is told that nobody knows."""
    async with chatting(script, max_events=4) as (chat, peer, _), asyncio.timeout(5):
        doubtful = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        following = asyncio.create_task(chat.publish("lobby", "two"))
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(joined(await back.hear(Join), *messages(6, 10), offset=20, recovered=True, more=True))
        skip = await back.hear(Join)
        assert (skip.since, skip.limit) == (None, 0)
        await back.tell(joined(skip, offset=20))
        with pytest.raises(Interrupted):
            await doubtful
        assert (await back.acknowledge(21)).text == "two"
        await following
