"""The hub between too much input and a log that is slow or fails: shares, refusals, and nobody waits for ever."""

import asyncio

import pytest

from aiochat import messages as m
from aiochat.errors import Reply, StoreError
from aiochat.messages import HERE
from tests.hubs import MANY_ROOMS, ONE_ROOM, UNLIMITED, Chat, Peer, SlowChat

KIB = 1 << 10
AWAY = StoreError("away")
SORRY = "the history is not available, try again"
IN_DOUBT = "! perhaps not sent: the history did not confirm it"


# Shares of the inbox.


class Flood:
    """A connection whose client never stops sending: it feeds slices of many commands, and stops when it is held."""

    def __init__(self, chat: Chat, peer: Peer, command: m.Command, size: int) -> None:
        self._hub, self._peer, self._command, self._size = chat.hub, peer, command, size
        self.most_commands = self.most_bytes = self.slices = 0

    def feed(self) -> None:
        client = self._peer.client
        while True:
            for _ in range(4 * KIB // self._size):
                self._peer.ask(self._command, self._size)
            self.slices += 1
            self.most_commands = max(self.most_commands, len(client.commands or ()))
            self.most_bytes = max(self.most_bytes, client.queued_bytes)
            if client.is_full:
                self._hub.inbox.hold(client, self.feed)
                return


@pytest.mark.parametrize(
    "command", [m.Publish(room=HERE, text="x"), m.Join(room="kitchen"), m.History(room=HERE, limit=1)]
)
@pytest.mark.parametrize("size", [64, 4 * KIB])
async def test_a_client_has_a_share_of_the_inbox(command: m.Command, size: int) -> None:
    """64 commands or 128 KiB, and the slice that was over it: also where they wait for the log, one by one."""
    chat = Chat(limits=UNLIMITED)
    flood = Flood(chat, await chat.join(codec=ONE_ROOM), command, size)
    bob = await chat.join("attic")
    flood.feed()
    await chat.turn(200)
    assert flood.slices > 1
    assert flood.most_commands < 64 + 4 * KIB // size
    assert flood.most_bytes < 128 * KIB + 4 * KIB
    bob.say("hello")
    await chat.turn()
    assert bob.heard == ["hello"]


async def test_who_waits_for_the_log_is_fed_no_further_than_its_share() -> None:
    """And on, when the log has answered."""
    chat = SlowChat(limits=UNLIMITED)
    alice = await chat.come()
    flood = Flood(chat, alice, m.History(room=HERE, before=9), 256)
    flood.feed()
    await chat.turn(10)
    assert (flood.slices, len(chat.log.calls)) == (4, 1)
    while flood.slices == 4:
        await chat.answer()
    assert (flood.slices, len(alice.client.commands or ())) == (8, 64)


async def test_the_inbox_is_bounded_in_all() -> None:
    """At `hub.inbox_bytes` whoever sends is held after its next command; when the turn has taken them, no more."""
    chat = Chat(limits=UNLIMITED, hub={"inbox_bytes": 1000})
    alice, bob = await chat.join(), await chat.join()
    alice.ask(m.Publish(room=HERE, text="x"), 999)
    bob.ask(m.Publish(room=HERE, text="x"), 1)
    assert (alice.client.is_full, bob.client.is_full) == (False, True)
    await chat.turn()
    assert (bob.client.is_full, chat.hub.inbox.bytes) == (False, 0)


# A log that is slow or fails.


async def test_a_slow_log_holds_up_nobody_else() -> None:
    """Other commands of the room and other rooms are answered while an append is in flight."""
    chat = SlowChat()
    alice, bob = await chat.come(codec=ONE_ROOM), await chat.come("attic", codec=ONE_ROOM)
    alice.ask(m.Publish(room=HERE, text="hello"))
    await chat.turn()
    for peer in (alice, bob):
        peer.ask(m.Rename(room=HERE, name="somebody"))
        peer.ask(m.Who(room=HERE))
    await chat.turn()
    assert [type(event) for event in alice.told] == [type(event) for event in bob.told] == [m.Renamed, m.Members]
    await chat.answer()
    assert isinstance(alice.told[-1], m.Message)


@pytest.mark.parametrize("is_in_tail", [True, False])
async def test_who_joins_while_a_message_is_in_flight_hears_it_once(is_in_tail: bool) -> None:
    """In its page of history from the log, or live after one from memory: never both, never neither."""
    chat = SlowChat()
    alice = await chat.come()
    alice.say("before")
    await chat.turn()
    if not is_in_tail:
        chat.hub.tails.forget("lobby")
    bob = await chat.join(name="bob")
    alice.say("after")
    await chat.answer()
    await chat.answer()
    joined = "* you are in lobby as bob; 1 other is here"
    assert bob.heard == ([joined, "before", "after"] if is_in_tail else ["before", joined, "after"])


async def test_a_message_that_was_not_logged_is_refused() -> None:
    """Its publisher is told that nobody knows; it is not heard, and the next one goes its way."""
    chat = SlowChat()
    alice, bob = await chat.come(), await chat.come()
    alice.say("lost")
    await chat.turn()
    await chat.answer(AWAY)
    alice.say("heard")
    await chat.turn()
    await chat.answer()
    assert (alice.heard, bob.heard) == ([IN_DOUBT, "heard"], ["heard"])


async def test_who_joins_while_the_log_is_away_is_in_the_room_without_its_history() -> None:
    """A chat without a past is better than none; `/history` says that it is not there."""
    chat = SlowChat()
    alice = await chat.join(name="alice")
    await chat.answer(AWAY)
    alice.say("/history")
    await chat.turn()
    await chat.answer(AWAY)
    assert alice.heard == ["* you are in lobby as alice; nobody else is here", f"! {SORRY}"]


async def test_what_waits_too_long_for_the_log_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `wait_seconds`: joins go on without history; messages are refused, and one in flight may come all the same.

    Its publisher is told so, once.
    """
    chat = SlowChat(store={"wait_seconds": 5})
    alice = await chat.come()
    now = asyncio.get_running_loop().time()
    alice.say("in flight")
    await chat.turn()
    alice.say("behind it")
    bob = await chat.join(name="bob")
    monkeypatch.setattr(chat.hub.log, "_time", lambda: now + 6)
    chat.hub.check()
    await chat.turn()
    assert alice.heard == [IN_DOUBT, f"! not sent: {SORRY}"]
    assert bob.heard == ["* you are in lobby as bob; 1 other is here"]
    await chat.answer()
    assert (alice.heard[2:], bob.heard[1:]) == (["in flight"], ["in flight"])


@pytest.mark.parametrize("error", [None, AWAY])
async def test_who_was_told_that_the_log_is_late_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch, error: StoreError | None
) -> None:
    """No acknowledgement and no second error; what is in the log after all is delivered."""
    chat = SlowChat(store={"wait_seconds": 5})
    alice = await chat.come(codec=MANY_ROOMS)
    told_before = len(alice.told)
    now = asyncio.get_running_loop().time()
    alice.ask(m.Publish(id=1, room="lobby", text="in flight"))
    published = chat.hub.publishing.publish("lobby", "of the application", None)
    await chat.turn()
    monkeypatch.setattr(chat.hub.log, "_time", lambda: now + 6)
    chat.hub.check()
    chat.hub.check()
    await chat.turn()
    assert [type(event) for event in alice.told[told_before:]] == [m.Error]
    with pytest.raises(Reply):
        await published
    await chat.answer(error)
    assert [type(event) for event in alice.told[told_before + 1 :]] == ([] if error else [m.Message] * 2)


async def test_too_much_behind_the_log_is_refused() -> None:
    """The first so many wait, the others are told to try again."""
    chat = SlowChat(store={"pending_messages": 2}, limits=UNLIMITED)
    alice = await chat.come()
    alice.say("in flight")
    await chat.turn()
    alice.say("1", "2", "3", "4")
    await chat.turn()
    assert alice.heard == [f"! not sent: {SORRY}"] * 2
    await chat.answer()
    await chat.answer()
    assert alice.heard[2:] == ["in flight", "1", "2"]


async def test_a_room_that_all_have_left_is_forgotten_with_its_last_message() -> None:
    """What is in flight to it is logged, and delivered to whoever is there by then."""
    chat = SlowChat()
    alice = await chat.come("attic")
    alice.say("anybody?")
    alice.hang_up()
    await chat.turn(2)
    assert chat.hub.rooms == {}
    bob = await chat.join("attic", "bob")
    await chat.answer()
    assert bob.heard == ["anybody?", "* you are in attic as bob; nobody else is here"]


async def test_what_is_logged_while_a_room_is_empty_is_not_missed_by_who_comes_next() -> None:
    """Also where the room was kept only for a message that still waited."""
    chat = SlowChat()
    alice = await chat.come("attic")
    alice.say("zero")
    await chat.turn()
    await chat.answer()
    alice.say("one")
    await chat.turn()
    alice.say("two")
    alice.hang_up()
    await chat.turn()
    chat.log.answer()
    bob = chat.connect("attic", "bob")
    await chat.turn()
    while chat.log.calls:
        await chat.answer()
    assert bob.heard == ["zero", "one", "* you are in attic as bob; nobody else is here", "two"]


async def test_who_is_ahead_of_a_log_that_then_passes_is_told_to_begin_anew() -> None:
    """An offset beyond the newest is of another epoch, however far the log has come until it is read again."""
    chat = SlowChat()
    chat.log.fill("lobby", 3)
    alice, bob = await chat.come(codec=MANY_ROOMS), await chat.come(None, codec=MANY_ROOMS)
    chat.hub.tails.forget("lobby")
    bob.ask(m.Join(room="lobby", since=m.Position(chat.log.epoch, 4)))
    await chat.turn()
    for text in ("four", "five"):
        alice.ask(m.Publish(room="lobby", text=text))
    await chat.turn()
    while chat.log.calls:
        await chat.answer()
    gap, joined = bob.told
    assert gap == m.Gap(room="lobby", epoch=chat.log.epoch, offset=5)
    assert isinstance(joined, m.Joined)
    assert (joined.recovered, joined.more, [each.offset for each in joined.messages]) == (False, False, [1, 2, 3, 4, 5])


# What the embedding application does.


async def test_the_application_publishes_and_learns_the_offset() -> None:
    """To rooms with members and without, text and data; the room without is forgotten again."""
    chat = Chat()
    alice = await chat.join()
    published = [
        chat.hub.publishing.publish("lobby", "hello", None),
        chat.hub.publishing.publish("lobby", None, {"a": 1}),
        chat.hub.publishing.publish("attic", "echo", None),
    ]
    await chat.turn()
    assert [future.result().offset for future in published] == [1, 2, 1]
    assert alice.heard == ["hello", '{"a":1}']
    assert list(chat.hub.rooms) == ["lobby"]
    await asyncio.sleep(0)
    assert chat.hub.publishing._under_way == set()


async def test_the_application_is_told_when_the_log_is_away() -> None:
    """At once where too much waits, later where the append fails; as the error that clients get."""
    chat = SlowChat(store={"pending_messages": 1})
    failed, refused = (chat.hub.publishing.publish("attic", text, None) for text in ("a", "b"))
    await chat.turn()
    await chat.answer(AWAY)
    for future in (failed, refused):
        with pytest.raises(Reply) as reply:
            await future
        assert reply.value.code == "unavailable"
    assert chat.is_empty


async def test_the_application_may_stop_waiting() -> None:
    """The hub goes on, whatever becomes of the message."""
    chat = SlowChat(store={"pending_messages": 1})
    for error in (AWAY, None):
        published = [chat.hub.publishing.publish("attic", text, None) for text in ("logged or not", "refused")]
        for future in published:
            future.cancel()
        await chat.turn()
        await chat.answer(error)
    assert chat.is_empty


async def test_what_the_application_says_twice_under_a_key_is_there_once() -> None:
    """Under whatever name it is said; with other content it is refused, and a key that is none at once."""
    chat = Chat()
    alice = await chat.join()
    say = chat.hub.publishing.publish
    published = [say("lobby", text, None, name=name, key="key-0001") for text, name in (("a", None), ("a", "x"))]
    other = say("lobby", "b", None, key="key-0001")
    with pytest.raises(Reply):
        _ = say("lobby", "c", None, key="short")
    await chat.turn()
    first, again = [future.result() for future in published]
    assert (again.repeated, again.offset, again.ts, again.epoch) == (True, first.offset, first.ts, first.epoch)
    with pytest.raises(Reply) as reply:
        await other
    assert (reply.value.code, alice.heard, chat.hub.publishing._under_way) == ("key_reused", ["a"], set())


async def test_data_that_is_not_json_is_refused_at_once() -> None:
    """The caller has it in its traceback, and nobody waits."""
    chat = Chat()
    with pytest.raises(TypeError):
        _ = chat.hub.publishing.publish("lobby", None, object())
    assert chat.hub.publishing._under_way == set()


async def test_flushed_is_when_what_has_arrived_has_gone_out() -> None:
    """Not while it is in the inbox or in flight; what comes after it is never applied."""
    chat = SlowChat()
    alice = await chat.come()
    alice.say("one")
    flushed = chat.hub.publishing.flush()
    await chat.turn()
    alice.say("two")
    await chat.turn()
    assert not flushed.done()
    await chat.answer()
    assert (flushed.done(), alice.heard) == (True, ["one"])
    assert (len(chat.log.calls), chat.hub.inbox.bytes) == (0, 0)
    assert not chat.hub.publishing.flush().done()
