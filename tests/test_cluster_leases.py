"""Leases of nodes: who is swept and who is not; what makes a node register everybody anew, and how often."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec
import pytest
import redis

from aiochat import messages as m
from aiochat.cluster import members as members_
from aiochat.cluster import nodes as nodes_
from aiochat.cluster import post
from aiochat.cluster.nodes import Nodes
from aiochat.cluster.steps import script
from aiochat.errors import Close
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS
from tests.nodes import Node, alice_and_bob, answer, moves, persons, told

ALIVE: Final = "aiochat:1:{.nodes}:alive"
LEASE_MS: Final = 15_000
PRESENCE: Final[dict[str, Any]] = {"interval_ms": 20, "grace_seconds": 0.5}


@pytest.fixture
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Node]]:
    """Two nodes that often say that they live."""
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(members_, "_TOUCH_SECONDS", 0.1)
    async with nodes.running(redis_server.shared().new_url(), presence=PRESENCE) as two:
        two[1]._peers = 100
        yield two


@pytest.fixture
def asked(two: list[Node]) -> Iterator[Any]:
    """A connection of the test's own."""
    with redis.Redis.from_url(two[0].config.store.url) as asked:
        yield asked


def _nodes(node: Node) -> Nodes:
    assert node.hub.cluster is not None
    return node.hub.cluster.nodes


async def _beats(asked: Any, count: int) -> None:
    """Every node has said so many times more that it lives."""
    for _ in range(count):
        before = dict(asked.zrange(ALIVE, 0, -1, withscores=True))
        while any(asked.zscore(ALIVE, node) == score for node, score in before.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("ours", "answered", "is_spared"),
    [(-1_000, [b"dead"], False), (None, [], False), (-2 * LEASE_MS, [], True)],
    ids=["lived", "new", "silent"],
)
def test_who_was_silent_itself_or_is_new_lets_others_live(
    ours: int | None, answered: list[bytes], is_spared: bool
) -> None:
    """Redis was away from all of them, or from those that it does not know yet."""
    with redis.Redis.from_url(redis_server.shared().new_url()) as asked:
        seconds, micros = asked.time()
        now = seconds * 1000 + micros // 1000
        asked.zadd("alive", {"dead": now - 2 * LEASE_MS, **({} if ours is None else {"ours": now + ours})})
        reply = asked.eval(script("nodes"), 2, "alive", "mark", "ours", LEASE_MS, 60_000)
        assert reply == [int(ours is not None), 0, answered]
        assert (asked.zscore("alive", "dead") >= now) == is_spared


async def test_nobody_is_swept_after_redis_was_away_from_all(two: list[Node], asked: Any) -> None:
    """All leases have run out, and whoever comes first knows that its own has, too."""
    alice, bob = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    before = moves(alice), moves(bob)
    await _beats(asked, 1)
    asked.zadd(ALIVE, dict.fromkeys(asked.zrange(ALIVE, 0, -1), 1_000))
    await _beats(asked, 4)
    assert (moves(alice), moves(bob)) == before
    assert not asked.keys("*:swept:*")


async def test_rooms_that_last_are_listed_again(two: list[Node], asked: Any) -> None:
    """Else the lists run out, and whoever sweeps the node finds nobody."""
    await two[0].enter(name="alice", codec=MANY_ROOMS)
    lists = ("aiochat:1:fullest", f"aiochat:1:node:{two[0].log.link.node}:rooms")
    await two[0].until(lambda: asked.exists(*lists) == len(lists))
    asked.delete(*lists)
    async with asyncio.timeout(10):
        await two[0].until(lambda: asked.exists(*lists) == len(lists))
    assert all(asked.pttl(name) > 0 for name in lists)


async def test_what_redis_refuses_is_no_reason_to_register_anew(two: list[Node], asked: Any) -> None:
    """It would refuse it again."""
    asked.set("aiochat:1:{lobby}:names", "foreign")
    await two[0].enter(name="alice", codec=MANY_ROOMS)
    await _beats(asked, 4)
    assert [_nodes(node)._generation for node in two] == [0, 0]


async def test_what_does_not_help_is_done_ever_less_often(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """In ten minutes in which it is never sure what Redis has, a node registers everybody anew some dozen times."""
    await two[0].enter(name="alice", codec=MANY_ROOMS)
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 3.0)
    ours, now = _nodes(two[0]), 0.0
    monkeypatch.setattr(ours, "_time", lambda: now)
    info = f"run_id:{ours._run}\r\n".encode()
    for second in range(1000, 1600):
        now = float(second)
        ours._members.is_unsure = True
        ours._beaten([[1, 0, []], info])
    assert 8 <= ours._generation <= 15


async def test_a_redis_with_an_older_state_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started again from what it had saved before: the nodes are known to it, but not who has come and gone since."""
    monkeypatch.setattr(nodes_, "_BEAT_SECONDS", 0.1)
    with redis_server.running() as own:
        async with nodes.running(own.url, presence=PRESENCE) as two:
            two[1]._peers = 100
            alice, bob = await alice_and_bob(two)
            await _beats(own.ask, 2)
            own.ask.save()
            bob.ask(m.Leave(room="lobby"))
            await two[1].enter(name="carol", codec=MANY_ROOMS)
            await two[0].until(lambda: {("went", "bob"), ("came", "carol")} <= set(moves(alice)))
            own.stop()
            own.start()

            async def listed() -> set[str | None]:
                return persons((await answer(two[0], alice, m.Who(room="lobby"), m.Members)).members)

            async with asyncio.timeout(10):
                while await listed() != {"alice", "carol"}:
                    await two[0].turn()


async def test_who_moved_on_while_its_node_stood_still_is_not_taken_back(
    two: list[Node], asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is the other node's; here the copy is closed, and nothing of the other's membership changes."""
    monkeypatch.setattr(nodes_, "_LEASE_MS", 300)
    monkeypatch.setattr(post, "_SECONDS", 0.1)
    alice, bob = await alice_and_bob(two)
    await two[0].until(lambda: ("came", "bob") in moves(alice))
    joined = told(bob, m.Joined)[0]
    assert two[1].hub.cluster is not None
    monkeypatch.setitem(two[1].hub.cluster.post._handlers, "replace", lambda _: None)  # what is said to it is lost
    with two[1].stopped():
        moved = two[0].connect(None, codec=MANY_ROOMS)
        moved.ask(m.Resume(token=bob.sessions[-1], rooms={"lobby": m.Position(joined.epoch, joined.offset)}))
        await two[0].until(lambda: moved.client.rooms and asked.keys("*:swept:*"))
    async with asyncio.timeout(10):
        await two[1].until(lambda: bob.code)
    assert (bob.code, moved.code) == (Close.REPLACED, None)
    listed = await answer(two[0], alice, m.Who(room="lobby"), m.Members)
    assert (listed.count, persons(listed.members)) == (2, {"alice", "bob"})
    assert asked.get(f"aiochat:1:client:{moved.client.id}").decode() == two[0].log.link.node
    assert told(await two[1].enter(name="bob", codec=MANY_ROOMS), m.Joined)[0].name == "bob-2"


async def test_who_came_from_another_node_is_not_given_back_to_it(two: list[Node], asked: Any) -> None:
    """A Redis with an older state has its membership of before: that ends by the one that is younger."""
    alice = await two[0].enter(name="alice", codec=MANY_ROOMS)
    packed = asked.hget("aiochat:1:{lobby}:who", alice.client.id)
    _, stamp, *rest, since = msgspec.msgpack.decode(packed)
    older = ["feedfeed00", f"of {stamp}", *rest, str(int(since) - 1)]
    asked.hset("aiochat:1:{lobby}:who", alice.client.id, msgspec.msgpack.encode(older))
    _nodes(two[0])._members.is_unsure = True

    def node() -> Any:
        return msgspec.msgpack.decode(asked.hget("aiochat:1:{lobby}:who", alice.client.id))[0]

    await two[0].until(lambda: alice.code or node() == f"{two[0].log.link.node}.1")
    assert alice.code is None


async def test_a_crowd_is_registered_anew_in_portions(
    two: list[Node], asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another here; what the node was before is swept behind the last, so that nobody is told as gone."""
    monkeypatch.setattr(members_, "_REGISTERED_AT_ONCE", 1)
    alice = await two[0].enter(name="alice", codec=MANY_ROOMS)
    crowd = [await two[1].enter(name=f"bob{number}", codec=MANY_ROOMS) for number in range(9)]
    await two[0].until(lambda: ("came", "bob8") in moves(alice))
    before = moves(alice)
    assert two[1].hub.cluster is not None
    members = two[1].hub.cluster.members
    members.is_unsure = True
    await two[1].until(lambda: members.node.endswith(".1"))
    crowd[0].ask(m.Leave(room="lobby"))  # in the midst of it
    await two[0].until(lambda: asked.exists(f"aiochat:1:{{.nodes}}:swept:{two[1].log.link.node}"))
    await _beats(asked, 2)
    assert moves(alice) == [*before, ("went", "bob0")]
    listed = await answer(two[0], alice, m.Who(room="lobby"), m.Members)
    assert persons(listed.members) == {"alice", *(f"bob{number}" for number in range(1, 9))}
