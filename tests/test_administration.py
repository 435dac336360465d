"""What an administrator sees and does, in a hub without a server: what is under way meanwhile, and what is late."""

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.api.administration import Administration
from aiochat.auth.identity import Identity
from aiochat.errors import Close, Reply, StoreError
from aiochat.listing import page_of
from tests.hubs import MANY_ROOMS, UNLIMITED, Chat, Peer, SlowChat

AWAY = StoreError("the store is away")


async def asked(chat: Chat, call: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """A call that has got as far as it can without the room log."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    await chat.turn()
    return task


async def refused(task: "asyncio.Task[Any]") -> str:
    """The code with which a call is refused."""
    with pytest.raises(Reply) as reply:
        await task
    return reply.value.code


async def test_a_deletion_takes_its_place_among_the_messages() -> None:
    """What came before it is delivered and gone, what comes after is the new epoch's; the gap stands between them."""
    chat = SlowChat(limits=UNLIMITED)
    alice = await chat.come(codec=MANY_ROOMS)
    told_before = len(alice.told)
    alice.ask(m.Publish(id=1, room="lobby", text="old"))
    await chat.turn()
    deleting = await asked(chat, Administration(chat.hub).delete_room("lobby"))
    alice.ask(m.Publish(id=2, room="lobby", text="new"))
    await chat.turn()
    while chat.log.calls:
        await chat.answer()
    told = [event for event in alice.told[told_before:] if not isinstance(event, m.Ack)]
    old, gap, new = told
    epoch = (await deleting).epoch
    assert isinstance(old, m.Message)
    assert isinstance(new, m.Message)
    assert (old.text, old.offset, new.text, new.offset) == ("old", 1, "new", 1)
    assert gap == m.Gap(room="lobby", epoch=epoch, offset=0)
    assert chat.hub.rooms["lobby"].epoch == epoch


async def test_a_deletion_that_is_late_still_tells_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked for it was told `unavailable`; they must learn that offsets begin anew."""
    chat = SlowChat(store={"wait_seconds": 0.01})
    monkeypatch.setattr("aiochat.api.administration._EXTRA_SECONDS", 0.0)
    chat.log.fill("lobby", 2)
    alice = await chat.come(codec=MANY_ROOMS)
    deleting = await asked(chat, Administration(chat.hub).delete_room("lobby"))
    assert await refused(deleting) == "unavailable"
    await chat.answer()
    assert isinstance(alice.told[-1], m.Gap)


async def test_a_deletion_that_fails_changes_nothing() -> None:
    """The history is there, and nobody is told otherwise."""
    chat = SlowChat()
    chat.log.fill("lobby", 2)
    alice = await chat.come(codec=MANY_ROOMS)
    told_before = len(alice.told)
    deleting = await asked(chat, Administration(chat.hub).delete_room("lobby"))
    await chat.answer(AWAY)
    assert await refused(deleting) == "unavailable"
    assert len(alice.told) == told_before
    reading = await asked(chat, Administration(chat.hub).messages("lobby", 100, None, None))
    assert len((await reading).messages) == 2


async def test_who_reads_while_the_log_is_away_is_told() -> None:
    """As clients are."""
    chat = SlowChat()
    reading = await asked(chat, Administration(chat.hub).room("attic"))
    await chat.answer(AWAY)
    assert await refused(reading) == "unavailable"
    assert chat.is_empty


async def test_a_room_without_a_history_shows_it_to_nobody() -> None:
    """Whoever has the admin token is no exception."""
    chat = Chat(room=[{"match": "quiet-*", "history": False}])  # type: ignore[arg-type]
    reading = await asked(chat, Administration(chat.hub).messages("quiet-1", 100, None, None))
    assert await refused(reading) == "forbidden"


async def test_who_is_kicked_while_it_waits_is_gone_all_the_same() -> None:
    """What it sent and was not applied counts no more, and nothing of it is left."""
    chat = SlowChat()
    alice = chat.connect("lobby", "alice", MANY_ROOMS)
    await chat.turn()
    alice.ask(m.Publish(room="lobby", text="too late"))
    kicking = await asked(chat, Administration(chat.hub).kick(alice.client.id))
    await kicking
    while chat.log.calls:
        await chat.answer()
    await chat.turn()
    assert (alice.code, chat.log.batches) == (Close.KICKED, [])
    assert chat.is_empty


async def test_pages_hold_everybody_once() -> None:
    """In order, though some come and go between two of them; the last page leads nowhere."""
    everybody = [f"{number * 7919 % 1000:03}" for number in range(1000)]
    cursor: str | None = ""
    listed: list[str] = []
    while cursor is not None:
        page, cursor = page_of(everybody, 300, cursor)
        listed += page
    assert listed == sorted(everybody)
    assert page_of(["a", "b"], 2, "") == (["a", "b"], None)
    assert page_of([], 2, "x") == ([], None)


async def test_a_user_is_spoken_to_on_all_its_connections() -> None:
    """And nobody else is; it is in no log."""
    chat = Chat()
    mine, also_mine, other = [await chat.join(codec=MANY_ROOMS) for _ in range(3)]
    for peer in (mine, also_mine):
        peer.client.identity = Identity(user="alice")
    sending = await asked(chat, Administration(chat.hub).direct("alice", "psst", {"a": 1}, "desk"))
    assert await sending == 2
    for peer in (mine, also_mine):
        said = peer.told[-1]
        assert isinstance(said, m.DirectMessage)
        assert (said.text, said.data, said.sender) == ("psst", {"a": 1}, m.Sender(name="desk"))
    assert not any(isinstance(event, m.DirectMessage) for event in other.told)
    found = await asked(chat, Administration(chat.hub).clients(1, "", user="alice", room="lobby"))
    (first,), cursor = await found
    assert (first.client, first.user, cursor) == (mine.client.id, "alice", mine.client.id)


class Follower:
    """Follows what a client is told: after each `joined` and `gap` it knows where the room stands."""

    def __init__(self, peer: Peer, said: dict[tuple[str, int], str | None]) -> None:
        self.peer = peer
        self._said = said
        self._read = 0
        self.place: tuple[str, int] | None = None

    def follow(self) -> None:
        told = self.peer.told
        for event in told[self._read :]:
            match event:
                case m.Joined():
                    self.place = event.epoch, event.offset
                    for message in event.messages:
                        assert isinstance(message, m.Message)
                        self._note(event.epoch, message)
                case m.Gap():
                    assert event.offset is not None, "nothing is ever lost here but by a deletion"
                    self.place = event.epoch, event.offset
                case m.Message():
                    assert self.place is not None
                    epoch, offset = self.place
                    assert event.offset == offset + 1
                    self.place = epoch, event.offset
                    self._note(epoch, event)
        self._read = len(told)

    def _note(self, epoch: str, message: m.Message) -> None:
        """No offset is used twice under one epoch."""
        assert self._said.setdefault((epoch, message.offset), message.text) == message.text


class Story:
    """One client that speaks, others that come, and somebody who deletes the room; the log answers when told to."""

    def __init__(self) -> None:
        self.chat = SlowChat(limits=UNLIMITED)
        self.followers: list[Follower] = []
        self._said: dict[tuple[str, int], str | None] = {}
        self._numbers = count()
        self._deletions: list[asyncio.Task[Any]] = []

    async def come(self) -> None:
        self.followers.append(Follower(self.chat.connect("lobby", codec=MANY_ROOMS), self._said))

    async def publish(self) -> None:
        self.followers[0].peer.ask(m.Publish(room="lobby", text=str(next(self._numbers))))

    async def join(self) -> None:
        self.followers[0].peer.ask(m.Join(room="lobby"))

    async def catch_up(self) -> None:
        follower = self.followers[-1]
        since = None if follower.place is None else m.Position(*follower.place)
        follower.peer.ask(m.Join(room="lobby", since=since))

    async def delete(self) -> None:
        self._deletions.append(await asked(self.chat, Administration(self.chat.hub).delete_room("lobby")))

    async def turn(self) -> None:
        await self.chat.turn()

    async def answer(self) -> None:
        if self.chat.log.calls:
            self.chat.log.answer()

    async def end(self) -> None:
        """All that is under way arrives."""
        for _ in range(3):
            await self.turn()
            while self.chat.log.calls:
                await self.chat.answer()
        await asyncio.gather(*self._deletions, return_exceptions=True)


STEPS = st.sampled_from(["publish", "publish", "delete", "join", "catch_up", "come", "turn", "answer", "answer"])


@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=60)
async def test_whatever_is_deleted_when_nobody_takes_one_message_for_another(steps: list[str]) -> None:
    """Members follow each other's messages by epoch and offset, and all end where the log stands."""
    story = Story()
    await story.come()
    await story.end()
    for step in [*steps, "publish", "end"]:
        await getattr(story, step)()
        for follower in story.followers:
            follower.follow()
    room = story.chat.hub.rooms["lobby"]
    assert {follower.place for follower in story.followers} == {(room.epoch, room.delivered)}
