"""When a node, Redis or a subscription is gone: who is there is so again on all nodes, and everybody is told."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import redis

from aiochat import messages as m
from aiochat.cluster import nodes as nodes_
from aiochat.errors import StoreError
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, ONE_ROOM
from tests.nodes import Node, alice_and_bob, all_heard, answer, moves, persons, publish, told

PRESENCE: dict[str, Any] = {"interval_ms": 20, "grace_seconds": 0.5}


@pytest.fixture
async def two() -> AsyncIterator[list[Node]]:
    """Two nodes that tell who came and went."""
    async with nodes.running(redis_server.shared().new_url(), presence=PRESENCE) as two:
        for number, node in enumerate(two):
            node._peers = 100 * number
        yield two


async def test_what_a_dead_node_leaves_is_swept(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members are gone, their names free, and the others are told."""
    monkeypatch.setattr(nodes_, "_LEASE_MS", 300)
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    alice, _ = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    await two[1].close()
    await two[0].until(lambda: ("went", "bob") in moves(alice))
    assert told(await two[0].enter(name="bob", codec=MANY_ROOMS), m.Joined)[0].name == "bob"


async def test_everybody_is_registered_anew_after_redis_lost_all(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the nodes; nobody is told of what was none of theirs."""
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    alice, _ = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    before = moves(alice)
    redis.Redis.from_url(two[0].config.store.url).flushdb()

    async with asyncio.timeout(10):
        while (await answer(two[0], alice, m.Who(room="lobby"), m.Members)).count < 2:
            await two[0].turn()
    assert moves(alice) == before
    assert told(await two[0].enter(name="bob", codec=MANY_ROOMS), m.Joined)[0].name == "bob-2"


async def test_a_room_in_which_nobody_speaks_is_told_that_redis_lost_all(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both nodes, of the same epoch."""
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    alice, bob = await alice_and_bob(two)
    await two[0].hub.publishing.publish("lobby", "one", None)
    redis.Redis.from_url(two[0].config.store.url).flushdb()
    await two[0].until(lambda: told(alice, m.Gap) and told(bob, m.Gap))
    assert told(alice, m.Gap) == told(bob, m.Gap)
    assert [gap.offset for gap in told(alice, m.Gap)] == [0]


async def test_a_node_that_was_away_and_swept_comes_back(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members are gone for the others, and then there again; a name taken meanwhile becomes another one."""
    monkeypatch.setattr(nodes_, "_LEASE_MS", 300)
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    alice, bob = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    with two[1].stopped():
        await two[0].until(lambda: ("went", "bob") in moves(alice))
        other = await two[0].enter(name="bob", codec=MANY_ROOMS)
        assert told(other, m.Joined)[0].name == "bob"
    await two[0].until(lambda: ("came", "bob-2") in moves(alice))
    await two[1].until(lambda: told(bob, m.Renamed))
    assert (told(bob, m.Renamed)[0].name, two[1].hub.rooms["lobby"].members[bob.client].name) == ("bob-2", "bob-2")
    listed = await answer(two[1], bob, m.Who(room="lobby"), m.Members)
    assert (listed.count, persons(listed.members)) == (3, {"alice", "bob", "bob-2"})


async def test_what_happened_while_redis_was_away_is_so_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """People come in, called as is free on their node; who left is not there any more; other nodes cannot be asked."""
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    with redis_server.running("--appendonly", "yes") as own:
        async with nodes.running(own.url, presence=PRESENCE, store={"wait_seconds": 0.3}) as two:
            two[1]._peers = 100
            alice, bob = await alice_and_bob(two)
            await two[0].until(lambda: ("came", "bob") in moves(alice))
            own.stop()
            bob.ask(m.Leave(room="lobby"))
            person = two[0].connect(name="carol", codec=ONE_ROOM)
            twin = two[1].connect(name="carol", codec=ONE_ROOM)
            await two[0].until(lambda: person.client.rooms and twin.client.rooms)
            assert (person.client.name, twin.client.name) == ("carol", "carol")
            refused = await answer(two[0], alice, m.Direct(text="hi", client=bob.client.id), m.Sent)
            assert refused.code == "unavailable"
            own.start()

            async def listed() -> set[str | None]:
                return persons((await answer(two[0], alice, m.Who(room="lobby"), m.Members)).members)

            async with asyncio.timeout(10):
                while await listed() != {"alice", "carol", "carol-2"}:
                    await two[0].turn()
            assert {person.client.name, twin.client.name} == {"carol", "carol-2"}


async def test_a_member_that_catches_up_in_vain_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log cannot be read: it keeps its place and its name on all nodes, and can change it."""
    kept = {"tail_messages": 1}
    async with nodes.running(redis_server.shared().new_url(), presence=PRESENCE, history=kept) as two:
        two[1]._peers = 100
        alice, bob = await alice_and_bob(two)
        for count in range(1, 6):  # each in a batch of its own, of which memory keeps the newest
            publish(alice, str(count))
            await all_heard(two[0], count, alice)
        monkeypatch.setattr(two[0].hub.log, "read", lambda room, then, **_: then(StoreError("away")))
        since = m.Position(told(alice, m.Joined)[0].epoch, 1)
        refused = await answer(two[0], alice, m.Join(room="lobby", since=since), m.Joined)
        assert refused.code == "unavailable"
        renamed = await answer(two[0], alice, m.Rename(room="lobby", name="zoe"), m.Renamed)
        assert renamed.name == "zoe"
        listed = await answer(two[1], bob, m.Who(room="lobby"), m.Members)
        assert persons(listed.members) == {"zoe", "bob"}


async def test_who_lost_sight_of_the_others_is_told_to_look(two: list[Node]) -> None:
    """What happened while a subscription was down is in no event: one comes that names nobody."""
    alice, _ = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    before = len(alice.told)
    with redis.Redis.from_url(two[0].config.store.url) as asked:
        asked.client_kill_filter(_type="pubsub")
    await two[0].until(lambda: any(_names_nobody(event) for event in alice.told[before:]))


def _names_nobody(event: Any) -> bool:
    return isinstance(event, m.Presence) and not (event.came or event.went or event.renamed)


async def test_all_that_is_in_redis_goes_when_everybody_has_gone(two: list[Node]) -> None:
    """But for what has an end of its own: the list of nodes, the rooms' logs, the bans."""
    peers = await alice_and_bob(two)
    for peer in peers:
        peer.ask(m.Leave(room="lobby"))
        await two[0].until(partial(told, peer, m.Left))
        peer.hang_up()
    async with asyncio.timeout(5):
        while (left := _keys(two[0])) - {"aiochat:1:{.nodes}:alive", "aiochat:1:secret", "aiochat:1:kept"}:
            await two[0].turn()
    assert "aiochat:1:{.nodes}:alive" in left
    for node in two:
        assert node.hub.cluster is not None
        assert not node.hub.cluster.members._places
        assert not node.hub.cluster._memberships


def _keys(node: Node) -> set[str]:
    database = redis.Redis.from_url(node.config.store.url)
    try:
        keys = {key.decode() for key in database.scan_iter()}
        assert all(database.pttl(key) > 0 for key in keys if database.exists(key))
    finally:
        database.close()
    return {
        key
        for key in keys
        if not key.startswith("aiochat:1:{lobby}:") or key.endswith(("who", "names", "persons", "away"))
    }
