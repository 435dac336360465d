"""What the Python client does with what it is asked: acks, keys, refusals; against a server with a script."""

import asyncio
import math
from typing import Any, Final

import msgspec
import pytest

from aiochat.errors import Reply
from aiochat.messages import Ack, Call, Direct, Gap, History, HistoryPage, Join, Publish, Resume, Session, Typing
from aiochat.sdk import ChatClosed, Disconnected, Interrupted
from aiochat.sdk.encoding import encoded
from aiochat.sdk.link import CODECS
from aiochat.sdk.pace import cost
from tests.scripted import (
    LIMITS,
    Script,
    break_off,
    chatting,
    joined,
    message,
    messages,
    next_of,
    position,
    refused,
    taken,
    until_heard,
)


async def test_a_publish_is_acknowledged_under_its_key(script: Script) -> None:
    """Each has a key of its own, and ids count up."""
    async with chatting(script) as (chat, peer, _):
        both = asyncio.gather(chat.publish("Lobby", "one"), chat.publish("lobby", data={"two": 2}))
        first, second = await peer.acknowledge(6), await peer.acknowledge(7)
        acks = await both
        assert [ack.offset for ack in acks] == [6, 7]
        assert (first.room, first.text, second.data) == ("lobby", "one", {"two": 2})
        assert isinstance(first.id, int)
        assert isinstance(second.id, int)
        assert first.id < second.id
        assert first.key is not None
        assert len({first.key, second.key}) == 2


async def test_what_was_not_acknowledged_is_sent_again_once_the_rooms_are_back(script: Script) -> None:
    """In its order and under the same keys, and before what was published meanwhile."""
    async with chatting(script) as (chat, peer, _):
        await taken(chat, peer, 6)
        publishing = [asyncio.create_task(chat.publish("lobby", text)) for text in ("one", "two")]
        before = [await peer.hear(Publish), await peer.hear(Publish)]
        back = await break_off(chat, peer, script)
        publishing.append(asyncio.create_task(chat.publish("lobby", "three")))
        await back.take_back()
        await back.hears_nothing()
        await back.tell(joined(None, offset=6, recovered=True, more=False))
        again = [await back.acknowledge(offset) for offset in (7, 8, 9)]
        assert [publish.text for publish in again] == ["one", "two", "three"]
        assert [publish.key for publish in again[:2]] == [publish.key for publish in before]
        assert [ack.offset for ack in await asyncio.gather(*publishing)] == [7, 8, 9]


async def test_after_a_lost_session_a_publish_that_is_in_the_log_is_not_sent_again(script: Script) -> None:
    """The new session has no keys: what was caught up with tells which of them got there."""
    async with chatting(script) as (chat, peer, _):
        await taken(chat, peer, 6)
        publishing = [asyncio.create_task(chat.publish("lobby", text)) for text in ("one", "two")]
        first, second = await peer.hear(Publish), await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        await back.tell(joined(join, message(7, key=first.key), recovered=True, more=False))
        again = await back.acknowledge(8)
        assert (again.text, again.key) == ("two", second.key)
        assert [ack.offset for ack in await asyncio.gather(*publishing)] == [7, 8]


async def test_after_a_lost_session_and_a_gap_nobody_knows(script: Script) -> None:
    """It is not sent again: it might be there twice."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        await back.tell(Gap(room="lobby", epoch="x", offset=0), joined(join, epoch="x", recovered=False, more=False))
        with pytest.raises(Interrupted):
            await publishing


async def test_after_a_lost_session_nobody_knows_of_a_room_that_was_being_joined(script: Script) -> None:
    """Its publisher is told so at once: the new join tells nothing of what was said there before."""
    async with chatting(script) as (chat, peer, _), asyncio.timeout(5):
        joining = asyncio.create_task(chat.join("kitchen"))
        publishing = asyncio.create_task(chat.publish("kitchen", "one"))
        await peer.hear(Join)
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(joined(await back.hear(Join), offset=5, recovered=True, more=False))
        await back.tell(joined(await back.hear(Join)))
        assert (await joining).room == "kitchen"
        with pytest.raises(Interrupted):
            await publishing


async def test_a_key_that_the_server_has_forgotten_is_not_sent_again(script: Script) -> None:
    """After `key_ms` the same key would make a second message."""
    limits = msgspec.structs.replace(LIMITS, key_ms=1)
    async with chatting(script, limits=limits) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        await asyncio.sleep(0.002)  # of the clock that is asked
        back = await break_off(chat, peer, script, limits)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        with pytest.raises(Interrupted):
            await publishing


async def test_what_has_no_key_is_not_sent_twice(script: Script) -> None:
    """A direct message and a call: whoever asked is told that it may have been done."""
    async with chatting(script) as (chat, peer, _):
        sending, calling = asyncio.create_task(chat.direct("psst", client="c2")), asyncio.create_task(chat.call("pay"))
        await peer.hear(Direct)
        await peer.hear(Call)
        await break_off(chat, peer, script)
        for task in (sending, calling):
            with pytest.raises(Interrupted):
                await task


async def test_what_only_reads_is_asked_again_after_a_break(script: Script) -> None:
    """Whoever waits for it does not notice."""
    async with chatting(script) as (chat, peer, _):
        asking = asyncio.create_task(chat.history("lobby", limit=3))
        await peer.hear(History)
        back = await break_off(chat, peer, script)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        again = await back.hear(History)
        await back.tell(HistoryPage(id=again.id, room="lobby", epoch="e", messages=messages(3, 5), more=True))
        assert (await asking).messages == messages(3, 5)


@pytest.mark.parametrize("code", ["rate_limited", "unavailable"])
async def test_what_is_refused_for_now_is_sent_again(script: Script, code: str) -> None:
    """Under the same key, after the time that the server asks for."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        first = await peer.hear(Publish)
        await peer.tell(refused(first, code, retry_after_ms=100))
        await peer.hears_nothing()
        assert (await peer.acknowledge(6)).key == first.key
        assert (await publishing).offset == 6


async def test_what_is_refused_for_too_long_is_told(script: Script) -> None:
    """As the server's last refusal."""
    async with chatting(script, retry_seconds=1.0) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.tell(refused(await peer.hear(Publish), "unavailable", retry_after_ms=1001))
        with pytest.raises(Reply) as reply:
            await publishing
        assert (reply.value.code, reply.value.retry_after_ms) == ("unavailable", 1001)


async def test_a_refusal_for_good_is_told_at_once(script: Script) -> None:
    """With the field that was wrong."""
    async with chatting(script) as (chat, peer, _):
        publishing = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.tell(refused(await peer.hear(Publish), "bad_message", field="text"))
        with pytest.raises(Reply) as reply:
            await publishing
        assert (reply.value.code, reply.value.field) == ("bad_message", "text")


async def test_what_is_too_long_is_not_even_sent(script: Script) -> None:
    """The server would end the chat for it (1009)."""
    limits = msgspec.structs.replace(LIMITS, message_bytes=200)
    async with chatting(script, limits=limits) as (chat, peer, _):
        with pytest.raises(Reply, match="more than the 200") as reply:
            await chat.publish("lobby", "x" * 200)
        assert reply.value.code == "too_long"
        publishing = asyncio.create_task(chat.publish("lobby", "x"))
        assert (await peer.acknowledge(6)).text == "x"
        await publishing


async def test_what_is_too_long_for_the_server_that_came_back_is_given_up(script: Script) -> None:
    """It may be in the log if it was sent; and what was not is refused, also where it waits for its turn."""
    limits = msgspec.structs.replace(LIMITS, message_bytes=500)
    async with chatting(script, max_unanswered=2) as (chat, peer, _), asyncio.timeout(5):
        sent = asyncio.create_task(chat.publish("lobby", "x" * 500))
        await peer.hear(Publish)
        peer.reset()
        await next_of(chat, Disconnected)
        unsent, waiting = (asyncio.create_task(chat.publish("lobby", "x" * 500)) for _ in range(2))
        back = await script.connection()
        await back.welcome(limits=limits)
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        with pytest.raises(Interrupted):
            await sent
        for publishing in (unsent, waiting):
            with pytest.raises(Reply, match="more than the 500") as reply:
                await publishing
            assert reply.value.code == "too_long"
        after = asyncio.create_task(chat.publish("lobby", "x"))
        assert (await back.acknowledge(6)).text == "x"
        await after


async def test_a_resume_that_is_too_long_is_not_sent(script: Script) -> None:
    """The client begins anew rather than have the server end the chat for it."""
    async with chatting(script) as (chat, peer, _):
        await peer.tell(Session("t" * 500, 600_000))
        await until_heard(chat, peer)
        back = await break_off(chat, peer, script, msgspec.structs.replace(LIMITS, message_bytes=500))
        assert (await back.hear(Join)).since == position(5)


_CYCLE: Final[list[Any]] = []
_CYCLE.append(_CYCLE)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(
    "data",
    [math.nan, b"bytes", {1: 2}, (1, 2), {"a": [2**53]}, object(), _CYCLE, ["\ud800"], {"\ud800": 1}],
    ids=["nan", "bytes", "key", "tuple", "integer", "object", "cycle", "surrogate", "surrogate key"],
)
def test_data_that_json_cannot_say_is_refused_before_it_is_sent(codec: str, data: Any) -> None:
    """The caller would be surprised by what came of it; all that carries data is looked at."""
    for command in (Publish(room="lobby", data=data), Direct(client="c", data=data), Call(method="m", data=data)):
        with pytest.raises(Reply, match="data: expected") as reply:
            encoded(CODECS[codec], command)
        assert (reply.value.code, reply.value.field) == ("bad_message", "data")


@pytest.mark.parametrize("text", ["\ud800", b"bytes"], ids=["surrogate", "bytes"])
async def test_text_that_cannot_be_said_is_refused_before_it_is_sent(script: Script, text: Any) -> None:
    """And the chat goes on."""
    async with chatting(script) as (chat, peer, _):
        for asking in (chat.publish("lobby", text), chat.direct(text, client="c"), chat.publish("lobby", data=[text])):
            with pytest.raises(Reply) as reply:
                await asking
            assert reply.value.code == "bad_message"
            assert reply.value.field in {"text", "data"}
        with pytest.raises(Reply) as reply:
            await chat.rename("lobby", "\ud800")
        assert reply.value.field == "name"
        publishing = asyncio.create_task(chat.publish("lobby", "x", data={"a": [1, None, 2.5]}))
        assert (await peer.acknowledge(6)).data == {"a": [1, None, 2.5]}
        await publishing


async def test_a_publish_that_is_given_up_is_not_sent_again(script: Script) -> None:
    """A deadline of the caller's takes it back."""
    async with chatting(script) as (chat, peer, _):
        given_up = asyncio.create_task(chat.publish("lobby", "one"))
        await peer.hear(Publish)
        given_up.cancel()
        back = await break_off(chat, peer, script)
        publishing = asyncio.create_task(chat.publish("lobby", "two"))
        await back.take_back(joined(None, offset=5, recovered=True, more=False))
        assert (await back.acknowledge(6)).text == "two"
        await publishing


async def test_only_so_many_commands_are_under_way(script: Script) -> None:
    """The others wait for an answer to one of them."""
    async with chatting(script, max_unanswered=2) as (chat, peer, _):
        await taken(chat, peer, 6)
        publishing = [asyncio.create_task(chat.publish("lobby", str(number))) for number in range(3)]
        first = await peer.hear(Publish)
        await peer.hear(Publish)
        await peer.hears_nothing()
        await peer.tell(Ack(id=first.id, room="lobby", offset=7, ts=1))
        await publishing[0]
        chat_closed = asyncio.gather(*publishing[1:], return_exceptions=True)
        await chat.close()
        assert {type(result) for result in await chat_closed} == {ChatClosed}


async def test_it_keeps_to_the_rate_that_the_server_allows(script: Script) -> None:
    """It sends a burst, and then waits, rather than be refused."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=20.0, burst_messages=5)
    async with chatting(script, limits=limits) as (chat, peer, _):
        loop = asyncio.get_running_loop()
        began = loop.time()
        publishing = asyncio.gather(*(chat.publish("lobby", str(number)) for number in range(8)))
        for offset in range(6, 14):
            await peer.acknowledge(offset)
        await publishing
        assert loop.time() - began >= 0.15


async def test_typing_is_told_without_waiting(script: Script) -> None:
    """There is no answer to it; during a break it is left."""
    async with chatting(script) as (chat, peer, _):
        await chat.typing("lobby")
        assert (await peer.hear(Typing)).room == "lobby"
        peer.reset()
        await next_of(chat, Disconnected)
        await chat.typing("lobby")


def test_resuming_costs_what_the_server_counts_for_it() -> None:
    """Ten times a publish, like a page; else the budgets would drift apart."""
    assert (cost(Resume(token="t")), cost(Publish(room="lobby"))) == (10, 1)
