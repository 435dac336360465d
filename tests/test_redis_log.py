"""The room log on Redis: several nodes hear the same in the same order, and what one of them misses it reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from aiochat import messages as m
from aiochat.errors import Reply
from aiochat.roomlog.redis import RedisLog, followers, probe
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, ONE_ROOM, Peer
from tests.nodes import Node, all_heard, heard, pair, publish, told
from tests.redis_server import RedisServer


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that the test may do with as it likes."""
    with redis_server.running() as server:
        yield server


@pytest.fixture
async def two(own: RedisServer) -> AsyncIterator[list[Node]]:
    """Two nodes on it."""
    async with nodes.running(own.url) as two:
        yield two


# What every node hears.


async def test_all_nodes_hear_the_same_in_the_same_order(two: list[Node]) -> None:
    """Whoever said it where: the log's order; and every message is acknowledged with its offset."""
    peers = await pair(two)
    for number in range(100):
        for name, peer in zip("ab", peers, strict=True):
            publish(peer, f"{name}{number}")
        if number % 7 == 0:
            await asyncio.sleep(0)
    await all_heard(two[0], 200, *peers)
    await two[0].until(lambda: all(len(told(peer, m.Ack)) == 100 for peer in peers))
    assert heard(peers[0]) == heard(peers[1])
    offsets = {text: offset for offset, text in heard(peers[0])}
    assert sorted(offsets.values()) == list(range(1, 201))
    assert [(ack.id, ack.offset) for peer in peers for ack in told(peer, m.Ack)] == [
        (f"{name}{number}", offsets[f"{name}{number}"]) for name in "ab" for number in range(100)
    ]


async def test_who_comes_in_a_flood_misses_nothing_and_hears_nothing_twice(two: list[Node]) -> None:
    """The page and what comes live fit together, on a node that followed the room and on one that did not."""
    alice = await two[0].enter(codec=MANY_ROOMS)
    late: list[Peer] = []
    for number in range(300):
        publish(alice, str(number))
        if number % 30 == 0:
            late += [two[number // 30 % 2].connect(codec=MANY_ROOMS), two[1].connect(codec=MANY_ROOMS)]
        await asyncio.sleep(0)

    def has_all(peer: Peer) -> bool:
        joined = told(peer, m.Joined)
        return bool(joined) and joined[0].offset + len(heard(peer)) == 300

    await two[0].until(lambda: all(map(has_all, late)))
    for peer in late:
        (joined,) = told(peer, m.Joined)
        seen = [message.offset for message in joined.messages] + [offset for offset, _ in heard(peer)]
        assert seen == list(range(300 - len(seen) + 1, 301))
        assert len(joined.messages) == min(50, joined.offset)


async def test_a_node_follows_the_rooms_with_members_and_no_other(own: RedisServer, two: list[Node]) -> None:
    """Also where a message went to a room in which nobody is; when the last member leaves, no longer."""
    first, second = two
    alice, bob = await pair(two)
    carol = await second.enter("attic", codec=MANY_ROOMS)
    await first.hub.publishing.publish("cellar", "anybody?", None)

    def followers() -> dict[str, int]:
        channels = own.ask.execute_command("PUBSUB", "SHARDCHANNELS", "*{*}@*")
        counts = own.ask.execute_command("PUBSUB", "SHARDNUMSUB", *channels)
        return {str(name): count for name, count in zip(counts[::2], counts[1::2], strict=True)}

    await first.until(lambda: sorted(followers().values()) == [1, 2])
    alice.hang_up()
    bob.ask(m.Leave(room="lobby"))
    await first.until(lambda: list(followers().values()) == [1])
    carol.hang_up()
    await first.until(lambda: not followers())
    assert (first.hub.rooms, second.hub.rooms) == ({}, {})


async def test_what_is_published_once_is_there_once_on_all_nodes(two: list[Node]) -> None:
    """A user's key counts wherever the user is."""
    first, second = two
    published = await first.hub.publishing.publish("lobby", "one", None, key="key-0001")
    again = await second.hub.publishing.publish("lobby", "one", None, key="key-0001")
    assert (published.offset, again.offset, again.repeated) == (1, 1, True)
    with pytest.raises(Reply) as refused:
        await second.hub.publishing.publish("lobby", "two", None, key="key-0001")
    assert refused.value.code == "key_reused"


async def test_an_erasure_reaches_the_members_of_all_nodes(two: list[Node]) -> None:
    """And the page of whoever comes next anywhere has nothing of the message."""
    first, second = two
    alice, bob = await pair(two)
    publish(alice, "secret")
    await all_heard(first, 1, alice, bob)
    await second.hub.publishing.erase("lobby", 1)
    await first.until(lambda: told(alice, m.Erased) and told(bob, m.Erased))
    for node in two:
        node.hub.tails.forget("lobby")
        carol = await node.enter(codec=MANY_ROOMS)
        (joined,) = told(carol, m.Joined)
        assert [type(entry) for entry in joined.messages] == [m.Message, m.Erased]
        assert joined.messages[0].erased


async def test_a_deleted_room_begins_anew_for_all_nodes(two: list[Node]) -> None:
    """Members are told, once; what comes next is the first message of the new epoch."""
    alice, bob = await pair(two)
    publish(alice, "one", "two")
    await all_heard(two[0], 2, alice, bob)
    deleted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    two[0].log.delete("lobby", deleted.set_result)
    epoch = (await deleted).epoch
    publish(bob, "three")
    await all_heard(two[0], 3, alice, bob)
    for peer in (alice, bob):
        assert told(peer, m.Gap) == [m.Gap(room="lobby", epoch=epoch, offset=0)]
        assert heard(peer)[-1] == (1, "three")


async def test_a_room_that_redis_refuses_fails_alone(own: RedisServer, two: list[Node]) -> None:
    """Who speaks in it is told; what others said in the same batch is acknowledged and there once."""
    good = await two[0].enter("good", codec=MANY_ROOMS)
    bad = await two[0].enter("bad", codec=MANY_ROOMS)
    person = await two[0].enter("bad", name="carol", codec=ONE_ROOM)
    own.ask.set("aiochat:1:{bad}:log", "of somebody else")
    publish(good, "one", room="good")
    publish(bad, "two", room="bad")
    person.ask(m.Publish(room="bad", text="three"))
    await two[0].until(lambda: told(bad, m.Error) and told(person, m.Error) and heard(good))
    assert [told(peer, m.Error)[0].code for peer in (bad, person)] == ["unavailable", "unavailable"]
    assert ([ack.offset for ack in told(good, m.Ack)], told(good, m.Error), heard(good)) == ([1], [], [(1, "one")])
    assert two[0].hub.log.append_entries.buckets()[-1][1] == 1
    assert not two[0].hub.log.is_failing


# Holes.


async def test_members_never_notice_that_a_subscription_lost_something(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node reads it from the stream, once; also the last message of its own, after which nothing comes."""
    alice, bob = await pair(two)
    received = 0
    hear = RedisLog._hear

    def lossy(log: RedisLog, channel: bytes, payload: bytes) -> None:
        nonlocal received
        received += 1
        if received % 3 and b"{" in channel:
            hear(log, channel, payload)

    for node in two:
        monkeypatch.setattr(node.log._subscription, "_hear", lambda *heard, of=node.log: lossy(of, *heard))
    for number in range(60):
        publish(alice, f"a{number}")
        publish(bob, f"b{number}")
        await asyncio.sleep(0.001)
    await two[0].until(lambda: len(told(alice, m.Ack)) == len(told(bob, m.Ack)) == 60)
    publish(alice, "last of alice")
    publish(bob, "last of bob")
    await all_heard(two[0], 122, alice, bob)
    assert heard(alice) == heard(bob)
    assert [offset for offset, _ in heard(alice)] == list(range(1, 123))
    assert told(alice, m.Gap) == told(bob, m.Gap) == []
    assert min(node.log.fills for node in two) > 2


async def test_what_was_said_while_the_subscription_was_lost_is_heard(own: RedisServer, two: list[Node]) -> None:
    """It is made anew, and what was missed is read, whether anything is said after or not."""
    alice, bob = await pair(two)
    for number in range(5):
        own.ask.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        publish(alice, f"a{number}")
        publish(bob, f"b{number}")
        await all_heard(two[0], 2 * number + 2, alice, bob)
    assert heard(alice) == heard(bob)
    assert [offset for offset, _ in heard(alice)] == list(range(1, 11))


async def test_what_the_stream_no_longer_has_is_a_gap(own: RedisServer) -> None:
    """Members are told which messages they cannot be given, and get those that there are."""
    history = {"max_messages": 20, "tail_messages": 20}
    async with nodes.running(own.url, history=history, queue={"max_messages": 10}) as two:
        alice, bob = await pair(two)
        followed = next(iter(two[1].log._followers._followed.values()))
        await two[1].until(lambda: followed.seen.epoch and not followed.is_filling)
        followed._is_asked = True  # as if it waited for an answer: nothing that comes is given
        for number in range(30):
            publish(alice, str(number))
            await all_heard(two[0], number + 1, alice)
        own.ask.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        followed.end()
        followed._is_asked = False
        await two[0].until(lambda: len(heard(bob)) == 20)
        epoch = followed.seen.epoch
        assert told(bob, m.Gap) == [m.Gap(room="lobby", epoch=epoch, from_=1, to=10)]
        assert [offset for offset, _ in heard(bob)] == list(range(11, 31))


async def test_a_deaf_subscription_is_noticed_and_made_anew(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and brings nothing: what the node says to itself does not come."""
    monkeypatch.setattr(probe, "_SECONDS", 0.1)
    monkeypatch.setattr(probe, "_DEAF_SECONDS", 0.2)
    alice, bob = await pair(two)
    node = two[1]
    connections = node.log._subscription.connections
    hear = node.log._subscription._hear
    monkeypatch.setattr(node.log._subscription, "_hear", lambda channel, payload: None)
    publish(alice, "one")
    await node.until(lambda: node.log.is_deaf)
    assert (two[0].log.is_deaf, node.log.is_shared) == (False, True)
    await node.until(lambda: node.log._subscription.connections > connections)
    await all_heard(node, 1, bob)  # from the stream
    monkeypatch.setattr(node.log._subscription, "_hear", hear)
    await node.until(lambda: not node.log.is_deaf)


async def test_who_joins_a_deaf_node_misses_nothing(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in with the history that Redis has; what is said meanwhile comes late, without a gap."""
    monkeypatch.setattr(probe, "_SECONDS", 0.1)
    monkeypatch.setattr(probe, "_DEAF_SECONDS", 0.2)
    alice = await two[0].enter(codec=MANY_ROOMS)
    publish(alice, "before")
    await all_heard(two[0], 1, alice)
    node = two[1]
    hear = node.log._subscription._hear
    monkeypatch.setattr(node.log._subscription, "_hear", lambda channel, payload: None)
    await node.until(lambda: node.log.is_deaf)
    bob = await node.enter(codec=MANY_ROOMS)
    publish(alice, "meanwhile")
    await all_heard(node, 1, bob)
    monkeypatch.setattr(node.log._subscription, "_hear", hear)
    await node.until(lambda: not node.log.is_deaf)
    publish(alice, "after")
    await all_heard(node, 2, bob)
    assert [entry.text for entry in told(bob, m.Joined)[0].messages] == ["before"]
    assert (heard(bob), told(bob, m.Gap)) == ([(2, "meanwhile"), (3, "after")], [])


async def test_what_the_hub_does_not_take_is_left_with_redis(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is read from the subscription until it is taken; then all of it comes."""
    monkeypatch.setattr(followers, "_WAITING_BYTES", 1000)
    alice, bob = await pair(two)
    node = two[1]
    items: list[Callable[[], object]] = []
    monkeypatch.setattr(node.hub.following, "_put_item", items.append)
    for number in range(50):
        publish(alice, str(number))
        await all_heard(two[0], number + 1, alice)
    assert 0 < len(items) < 10
    assert not node.log._subscription._may_read.is_set()
    monkeypatch.setattr(node.hub.following, "_put_item", node.hub.later)
    for item in items:
        node.hub.later(item)
    await all_heard(node, 50, bob)
    assert [offset for offset, _ in heard(bob)] == list(range(1, 51))
