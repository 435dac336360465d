"""The room log on Redis: several nodes hear the same in the same order, whatever becomes of Redis between them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from aiochat import messages as m
from aiochat.errors import ConfigError, Reply, StartError, StoreError
from aiochat.roomlog.engines import data_path, make_log
from aiochat.roomlog.redis import RedisLog, followers, probe
from aiochat.roomlog.redis.connections import Connection
from tests import nodes, redis_server
from tests.hubs import MANY_ROOMS, Peer
from tests.nodes import Node
from tests.redis_server import RedisServer
from tests.roomlogs import Log, config_of, draft, opened, said

Two = tuple[Node, Node]


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


async def _pair(two: list[Node], room: str = "lobby") -> tuple[Peer, Peer]:
    """A program on each of two nodes."""
    return await two[0].enter(room, codec=MANY_ROOMS), await two[1].enter(room, codec=MANY_ROOMS)


def _publish(peer: Peer, *texts: str, room: str = "lobby", key: str | None = None) -> None:
    for text in texts:
        peer.ask(m.Publish(id=text, room=room, text=text, key=key))


def _heard(peer: Peer) -> list[tuple[int, str | None]]:
    """Offsets and texts of all messages."""
    return [(event.offset, event.text) for event in peer.told if isinstance(event, m.Message)]


def _told(peer: Peer, kind: type[m.Event]) -> list[Any]:
    return [event for event in peer.told if isinstance(event, kind)]


def _is_answered(peer: Peer, count: int) -> bool:
    return len(_told(peer, m.Ack) + _told(peer, m.Error)) == count


async def _all_heard(node: Node, count: int, *peers: Peer) -> None:
    """Every peer has heard so many messages."""
    await node.until(lambda: all(len(_heard(peer)) >= count for peer in peers))


# What every node hears.


async def test_all_nodes_hear_the_same_in_the_same_order(two: list[Node]) -> None:
    """Whoever said it where: the log's order; and every message is acknowledged with its offset."""
    peers = await _pair(two)
    for number in range(100):
        for name, peer in zip("ab", peers, strict=True):
            _publish(peer, f"{name}{number}")
        if number % 7 == 0:
            await asyncio.sleep(0)
    await _all_heard(two[0], 200, *peers)
    await two[0].until(lambda: all(len(_told(peer, m.Ack)) == 100 for peer in peers))
    assert _heard(peers[0]) == _heard(peers[1])
    offsets = {text: offset for offset, text in _heard(peers[0])}
    assert sorted(offsets.values()) == list(range(1, 201))
    assert [(ack.id, ack.offset) for peer in peers for ack in _told(peer, m.Ack)] == [
        (f"{name}{number}", offsets[f"{name}{number}"]) for name in "ab" for number in range(100)
    ]


async def test_who_comes_in_a_flood_misses_nothing_and_hears_nothing_twice(two: list[Node]) -> None:
    """The page and what comes live fit together, on a node that followed the room and on one that did not."""
    alice = await two[0].enter(codec=MANY_ROOMS)
    late: list[Peer] = []
    for number in range(300):
        _publish(alice, str(number))
        if number % 30 == 0:
            late += [two[number // 30 % 2].connect(codec=MANY_ROOMS), two[1].connect(codec=MANY_ROOMS)]
        await asyncio.sleep(0)

    def has_all(peer: Peer) -> bool:
        joined = _told(peer, m.Joined)
        return bool(joined) and joined[0].offset + len(_heard(peer)) == 300

    await two[0].until(lambda: all(map(has_all, late)))
    for peer in late:
        (joined,) = _told(peer, m.Joined)
        seen = [message.offset for message in joined.messages] + [offset for offset, _ in _heard(peer)]
        assert seen == list(range(300 - len(seen) + 1, 301))
        assert len(joined.messages) == min(50, joined.offset)


async def test_a_node_follows_the_rooms_with_members_and_no_other(own: RedisServer, two: list[Node]) -> None:
    """Also where a message went to a room in which nobody is; when the last member leaves, no longer."""
    first, second = two
    alice, bob = await _pair(two)
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
    alice, bob = await _pair(two)
    _publish(alice, "secret")
    await _all_heard(first, 1, alice, bob)
    await second.hub.publishing.erase("lobby", 1)
    await first.until(lambda: _told(alice, m.Erased) and _told(bob, m.Erased))
    for node in two:
        node.hub.tails.forget("lobby")
        carol = await node.enter(codec=MANY_ROOMS)
        (joined,) = _told(carol, m.Joined)
        assert [type(entry) for entry in joined.messages] == [m.Message, m.Erased]
        assert joined.messages[0].erased


async def test_a_deleted_room_begins_anew_for_all_nodes(two: list[Node]) -> None:
    """Members are told, once; what comes next is the first message of the new epoch."""
    alice, bob = await _pair(two)
    _publish(alice, "one", "two")
    await _all_heard(two[0], 2, alice, bob)
    deleted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    two[0].log.delete("lobby", deleted.set_result)
    epoch = (await deleted).epoch
    _publish(bob, "three")
    await _all_heard(two[0], 3, alice, bob)
    for peer in (alice, bob):
        assert _told(peer, m.Gap) == [m.Gap(room="lobby", epoch=epoch, offset=0)]
        assert _heard(peer)[-1] == (1, "three")


# Holes.


async def test_members_never_notice_that_a_subscription_lost_something(
    two: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node reads it from the stream, once; also the last message of its own, after which nothing comes."""
    alice, bob = await _pair(two)
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
        _publish(alice, f"a{number}")
        _publish(bob, f"b{number}")
        await asyncio.sleep(0.001)
    await two[0].until(lambda: len(_told(alice, m.Ack)) == len(_told(bob, m.Ack)) == 60)
    _publish(alice, "last of alice")
    _publish(bob, "last of bob")
    await _all_heard(two[0], 122, alice, bob)
    assert _heard(alice) == _heard(bob)
    assert [offset for offset, _ in _heard(alice)] == list(range(1, 123))
    assert _told(alice, m.Gap) == _told(bob, m.Gap) == []
    assert min(node.log.fills for node in two) > 2


async def test_what_was_said_while_the_subscription_was_lost_is_heard(own: RedisServer, two: list[Node]) -> None:
    """It is made anew, and what was missed is read, whether anything is said after or not."""
    alice, bob = await _pair(two)
    for number in range(5):
        own.ask.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        _publish(alice, f"a{number}")
        _publish(bob, f"b{number}")
        await _all_heard(two[0], 2 * number + 2, alice, bob)
    assert _heard(alice) == _heard(bob)
    assert [offset for offset, _ in _heard(alice)] == list(range(1, 11))


async def test_what_the_stream_no_longer_has_is_a_gap(own: RedisServer) -> None:
    """Members are told which messages they cannot be given, and get those that there are."""
    history = {"max_messages": 20, "tail_messages": 20}
    async with nodes.running(own.url, history=history, queue={"max_messages": 10}) as two:
        alice, bob = await _pair(two)
        followed = next(iter(two[1].log._followers._followed.values()))
        await two[1].until(lambda: followed.seen.epoch and not followed.is_filling)
        followed._is_asked = True  # as if it waited for an answer: nothing that comes is given
        for number in range(30):
            _publish(alice, str(number))
            await _all_heard(two[0], number + 1, alice)
        own.ask.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        followed.end()
        followed._is_asked = False
        await two[0].until(lambda: len(_heard(bob)) == 20)
        epoch = followed.seen.epoch
        assert _told(bob, m.Gap) == [m.Gap(room="lobby", epoch=epoch, from_=1, to=10)]
        assert [offset for offset, _ in _heard(bob)] == list(range(11, 31))


# A log that went back.


async def test_a_flushed_redis_is_a_new_epoch(own: RedisServer, two: list[Node]) -> None:
    """Members are told, and hear what is said after it from its first offset on."""
    alice, bob = await _pair(two)
    _publish(alice, "one", "two")
    await _all_heard(two[0], 2, alice, bob)
    own.ask.flushall()
    _publish(bob, "three", "four")
    await _all_heard(two[0], 4, alice, bob)
    (gap,) = _told(alice, m.Gap)
    assert _told(bob, m.Gap) == [gap]
    assert (gap.offset, gap.epoch != _told(alice, m.Joined)[0].epoch) == (0, True)
    assert _heard(alice)[2:] == _heard(bob)[2:] == [(1, "three"), (2, "four")]


async def _grown(own: RedisServer, two: list[Node]) -> tuple[Peer, Peer]:
    """What was said up to "saved" is in the file; all have heard more."""
    alice, bob = await _pair(two)
    _publish(alice, "one", "saved")
    await _all_heard(two[0], 2, alice, bob)
    own.ask.save()
    _publish(bob, "three", "four")
    await _all_heard(two[0], 4, alice, bob)
    own.stop()
    return alice, bob


async def test_a_redis_that_forgot_the_newest_is_a_new_epoch(own: RedisServer, two: list[Node]) -> None:
    """What it has is kept; members are told, once, and no offset that they know is given to another message."""
    alice, bob = await _grown(own, two)
    own.start()
    await two[0].until(lambda: _told(alice, m.Gap) and _told(bob, m.Gap))
    _publish(alice, "five")
    await _all_heard(two[0], 5, alice, bob)
    (gap,) = _told(alice, m.Gap)
    assert _told(bob, m.Gap) == [gap]
    assert (gap.offset, gap.epoch != _told(alice, m.Joined)[0].epoch) == (2, True)
    assert _heard(alice)[4:] == _heard(bob)[4:] == [(3, "five")]
    carol = await two[1].enter(codec=MANY_ROOMS)
    assert [entry.text for entry in _told(carol, m.Joined)[0].messages] == ["one", "saved", "five"]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_other_messages_under_known_offsets_are_a_new_epoch(
    own: RedisServer, two: list[Node], count: int
) -> None:
    """Also where somebody who had seen nothing was faster, and it is as far as before or farther."""
    alice, bob = await _grown(own, two)
    own.start()
    async with opened(own.url) as stranger:
        await stranger.append("lobby", *(f"other {number}" for number in range(count)))
        await two[0].until(lambda: _told(alice, m.Gap) and _told(bob, m.Gap))
        _publish(alice, "five")
        await two[0].until(lambda: _heard(alice)[-1][1] == _heard(bob)[-1][1] == "five")
        page = await stranger.read("lobby")
        gaps = _told(alice, m.Gap)
        assert gaps[-1] == _told(bob, m.Gap)[-1]
        assert gaps[-1].epoch == page.epoch
        assert [text for _, text in said(page)] == [
            "one",
            "saved",
            *(f"other {number}" for number in range(count)),
            "five",
        ]
        assert (len(gaps), _heard(alice)[-1]) == (1, (3 + count, "five"))


# Redis is away.


async def test_redis_comes_back_with_its_data(own: RedisServer, two: list[Node]) -> None:
    """Nobody notices but who publishes meanwhile, and they wait."""
    alice, bob = await _pair(two)
    _publish(alice, "one")
    await _all_heard(two[0], 1, alice, bob)
    own.ask.save()
    own.stop()
    _publish(alice, "two")
    own.start()
    await _all_heard(two[0], 2, alice, bob)
    assert _heard(alice) == _heard(bob) == [(1, "one"), (2, "two")]
    assert _told(alice, m.Error) == _told(bob, m.Gap) == []


async def test_who_publishes_while_redis_hangs_waits_and_is_refused(own: RedisServer) -> None:
    """After `store.wait_seconds`, and then at once; afterwards it goes on, and nothing is there twice."""
    async with nodes.running(own.url, store={"wait_seconds": 0.4}) as two:
        alice, bob = await _pair(two)
        _publish(alice, "one")
        await _all_heard(two[0], 1, alice, bob)
        own.pause()
        _publish(alice, "two")
        await two[0].until(lambda: _told(alice, m.Error))
        bob.ask(m.History(room="lobby"))
        await two[0].until(lambda: _told(bob, m.HistoryPage))  # that of memory is there
        assert (_told(alice, m.Error)[0].code, two[0].log.is_deaf) == ("unavailable", False)
        own.resume()
        while len(_told(alice, m.Ack)) < 2:
            answered = len(_told(alice, m.Ack) + _told(alice, m.Error))
            _publish(alice, f"again {answered}")
            await two[0].until(partial(_is_answered, alice, answered + 1))
        await two[0].until(lambda: _heard(bob) == _heard(alice) and _heard(alice)[-1][1] == f"again {answered}")
        texts = [text for _, text in _heard(alice)]
        assert len(set(texts)) == len(texts)
        assert [offset for offset, _ in _heard(alice)] == list(range(1, len(texts) + 1))


def _once(monkeypatch: pytest.MonkeyPatch, does_break: Callable[[Any], bool]) -> list[Any]:
    """The first answer of Redis of which that is so gets lost, with its connection."""
    lost: list[Any] = []
    reply = Connection.reply

    async def unreliable(connection: Connection) -> Any:
        replied = await reply(connection)
        if not lost and does_break(replied):
            lost.append(replied)
            raise ConnectionResetError("lost")
        return replied

    monkeypatch.setattr(Connection, "reply", unreliable)
    return lost


async def test_a_batch_whose_answer_was_lost_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent again and answered as before, refusals included; so is what erases."""
    async with opened(redis_server.shared().new_url()) as log:
        await log.append("a", "one", draft("two", key="key-0001"))
        lost = _once(monkeypatch, lambda replied: isinstance(replied, list) and replied[1] == 4)
        drafts = [draft("three"), draft("other", key="key-0001"), draft(None, target=1)]
        appended = await log.append("a", *drafts)
        assert len(lost) == 1
        assert said(appended) == [(3, "three"), (4, "erases 1")]
        assert isinstance(appended.results[1], Reply)
        assert [text for _, text in said(await log.read("a"))] == ["erased", "two", "three", "erases 1"]


async def test_a_batch_that_comes_too_late_is_not_there() -> None:
    """From a connection that was given up, after the next batch of its node: its publishers were told so."""
    async with opened(redis_server.shared().new_url()) as log:
        engine = log.engine
        assert isinstance(engine, RedisLog)
        await log.append("a", "one")
        engine._calls._batches = -1
        with pytest.raises(StoreError):
            await log.append("a", "late")
        assert said(await log.read("a")) == [(1, "one")]


async def test_scripts_are_loaded_again() -> None:
    """A SCRIPT FLUSH, a restart, another server: whoever finds them missing loads them, and the order stays."""
    async with opened(redis_server.shared().new_url()) as log:
        await log.append("a", "one")
        redis_server.shared().ask.script_flush()
        calls: list[asyncio.Future[Any]] = [log.append_drafts({"a": [draft("two")]}), log.read("a"), log.delete("a")]
        _, page, deleted = await asyncio.gather(*calls)
        assert (said(page), deleted.newest) == ([(1, "one"), (2, "two")], 2)


async def test_an_acknowledgement_waits_for_replicas() -> None:
    """Without enough of them, publishers are told that it may be lost."""
    async with opened(redis_server.shared().new_url(), wait_replicas=1, wait_seconds=1) as log:
        with pytest.raises(StoreError, match="replicas"):
            await log.append("a", "one")
        assert said(await log.read("a")) == [(1, "one")]


async def test_a_redis_that_refuses_fails_what_was_asked_alone(own: RedisServer) -> None:
    """Out of memory: publishing fails, reading goes on."""
    async with opened(own.url) as log:
        await log.append("a", "one")
        own.ask.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="maxmemory"):
            await log.append("a", "two")
        assert said(await log.read("a")) == [(1, "one")]
        own.ask.config_set("maxmemory", 0)
        assert said(await log.append("a", "two")) == [(2, "two")]


async def test_while_redis_is_away_everything_is_answered_in_time(own: RedisServer) -> None:
    """Within `store.wait_seconds`, and then at once; when it is back, it is as before."""
    async with opened(own.url, wait_seconds=0.3) as log:
        await log.append("a", "one")
        own.stop()
        for _ in range(2):
            with pytest.raises(StoreError):
                await log.append("a", "two")
        with pytest.raises(StoreError):
            await log.read("a")
        own.start()
        await _back(log)
        assert said(await log.append("a", "three")) == [(1, "three")]


async def _back(log: Log) -> None:
    while True:
        try:
            await log.append_drafts({})
        except StoreError:
            await asyncio.sleep(0.01)
        else:
            return


async def test_a_deaf_subscription_is_noticed_and_made_anew(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and brings nothing: what the node says to itself does not come."""
    monkeypatch.setattr(probe, "_SECONDS", 0.1)
    monkeypatch.setattr(probe, "_DEAF_SECONDS", 0.2)
    alice, bob = await _pair(two)
    node = two[1]
    connections = node.log._subscription.connections
    hear = node.log._subscription._hear
    monkeypatch.setattr(node.log._subscription, "_hear", lambda channel, payload: None)
    _publish(alice, "one")
    await node.until(lambda: node.log.is_deaf)
    assert (two[0].log.is_deaf, node.log.is_shared) == (False, True)
    await node.until(lambda: node.log._subscription.connections > connections)
    await _all_heard(node, 1, bob)  # from the stream
    monkeypatch.setattr(node.log._subscription, "_hear", hear)
    await node.until(lambda: not node.log.is_deaf)


async def test_what_the_hub_does_not_take_is_left_with_redis(two: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is read from the subscription until it is taken; then all of it comes."""
    monkeypatch.setattr(followers, "_WAITING_BYTES", 1000)
    alice, bob = await _pair(two)
    node = two[1]
    items: list[Callable[[], object]] = []
    monkeypatch.setattr(node.hub.following, "_put_item", items.append)
    for number in range(50):
        _publish(alice, str(number))
        await _all_heard(two[0], number + 1, alice)
    assert 0 < len(items) < 10
    assert not node.log._subscription._may_read.is_set()
    monkeypatch.setattr(node.hub.following, "_put_item", node.hub.later)
    for item in items:
        node.hub.later(item)
    await _all_heard(node, 50, bob)
    assert [offset for offset, _ in _heard(bob)] == list(range(1, 51))


# Keys.


async def test_every_key_has_a_name_in_one_slot_and_a_lifetime(own: RedisServer) -> None:
    """`store.prefix` and the format's version, then the room as a hash tag; rooms that are only read go soon."""
    async with nodes.running(own.url, 1, store={"prefix": "team:chat"}) as (node,):
        alice = await node.enter("küche", codec=MANY_ROOMS)
        _publish(alice, "one", room="küche", key="key-0001")
        await node.hub.publishing.erase("küche", 1)
        node.hub.log.read("never", lambda _: None, limit=1)
        kept: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        node.log.keep("ban", b"1", kept.set_result)
        await kept
    lives = {key.decode(): own.ask.pttl(key) / 1000 for key in own.ask.scan_iter()}
    own_keys = {name: life for name, life in lives.items() if "{" not in name}
    assert {"team:chat:1:secret", "team:chat:1:kept"} < set(own_keys)
    assert all(name.startswith("team:chat:1:") for name in own_keys)
    kinds = {name.rpartition(":")[2] for name in lives if name.startswith("team:chat:1:{küche}:")}
    assert {"room", "log", "erased", "keys", "order"} < kinds
    assert all(0 < life <= 30 * 86_400 for life in lives.values())
    assert lives["team:chat:1:{never}:room"] <= 3600


# The start.


async def test_a_redis_that_cannot_be_reached_ends_the_start(own: RedisServer) -> None:
    """One line that says where and why, after `store.wait_seconds`, without the password."""
    own.stop()
    engine = make_log(config_of(f"unix://alice:hunter2@{own.path}", wait_seconds=0.1))
    with pytest.raises(StartError) as refused:
        await engine.open(lambda _: None)
    line = str(refused.value)
    assert line.startswith(f"store.url: Redis at {own.path} cannot be used: ")
    assert ("\n" in line, "hunter2" in line) == (False, False)
    own.start()


async def test_a_wrong_password_ends_the_start() -> None:
    """And is shown to nobody; the right one lets in."""
    with redis_server.running("--requirepass", "opensesame") as server:
        server_url = f"unix://:hunter2@{server.path}"
        with pytest.raises(StartError) as refused:
            await make_log(config_of(server_url, wait_seconds=0.1)).open(lambda _: None)
        assert "hunter2" not in str(refused.value)
        async with opened(f"unix://:opensesame@{server.path}") as log:
            assert (await log.append("a", "one")).newest == 1


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter2@", "redis://:hunter2@a,b", "redis://:hunter2@host:x", "redis://:hunter2@host:70000"),
        *("redis://:hunter2@host/x", "redis://:hunter2@host/0/1", "redis://:hunter2@host?x=1", "unix://:hunter2@"),
        *("unix://:hunter2@host/path", "unix://:hunter2@/path?db=x", "redis+sentinel://:hunter2@host"),
        "redis+cluster://:hunter2@host",
    ],
)
def test_what_names_no_redis_is_refused_without_its_password(url: str) -> None:
    """In one line that says what it takes."""
    with pytest.raises(ConfigError) as refused:
        make_log(config_of(url))
    assert str(refused.value).startswith("store.url: got ")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("redis://host", "host:6379"),
        ("rediss://user:p%40ss@[::1]:7000/3", "[::1]:7000"),
        ("unix:///run/redis.sock?db=2", "/run/redis.sock"),
        ("redis+sentinel://:pw@a,b:7001/main/1", "a:26379,b:7001/main"),
    ],
)
def test_where_the_data_is(url: str, path: str) -> None:
    """For people to read, without user and password."""
    assert isinstance(make_log(config_of(url)), RedisLog)
    assert data_path(config_of(url)) == f"in Redis at {path}"
