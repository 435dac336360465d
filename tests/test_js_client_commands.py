"""What the JavaScript client does with what it is asked: acks, keys, refusals; against a server with a script."""

import asyncio

import msgspec
import pytest

from aiochat.messages import (
    Ack,
    Call,
    Direct,
    Error,
    Gap,
    History,
    HistoryPage,
    Join,
    Presence,
    Publish,
    Renaming,
    Resume,
    Typing,
)
from tests.js_clients import ChatError, break_off, chatting_js, needs_node
from tests.scripted import LIMITS, Peer, Script, joined, message, messages, position, refused

pytestmark = needs_node


async def back_again(peer: Peer) -> None:
    """Its session goes on, and nothing was missed in the lobby."""
    await peer.take_back(joined(None, offset=5, recovered=True, more=False))


async def test_a_publish_has_its_key_at_once_and_its_ack_later(script: Script) -> None:
    """So a page can show it before it is in the log; a key of the caller's own is taken, to try something again."""
    async with chatting_js(script) as (chat, peer):
        publishing = chat.start("publish", "Lobby", "one", {"data": {"two": [2, None]}})
        key = (await chat.next_of("key"))["key"]
        heard = await peer.acknowledge(6)
        assert (heard.room, heard.text, heard.data, heard.key) == ("lobby", "one", {"two": [2, None]}, key)
        ack = await publishing
        assert (ack["room"], ack["offset"], ack["key"]) == ("lobby", 6, key)
        again = chat.start("publish", "lobby", "two", {"key": "my own key"})
        assert (await peer.acknowledge(7)).key == "my own key"
        await again


async def test_keys_are_random_without_web_crypto(script: Script) -> None:
    """Node.js 18 has none; a key takes 8 to 64 characters."""
    async with chatting_js(script) as (chat, peer):
        await chat.ask("withoutCrypto")
        publishing = [chat.start("publish", "lobby", str(number)) for number in range(20)]
        keys = [(await peer.acknowledge(offset)).key for offset in range(6, 26)]
        await asyncio.gather(*publishing)
        assert len(set(keys)) == 20
        assert {len(str(key)) for key in keys} == {32}


async def test_what_was_not_acknowledged_is_sent_again_once_the_rooms_are_back(script: Script) -> None:
    """In its order and under the same keys, and before what was published meanwhile."""
    async with chatting_js(script) as (chat, peer):
        first = chat.start("publish", "lobby", "zero")
        await peer.acknowledge(6)
        await first
        publishing = [chat.start("publish", "lobby", text) for text in ("one", "two")]
        before = [await peer.hear(Publish), await peer.hear(Publish)]
        back = await break_off(chat, peer, script)
        publishing.append(chat.start("publish", "lobby", "three"))
        await back.take_back()
        await back.hears_nothing()
        await back.tell(joined(None, offset=6, recovered=True, more=False))
        again = [await back.acknowledge(offset) for offset in (7, 8, 9)]
        assert [publish.text for publish in again] == ["one", "two", "three"]
        assert [publish.key for publish in again[:2]] == [publish.key for publish in before]
        assert [ack["offset"] for ack in await asyncio.gather(*publishing)] == [7, 8, 9]


async def test_none_overtakes_one_that_is_refused_for_now(script: Script) -> None:
    """Until the log has taken one on this connection, and after a refusal, they go one by one, and not too early."""
    async with chatting_js(script) as (chat, peer):
        loop = asyncio.get_running_loop()
        publishing = [chat.start("publish", "lobby", text) for text in ("one", "two", "three")]
        for _ in range(2):
            first = await peer.hear(Publish)
            assert first.text == "one"
            await peer.hears_nothing()
            refused_at = loop.time()
            await peer.tell(refused(first, "unavailable", retry_after_ms=100))
        assert [(await peer.acknowledge(offset)).text for offset in (6, 7, 8)] == ["one", "two", "three"]
        assert loop.time() - refused_at >= 0.1
        assert [ack["offset"] for ack in await asyncio.gather(*publishing)] == [6, 7, 8]


async def test_a_message_of_ones_own_lets_those_that_follow_go(script: Script) -> None:
    """The server tells it before the ack, which then finds nobody who waits."""
    async with chatting_js(script) as (chat, peer):
        publishing = [chat.start("publish", "lobby", text) for text in ("one", "two", "three")]
        await peer.tell(message(6, key=(await peer.hear(Publish)).key))
        assert [(await peer.hear(Publish)).text for _ in range(2)] == ["two", "three"]
        await chat.ask("close")
        await asyncio.gather(*publishing, return_exceptions=True)


async def test_what_is_asked_of_a_room_waits_until_it_is_entered(script: Script) -> None:
    """Else it would be refused as `not_joined` where the room is refused for now."""
    async with chatting_js(script) as (chat, peer):
        joining, publishing = chat.start("join", "kitchen"), chat.start("publish", "kitchen", "one")
        join = await peer.hear(Join)
        await peer.tell(refused(join, "unavailable", retry_after_ms=1))
        again = await peer.hear(Join)
        assert (again.name, again.id) == ("alice", join.id)
        await peer.hears_nothing()
        await peer.tell(joined(again))
        await peer.acknowledge(1)
        await asyncio.gather(joining, publishing)


async def test_a_message_of_ones_own_is_as_good_as_its_ack(script: Script) -> None:
    """Where the connection is cut between the two, and the new session would not know the key."""
    async with chatting_js(script) as (chat, peer):
        publishing = chat.start("publish", "lobby", "one")
        await peer.tell(message(6, key=(await peer.hear(Publish)).key))
        assert (await publishing)["offset"] == 6
        back = await break_off(chat, peer, script)
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        assert (await back.hear(Join)).since == position(6)


@pytest.mark.parametrize("is_recovered", [True, False])
async def test_after_a_lost_session_what_may_be_in_the_log_is_looked_for(script: Script, *, is_recovered: bool) -> None:
    """What is there is acknowledged; what is not is sent again, in its order, or not if it cannot be known."""
    async with chatting_js(script) as (chat, peer):
        first = chat.start("publish", "lobby", "zero")
        await peer.acknowledge(6)
        await first
        publishing = [chat.start("publish", "lobby", text) for text in ("one", "two")]
        one, two = await peer.hear(Publish), await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        publishing.append(chat.start("publish", "lobby", "three"))
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        join = await back.hear(Join)
        if not is_recovered:
            await back.tell(Gap(room="lobby", epoch="e", from_=6, to=6))
        await back.tell(joined(join, message(7, key=one.key), recovered=is_recovered, more=False))
        assert (await publishing[0])["offset"] == 7
        if is_recovered:
            assert (await back.acknowledge(8)).key == two.key
            assert (await publishing[1])["offset"] == 8
        else:
            with pytest.raises(ChatError) as error:
                await publishing[1]
            assert error.value.code == "interrupted"
        assert (await back.acknowledge(9)).text == "three"
        await publishing[2]


async def test_none_overtakes_one_that_is_looked_for(script: Script) -> None:
    """Not even where another one was taken meanwhile."""
    async with chatting_js(script) as (chat, peer):
        joining = chat.start("join", "kitchen")
        await peer.admit()
        await joining
        publishing = [chat.start("publish", "kitchen", "zero")]
        await peer.acknowledge(1)
        await asyncio.gather(*publishing)
        publishing = [chat.start("publish", room, text) for room, text in (("kitchen", "one"), ("lobby", "two"))]
        await peer.hear(Publish)
        await peer.hear(Publish)
        back = await break_off(chat, peer, script)
        publishing.append(chat.start("publish", "lobby", "three"))
        await back.tell(refused(await back.hear(Resume), "session_lost"))
        await back.tell(joined(await back.hear(Join), message(6), offset=7, recovered=True, more=True))
        await back.tell(joined(await back.hear(Join), offset=1, recovered=True, more=False))
        assert (await back.acknowledge(2)).text == "one"
        page = await back.hear(Join)
        await back.hears_nothing()
        await back.tell(joined(page, message(7), recovered=True, more=False))
        assert [(await back.acknowledge(offset)).text for offset in (8, 9)] == ["two", "three"]
        await asyncio.gather(*publishing)


async def test_what_could_be_done_twice_is_not_sent_again(script: Script) -> None:
    """What has no key, and what has one that the server has forgotten; what only reads is asked again."""
    limits = msgspec.structs.replace(LIMITS, key_ms=1)
    async with chatting_js(script, limits=limits) as (chat, peer):
        history = chat.start("history", "lobby", {"limit": 3})
        await peer.hear(History)
        doubtful = [
            chat.start("publish", "lobby", "one"),
            chat.start("direct", {"client": "c2"}, "psst"),
            chat.start("call", "pay", 5),
        ]
        for kind in (Publish, Direct, Call):
            await peer.hear(kind)
        await asyncio.sleep(0.002)  # of the clock that is asked
        back = await break_off(chat, peer, script, limits)
        await back_again(back)
        for asking in doubtful:
            with pytest.raises(ChatError) as error:
                await asking
            assert error.value.code == "interrupted"
        again = await back.hear(History)
        await back.tell(HistoryPage(id=again.id, room="lobby", epoch="e", messages=messages(3, 5), more=True))
        assert [entry["offset"] for entry in (await history)["messages"]] == [3, 4, 5]


async def test_refusals_for_good_and_for_too_long_are_told(script: Script) -> None:
    """With what the server said."""
    async with chatting_js(script, retryMs=1000) as (chat, peer):
        bad, late = chat.start("publish", "lobby", "one"), chat.start("publish", "lobby", "two")
        await peer.tell(refused(await peer.hear(Publish), "bad_message", "no such text", field="text"))
        await peer.tell(refused(await peer.hear(Publish), "unavailable", retry_after_ms=1001))
        with pytest.raises(ChatError, match="no such text") as error:
            await bad
        assert (error.value.name, error.value.code, error.value.field) == ("ChatError", "bad_message", "text")
        with pytest.raises(ChatError) as error:
            await late
        assert (error.value.code, error.value.retry_after_ms) == ("unavailable", 1001)


async def test_a_publish_that_is_taken_back_is_not_sent_again(script: Script) -> None:
    """By a signal; what was not sent is not sent at all."""
    async with chatting_js(script) as (chat, peer):
        sent = chat.start("publish", "lobby", "one", {"key": "key number 1"})
        await peer.hear(Publish)
        peer.reset()
        await chat.next_of("state", state="waiting")
        unsent = chat.start("publish", "lobby", "two", {"key": "key number 2"})
        for number, publishing in ((1, sent), (2, unsent)):
            await chat.ask("abort", f"key number {number}")
            with pytest.raises(ChatError, match="taken back"):
                await publishing
        back = await script.connection()
        await back.welcome()
        await back_again(back)
        publishing = chat.start("publish", "lobby", "three")
        assert (await back.acknowledge(6)).text == "three"
        await publishing


async def test_typing_is_told_without_waiting(script: Script) -> None:
    """There is no answer to it, an error neither; during a break it is left."""
    async with chatting_js(script) as (chat, peer):
        await chat.ask("typing", "lobby")
        typing = await peer.hear(Typing)
        await peer.tell(refused(typing, "not_joined"))
        back = await break_off(chat, peer, script)
        await chat.ask("typing", "lobby")
        await back_again(back)
        await chat.next_of("state", state="online")
        await chat.ask("typing", "lobby")
        await back.hear(Typing)
        assert not [event for event in await chat.quiet() if event["kind"] == "error"]


async def test_a_handler_that_throws_does_not_disturb_the_chat(script: Script) -> None:
    """It is reported; the other handlers and what follows are as always. Taken off, it is not called any more."""
    async with chatting_js(script) as (chat, peer):
        for kind in ("message", "state", "caughtup"):
            await chat.ask("break", kind)
        await peer.tell(message(6), message(7))
        assert (await chat.next_of("reported"))["reason"] == "a handler of message"
        back = await break_off(chat, peer, script)
        resume = await back.take_back(joined(None, message(8), recovered=True, more=False))
        assert resume.rooms == {"lobby": position(7)}
        await chat.next_of("state", state="online", missed=1)
        assert (await chat.next_of("reported"))["reason"] == "a handler of state"
        await chat.ask("mend")
        await back.tell(message(9))
        await chat.next_of("message", offset=9)
        assert await chat.quiet() == []


async def test_what_nobody_waits_for_is_an_event(script: Script) -> None:
    """Presence, direct messages, complaints; what a newer server tells is left out, its own events too."""
    async with chatting_js(script) as (chat, peer):
        renamed = Renaming(client="c1", was="alice", name="al")
        await peer.tell(Presence(room="lobby", members=2, renamed=(renamed,)), Error(code="odd", reason="something"))
        await peer.socket.send_str('{"type": "reaction", "room": "lobby"}\n{"type": "state", "state": "closed"}')
        await peer.socket.send_str('{"type": "direct", "sender": {"client": "c9"}, "ts": 1, "text": "psst"}')
        kinds = [event["kind"] for event in await chat.until(lambda event: event["kind"] == "direct")]
        assert kinds == ["presence", "error", "direct"]
        assert await chat.ask("nameIn", "lobby") == "al"


async def test_what_json_cannot_say_is_refused_before_it_is_sent(script: Script) -> None:
    """A cycle here; and what ends the chat ends all that waits."""
    async with chatting_js(script) as (chat, peer):
        with pytest.raises(ChatError) as error:
            await chat.ask("publishCycle", "lobby")
        assert (error.value.code, error.value.field) == ("bad_message", "data")
        publishing = chat.start("publish", "lobby", "one")
        await peer.hear(Publish)
        await peer.tell(Ack(id=77, room="lobby", offset=6, ts=1))
        await chat.ask("close")
        for asking in (publishing, chat.start("publish", "lobby", "two")):
            with pytest.raises(ChatError, match="this client has closed the chat") as error:
                await asking
            assert (error.value.code, error.value.close_code) == ("closed", 1000)
