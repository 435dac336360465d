"""Several nodes on one Redis are one chat: who is there, names, direct messages, sessions, kicks, bans, lists."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from aiochat import messages as m
from aiochat.api.administration import Administration
from aiochat.auth.identity import Identity
from aiochat.errors import Close, Reply
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node, alice_and_bob, answer, moves, persons, told

PRESENCE: dict[str, Any] = {"interval_ms": 20, "grace_seconds": 0.5}


@pytest.fixture
async def two() -> AsyncIterator[list[Node]]:
    """Two nodes that tell who came and went."""
    async with nodes.running(redis_server.shared().new_url(), presence=PRESENCE) as two:
        for number, node in enumerate(two):
            node._peers = 100 * number
        yield two


# Who is there.


async def test_who_is_there_is_known_on_every_node(two: list[Node]) -> None:
    """Their number, their names, and who came and went."""
    alice, bob = await alice_and_bob(two)
    assert (told(alice, m.Joined)[0].members, told(bob, m.Joined)[0].members) == (1, 2)
    for node, peer in zip(two, (alice, bob), strict=True):
        listed = await answer(node, peer, m.Who(room="lobby"), m.Members)
        assert (listed.count, persons(listed.members)) == (2, {"alice", "bob"})
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    assert told(alice, m.Presence)[-1].members == 2
    bob.ask(m.Leave(room="lobby"))
    await two[0].until(lambda: ("went", "bob") in moves(alice))
    assert told(alice, m.Presence)[-1].members == 1


async def test_a_name_is_taken_on_all_nodes(two: list[Node]) -> None:
    """Who wants it elsewhere gets a number, also with a new name; it is free for all once it was given back."""
    alice, bob = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    other = await two[1].enter(name="Alice", codec=MANY_ROOMS)
    assert told(other, m.Joined)[0].name == "Alice-2"
    assert (await answer(two[1], bob, m.Rename(room="lobby", name="alice"), m.Renamed)).name == "alice-3"
    await two[0].until(lambda: ("was bob", "alice-3") in moves(alice))
    assert (await answer(two[0], alice, m.Rename(room="lobby", name="carol"), m.Renamed)).name == "carol"
    assert (await answer(two[1], bob, m.Rename(room="lobby", name="alice"), m.Renamed)).name == "alice"
    await two[0].until(lambda: {("was alice", "carol"), ("was alice-3", "alice")} < set(moves(alice)))


async def test_a_user_on_several_nodes_is_one_person(two: list[Node]) -> None:
    """Under one name, told of once when the first of its clients comes, and once when the last is gone."""
    alice, _ = await alice_and_bob(two)

    async def enter(node: Node) -> Peer:
        peer = node.connect(None, codec=MANY_ROOMS)
        peer.client.identity = Identity(user="u1", name="ursula")
        peer.client.name = "ursula"
        peer.ask(m.Join(room="lobby"))
        await node.until(lambda: peer.client.rooms)
        return peer

    here, there = await enter(two[0]), await enter(two[1])
    assert [told(peer, m.Joined)[0].name for peer in (here, there)] == ["ursula", "ursula"]
    await two[0].until(lambda: told(alice, m.Presence) and told(alice, m.Presence)[-1].members == 4)
    here.ask(m.Leave(room="lobby"))
    await two[0].until(lambda: told(alice, m.Presence)[-1].members == 3)
    there.ask(m.Leave(room="lobby"))
    await two[0].until(lambda: told(alice, m.Presence)[-1].members == 2)
    assert [move for move in moves(alice) if move[1] == "ursula"] == [("came", "ursula"), ("went", "ursula")]


async def test_who_is_back_on_another_node_within_the_grace_was_never_gone(two: list[Node]) -> None:
    """With its name, its id and what it missed; nobody is told anything."""
    alice, bob = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    token, epoch = bob.sessions[-1], told(bob, m.Joined)[0].epoch
    bob.hang_up()
    await two[1].until(lambda: not two[1].hub.clients)
    alice.ask(m.Publish(room="lobby", text="missed"))
    await two[0].until(lambda: told(alice, m.Ack))
    back = two[0].connect(None, codec=MANY_ROOMS)
    back.ask(m.Resume(token=token, rooms={"lobby": m.Position(epoch, 0)}))
    await two[0].until(lambda: told(back, m.Joined))
    joined = told(back, m.Joined)[0]
    assert (back.client.id, joined.name, joined.members, joined.recovered) == (bob.client.id, "bob", 2, True)
    assert [entry.text for entry in joined.messages] == ["missed"]
    await asyncio.sleep(PRESENCE["grace_seconds"] + 0.3)
    assert moves(alice)[-1] == ("came", "bob")
    listed = await answer(two[0], alice, m.Who(room="lobby"), m.Members)
    assert persons(listed.members) == {"alice", "bob"}


async def test_who_does_not_come_back_is_gone_after_the_grace(two: list[Node]) -> None:
    """On all nodes, and its name is free."""
    alice, bob = await alice_and_bob(two)
    bob.hang_up()
    await two[0].until(lambda: ("went", "bob") in moves(alice))
    assert told(await two[0].enter(name="bob", codec=MANY_ROOMS), m.Joined)[0].name == "bob"


async def test_typing_is_told_on_all_nodes(two: list[Node]) -> None:
    """As presence is."""
    alice, bob = await alice_and_bob(two)
    bob.ask(m.Typing(room="lobby"))
    await two[0].until(lambda: told(alice, m.TypingNow))
    assert persons(told(alice, m.TypingNow)[0].senders) == {"bob"}


async def test_the_fullest_rooms_of_all_nodes_come_first(two: list[Node]) -> None:
    """With the members of all; one that is empty is not listed."""
    alice, _ = await alice_and_bob(two)
    await two[1].enter("attic", codec=MANY_ROOMS)
    gone = await two[1].enter("cellar", codec=MANY_ROOMS)
    gone.ask(m.Leave(room="cellar"))

    async def listed() -> list[tuple[str, int]]:
        two[0].hub.cluster.lists._known = (-10.0, 0, [])  # type: ignore[union-attr]
        answered = await answer(two[0], alice, m.Rooms(), m.RoomList)
        return [(room.room, room.members) for room in answered.rooms]

    async with asyncio.timeout(5):
        while await listed() != [("lobby", 2), ("attic", 1)]:
            await two[0].turn()


# Private messages.


async def test_a_direct_message_finds_its_client_on_any_node(two: list[Node]) -> None:
    """By id, by name, unnamed ones as guests, and all clients of a user; who is nowhere is no such client."""
    alice, bob = await alice_and_bob(two)
    nameless = await two[1].enter(codec=MANY_ROOMS)
    for target in ({"client": bob.client.id}, {"name": "BOB", "room": "lobby"}):
        sent = await answer(two[0], alice, m.Direct(text="hi", **target), m.Sent)
        assert sent.connections == 1
    await two[0].until(lambda: len(told(bob, m.DirectMessage)) == 2)
    message = told(bob, m.DirectMessage)[1]
    assert (message.sender.name, message.text, message.room) == ("alice", "hi", "lobby")
    guest = m.Direct(text="you", name=f"guest-{nameless.client.id}", room="lobby")
    assert (await answer(two[0], alice, guest, m.Sent)).connections == 1
    for nobody in ({"client": "nobody"}, {"user": "nobody"}, {"name": "nobody", "room": "lobby"}):
        assert (await answer(two[0], alice, m.Direct(text="hi", **nobody), m.Sent)).code == "no_such_client"


async def test_a_direct_message_reaches_all_clients_of_a_user(two: list[Node]) -> None:
    """On all nodes, and it is said how many there were."""
    alice, _ = await alice_and_bob(two)
    users = []
    for node in (*two, two[1]):
        peer = node.connect(None, codec=MANY_ROOMS)
        peer.client.identity = Identity(user="u1")
        users.append(peer)
    await two[0].until(lambda: all(peer.sessions for peer in users))
    assert (await answer(two[0], alice, m.Direct(text="hi", user="u1"), m.Sent)).connections == 3
    await two[0].until(lambda: all(told(peer, m.DirectMessage) for peer in users))


# Sessions.


async def test_a_session_that_moves_to_another_node_ends_its_older_connection(two: list[Node]) -> None:
    """Which is told so, is there no more, and takes nothing with it; also moved on to a third connection."""
    alice, bob = await alice_and_bob(two)
    token, epoch = bob.sessions[-1], told(bob, m.Joined)[0].epoch
    peers = []
    for node in (two[0], two[1]):
        back = node.connect(None, codec=MANY_ROOMS)
        back.ask(m.Resume(token=token, rooms={"lobby": m.Position(epoch, 0)}))
        await node.until(partial(told, back, m.Joined))
        peers.append(back)
    await two[0].until(lambda: bob.code == peers[0].code == Close.REPLACED)
    assert [told(peer, m.Joined)[0].name for peer in peers] == ["bob", "bob"]
    alice.ask(m.Publish(room="lobby", text="hi"))
    await two[0].until(lambda: told(peers[1], m.Message))
    assert not told(bob, m.Message)
    assert (await answer(two[0], alice, m.Direct(text="you", client=bob.client.id), m.Sent)).connections == 1
    await two[0].until(lambda: told(peers[1], m.DirectMessage))
    assert (await answer(two[0], alice, m.Who(room="lobby"), m.Members)).count == 2


# Who runs the servers.


async def test_a_client_is_kicked_from_any_node(two: list[Node]) -> None:
    """4410; and who is nowhere is no such client."""
    _, bob = await alice_and_bob(two)
    administration = Administration(two[0].hub)
    await administration.kick(bob.client.id)
    await two[0].until(lambda: bob.code == Close.KICKED)
    with pytest.raises(Reply) as refused:
        await administration.kick("nobody")
    assert refused.value.code == "no_such_client"


async def test_a_ban_is_in_force_on_all_nodes_and_lifted_on_all(two: list[Node]) -> None:
    """At once; and a node that starts later knows it."""
    mallory = two[1].connect(None, codec=MANY_ROOMS)
    mallory.client.identity = Identity(user="mallory")
    await two[1].until(lambda: mallory.sessions)
    two[0].hub.bans.ban_user("mallory", "spam")
    await two[0].until(lambda: mallory.code == Close.BANNED)
    async with nodes.running(two[0].config.store.url, 1) as (third,):
        assert third.hub.bans.reason_for("mallory", "") == "spam"
        assert third.hub.bans.lift_user("mallory")
        await two[0].until(lambda: not any(len(node.hub.bans) for node in two))


async def test_lists_have_what_is_on_all_nodes(two: list[Node]) -> None:
    """In pages that fit together, whichever node is asked."""
    alice, bob = await alice_and_bob(two)
    more = [await two[number % 2].enter("attic", name=f"n{number}", codec=MANY_ROOMS) for number in range(5)]
    for node in two:
        administration = Administration(node.hub)
        assert await administration.rooms(1, "") == ([m.RoomInfo("attic", 5)], "attic")
        assert await administration.rooms(1, "attic") == ([m.RoomInfo("lobby", 2)], None)
        found: list[str | None] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor, count = await administration.members("attic", 2, cursor)
            found += [sender.client for sender in page]
            assert count == 5
        assert found == sorted(peer.client.id for peer in more)
        clients, _ = await administration.clients(100, "")
        assert [client.client for client in clients] == sorted(peer.client.id for peer in (alice, bob, *more))
        assert (await administration.room("attic")).members == 5
