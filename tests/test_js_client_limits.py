"""What the JavaScript client keeps to: the server's limits and its own bounds; against a server with a script."""

import asyncio

import msgspec
import pytest

from aiochat.messages import Join, Publish, Session
from tests.js_clients import ChatError, chatting_js, needs_node
from tests.scripted import LIMITS, Script, position, refused

pytestmark = needs_node


async def test_what_is_too_long_is_not_even_sent(script: Script) -> None:
    """The server would end the chat for it (1009); bytes count, not characters."""
    async with chatting_js(script, limits=msgspec.structs.replace(LIMITS, message_bytes=200)) as (chat, peer):
        for text in ("x" * 200, "ü" * 60):
            with pytest.raises(ChatError, match="more than the 200") as error:
                await chat.ask("publish", "lobby", text)
            assert error.value.code == "too_long"
        publishing = chat.start("publish", "lobby", "x" * 60)
        await peer.acknowledge(6)
        await publishing


async def test_what_is_too_long_for_the_server_that_came_back_is_given_up(script: Script) -> None:
    """It may be in the log if it was sent; what was not is refused; and with a `resume` it begins anew."""
    limits = msgspec.structs.replace(LIMITS, message_bytes=500)
    async with chatting_js(script) as (chat, peer):
        sent = chat.start("publish", "lobby", "x" * 500)
        await peer.hear(Publish)
        await peer.tell(Session("t" * 500, 600_000))
        await chat.quiet()
        peer.reset()
        await chat.next_of("state", state="waiting")
        unsent = chat.start("publish", "lobby", "x" * 500)
        back = await script.connection()
        await back.welcome(limits=limits)
        for asking, code in ((sent, "interrupted"), (unsent, "too_long")):
            with pytest.raises(ChatError) as error:
                await asking
            assert error.value.code == code
        assert (await back.hear(Join)).since == position(5)


async def test_only_so_much_may_wait(script: Script) -> None:
    """In commands and in bytes; the others are refused at once, and there is room again after an answer."""
    async with chatting_js(script, maxPending=3, maxPendingBytes=1000) as (chat, peer):
        publishing = [chat.start("publish", "lobby", text) for text in ("one", "two", "three")]
        with pytest.raises(ChatError) as error:
            await chat.ask("publish", "lobby", "four")
        assert error.value.code == "too_many_pending"
        for offset in (6, 7, 8):
            await peer.acknowledge(offset)
        await asyncio.gather(*publishing)
        long = chat.start("publish", "lobby", "x" * 600)
        with pytest.raises(ChatError) as error:
            await chat.ask("publish", "lobby", "x" * 600)
        assert error.value.code == "too_many_pending"
        await peer.acknowledge(9)
        await long


async def test_it_keeps_to_the_rate_that_the_server_allows(script: Script) -> None:
    """It sends a burst, and then waits, rather than be refused."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=20.0, burst_messages=5)
    async with chatting_js(script, limits=limits) as (chat, peer):
        loop = asyncio.get_running_loop()
        began = loop.time()
        publishing = [chat.start("publish", "lobby", str(number)) for number in range(8)]
        for offset in range(6, 14):
            await peer.acknowledge(offset)
        await asyncio.gather(*publishing)
        assert loop.time() - began >= 0.15


async def test_where_it_may_be_too_fast_one_alone_is_under_way(script: Script) -> None:
    """The server's clock is another one: what it refuses must not be overtaken."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=4.0, burst_messages=1)
    async with chatting_js(script, limits=limits) as (chat, peer):
        publishing = [chat.start("publish", "lobby", str(number)) for number in range(3)]
        await peer.acknowledge(6)
        second = await peer.hear(Publish)
        for _ in range(8):  # longer than the third one would wait for the rate alone
            await peer.hears_nothing()
        await peer.tell(refused(second, "rate_limited", retry_after_ms=1))
        assert [(await peer.acknowledge(offset)).text for offset in (7, 8)] == ["1", "2"]
        await asyncio.gather(*publishing)


async def test_typing_is_not_told_late(script: Script) -> None:
    """Where the rate does not allow it now, it is left."""
    limits = msgspec.structs.replace(LIMITS, messages_per_second=0.001, burst_messages=1)
    async with chatting_js(script, limits=limits) as (chat, peer):
        await chat.ask("typing", "lobby")
        await peer.hears_nothing()
