"""What Redis loses or is asked twice: it is there again, and is carried out once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis

from aiochat import messages as m
from aiochat.auth.identity import Identity
from aiochat.cluster import places
from aiochat.roomlog.redis.connections import Connection
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node, answer, pair, told


@pytest.fixture
async def two() -> AsyncIterator[list[Node]]:
    """Two nodes."""
    async with nodes.running(redis_server.shared().new_url()) as two:
        for number, node in enumerate(two):
            node._peers = 100 * number
        yield two


async def test_bans_that_redis_has_lost_are_kept_again(two: list[Node]) -> None:
    """None is dropped when what is kept is read next, though a node that began meanwhile knows of none."""
    url = two[0].config.store.url
    database = redis.Redis.from_url(url)

    def kept() -> bool:
        return database.hexists("aiochat:1:kept", "ban user mallory")

    await two[0].until(lambda: database.hexists("aiochat:1:kept", "mark"))
    two[0].hub.bans.ban_user("mallory", "spam")
    await two[1].until(lambda: len(two[1].hub.bans) == 1 and kept())
    database.flushdb()
    async with nodes.running(url, 1) as (third,):
        await third.until(lambda: database.hexists("aiochat:1:kept", "mark"))
        database.client_kill_filter(_type="pubsub")  # they subscribe again, and read what is kept
        await two[0].until(kept)
        await third.until(lambda: len(third.hub.bans) == 1)
        assert [len(node.hub.bans) for node in two] == [1, 1]

        third.hub.bans.lift_user("mallory")
        await two[0].until(lambda: not any(len(node.hub.bans) for node in two) and not kept())
    database.close()


async def test_a_direct_message_is_said_once_though_redis_is_told_twice(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends after Redis took it and before it said so; the sender is told that it went to one."""
    alice, bob = await pair(two)
    send, reply = Connection.send, Connection.reply
    asked: list[Connection] = []  # each time

    async def sent(connection: Connection, packed: Sequence[bytes]) -> None:
        asked.extend(connection for each in packed if b"SPUBLISH" in each and b"direct" in each)
        await send(connection, packed)

    async def lost(connection: Connection) -> Any:
        replied = await reply(connection)
        if asked == [connection]:
            raise ConnectionResetError("lost")
        return replied

    monkeypatch.setattr(Connection, "send", sent)
    monkeypatch.setattr(Connection, "reply", lost)
    sent_to = await answer(two[0], alice, m.Direct(text="once", client=bob.client.id), m.Sent)
    after = await answer(two[0], alice, m.Direct(text="after", client=bob.client.id), m.Sent)
    assert (len(asked), sent_to.connections, after.connections) == (3, 1, 1)
    await two[1].until(lambda: told(bob, m.DirectMessage)[-1].text == "after")
    assert [message.text for message in told(bob, m.DirectMessage)] == ["once", "after"]


async def test_of_a_user_redis_has_one_entry_for_each_node_that_lives(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clients; a node's entry goes with the last of them there, or some time after the node died."""
    monkeypatch.setattr(places, "_LIFE_MS", 1000)
    database = redis.Redis.from_url(two[0].config.store.url)
    key = "aiochat:1:user:bot"

    async def come(node: Node) -> Peer:
        peer = node.connect(None, codec=MANY_ROOMS)
        peer.client.identity = Identity(user="bot")
        await node.until(lambda: peer.client.id in node.hub.clients)
        return peer

    first = [await come(two[0]) for _ in range(3)]
    last = await come(two[1])
    async with nodes.running(two[0].config.store.url, 1) as (dying,):
        dying._peers = 200
        await come(dying)
        await two[0].until(lambda: database.zcard(key) == 3)
    await two[0].until(lambda: database.zcard(key) == 2)
    for peer in first[:2]:
        peer.hang_up()
    await two[0].until(lambda: len(two[0].hub.clients) == 1)
    asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    two[0].log.link.ask([("ZCARD", key)], asked.set_result)  # after what came of that
    assert await asked == [2]
    sent = await answer(two[1], last, m.Direct(text="hi", user="bot"), m.Sent)
    assert (sent.connections, told(first[2], m.DirectMessage)[0].text) == (2, "hi")
    first[2].hang_up()
    await two[1].until(lambda: database.zcard(key) == 1)
    last.hang_up()
    await two[1].until(lambda: not database.exists(key))
    assert [node.hub.cluster and node.hub.cluster.places._counts for node in two] == [{}, {}]
    database.close()
