"""All of a room's keys share a hash tag: a Redis that is part of a cluster refuses what touches several slots."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from hashlib import sha1
from typing import Any

import pytest

from aiochat import messages as m
from aiochat.api.administration import Administration
from aiochat.cluster import nodes as nodes_
from aiochat.cluster import places as places_
from aiochat.cluster import steps as steps_
from aiochat.roomlog.redis import log as log_
from aiochat.roomlog.redis import scripts
from aiochat.roomlog.redis.connections import Connection, NoScriptError, ResponseError
from aiochat.roomlog.redis.pipeline import Command, Pipeline
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS
from tests.nodes import Node, heard, pair, publish, told
from tests.redis_server import RedisServer

STRICT = "#!lua\n"  # makes Redis look at every key that a script touches, and not only at those that it is told of


def digest(script: str) -> str:
    """By which a script is called."""
    return sha1((STRICT + script).encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A cluster of one, which has all slots; every script is checked, and the start does not refuse it."""
    monkeypatch.setattr(log_, "_check", lambda where, info: None)
    for script in scripts.SCRIPTS:
        monkeypatch.setitem(scripts._DIGESTS, script, digest(script))
    monkeypatch.setattr(log_, "SCRIPTS", [STRICT + script for script in scripts.SCRIPTS])
    given = steps_.script
    for module in (steps_, nodes_, places_):
        monkeypatch.setattr(module, "script", lambda name: STRICT + given(name))
    with redis_server.running("--cluster-enabled", "yes") as server:
        server.ask.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in server.ask.execute_command("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield server


class Spoken:
    """What was asked of Redis, by its first word, or the script and its step; and what it refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: set[str] = set()
        self.refused: list[str] = []
        ask, reply = Pipeline.ask, Connection.reply

        def asked(pipeline: Pipeline, commands: Sequence[Command], *rest: Any, **options: Any) -> None:
            for word, *arguments in commands:
                self.words.add(str(word))
                if word == "EVALSHA":
                    self.words |= {str(arguments[0]), str(arguments[2 + int(arguments[1])])}
            ask(pipeline, commands, *rest, **options)

        async def replied(connection: Connection) -> Any:
            said = await reply(connection)
            if isinstance(said, ResponseError) and not isinstance(said, NoScriptError):
                self.refused.append(str(said))
            return said

        monkeypatch.setattr(Pipeline, "ask", asked)
        monkeypatch.setattr(Connection, "reply", replied)


async def test_nothing_that_is_asked_touches_two_slots(cluster: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes do all that they do with Redis: every script, and every step of the one about members."""
    monkeypatch.setattr(nodes_, "_LEASE_MS", 300)
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    members = steps_.script("members")
    wanted = {digest(script) for script in scripts.SCRIPTS}
    wanted |= {sha1(steps_.script(name).encode()).hexdigest() for name in ("members", "nodes", "forget")}
    wanted |= set(re.findall(r"^function steps\.(\w+)", members, re.MULTILINE))
    spoken = Spoken(monkeypatch)
    async with nodes.running(cluster.url, presence={"interval_ms": 20, "grace_seconds": 0.3}) as two:
        two[1]._peers = 100
        await say_everything(two)
        await two[1].close()
        await two[0].until(lambda: wanted <= spoken.words and two[0].hub.count(two[0].hub.rooms["lobby"]) == 1)
    assert not spoken.refused


async def say_everything(two: list[Node]) -> None:
    """Bob stays on the second node."""
    alice, bob = await pair(two)
    publish(alice, "one", key="key-0001")
    publish(alice, "two")
    await two[0].until(lambda: len(heard(bob)) == 2)
    await two[0].hub.publishing.erase("lobby", 1)
    bob.ask(m.History(room="lobby", before=2))
    alice.ask(m.Rename(room="lobby", name="alice"))
    await two[0].until(lambda: told(alice, m.Renamed) and told(bob, m.HistoryPage))
    bob.ask(m.Direct(name="alice", room="lobby", text="hi"))
    bob.ask(m.Who(room="lobby"))
    bob.ask(m.Rooms())
    await two[0].until(lambda: told(bob, m.Sent) and told(bob, m.Members) and told(bob, m.RoomList))
    two[0].hub.bans.ban_user("mallory", "spam")
    administration = Administration(two[0].hub)
    await administration.room("lobby")
    await administration.rooms(10, "")
    await administration.members("lobby", 10, "")
    carol = await two[1].enter("attic", name="carol", codec=MANY_ROOMS)
    dave = await two[1].enter("attic", name="dave", codec=MANY_ROOMS)
    carol.hang_up()
    back = two[0].connect(None, codec=MANY_ROOMS)
    back.ask(m.Resume(token=carol.sessions[-1], rooms={"attic": m.Position("", 0)}))
    await two[0].until(lambda: told(back, m.Joined))
    dave.hang_up()
    back.hang_up()
    deleted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    two[0].log.delete("lobby", deleted.set_result)
    await deleted
