"""Bans: who they are about, for how long, and that they outlive the server."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from aiochat.auth.identity import Identity
from aiochat.config import load
from aiochat.errors import Reply, StoreError
from aiochat.limits import bans as module
from aiochat.limits.bans import Ban, Bans
from aiochat.roomlog import Answer
from aiochat.roomlog.memory import MemoryLog
from tests.hubs import Chat
from tests.roomlogs import opened, url_of

UNSAID = "no reason was given"

v6_addresses = st.integers(0, (1 << 128) - 1).map(IPv6Address).filter(lambda address: address.ipv4_mapped is None)
addresses = st.one_of(st.ip_addresses(v=4), v6_addresses).map(str)
networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(v6_addresses, st.integers(0, 128))
).map(lambda parts: f"{parts[0]}/{parts[1]}")


class Keeping(MemoryLog):
    """Remembers what it was asked to keep; fails while it `is_failing`."""

    def __init__(self) -> None:
        super().__init__(load(flags={"store": {"url": "memory:"}}))
        self.values: dict[str, bytes] = {}
        self.asked = 0
        self.is_failing = False

    def keep(self, key: str, value: bytes | None, answer: Answer[None]) -> None:
        self.asked += 1
        if self.is_failing:
            answer(StoreError("the disk is full"))
            return
        self.values.pop(key, None)
        if value is not None:
            self.values[key] = value
        answer(None)


@pytest.fixture
def log() -> Keeping:
    """A log that keeps what it is asked to."""
    return Keeping()


@pytest.fixture
def bans(log: Keeping) -> Bans:
    """None so far, and nobody to close."""
    return Bans(log, lambda: None)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the wall clock on."""

    def move(seconds: float) -> None:
        now = time.time() + seconds
        monkeypatch.setattr("aiochat.limits.bans.time.time", lambda: now)

    return move


def test_a_user_is_banned_wherever_from_and_an_address_whoever_it_is(bans: Bans) -> None:
    """With the reason given, or a word where none was."""
    bans.ban_user("mallory", "spam")
    bans.ban_address("192.0.2.7", "")
    assert bans.reason_for("mallory", "198.51.100.1") == "spam"
    assert bans.reason_for("alice", "192.0.2.7") == bans.reason_for(None, "192.0.2.7") == UNSAID
    assert bans.reason_for("alice", "192.0.2.8") is bans.reason_for(None, "") is None


@given(st.lists(networks, max_size=5), addresses)
def test_an_address_is_banned_with_any_network_it_is_in(banned: list[str], address: str) -> None:
    """IPv4 and IPv6 never mix."""
    bans = Bans(Keeping(), lambda: None)
    for network in banned:
        bans.ban_address(network, "")
    expected = any(ip_address(address) in ip_network(network, strict=False) for network in banned)
    assert (bans.reason_for(None, address) is not None) == expected


@pytest.mark.parametrize(
    ("banned", "listed", "hit", "missed"),
    [
        ("2001:db8::1", "2001:db8::/64", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ("2001:db8::1/128", "2001:db8::1/128", "2001:db8::1%eth0", "2001:db8::2"),
        ("192.0.2.9/24", "192.0.2.0/24", "::ffff:192.0.2.200", "192.0.3.1"),
        ("::ffff:192.0.2.1", "192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ("::ffff:192.0.2.1/120", "192.0.2.0/24", "::ffff:192.0.2.200", "192.0.3.1"),
    ],
)
def test_an_address_may_be_written_in_many_ways(bans: Bans, banned: str, listed: str, hit: str, missed: str) -> None:
    """An IPv6 address stands for its /64, of which one subscriber has all; any spelling lifts what another banned."""
    assert bans.ban_address(banned, "").address == listed
    assert (bans.reason_for(None, hit), bans.reason_for(None, missed)) == (UNSAID, None)
    assert [bans.lift_address(listed), bans.lift_address(listed)] == [True, False]
    assert bans.reason_for(None, hit) is None


@pytest.mark.parametrize(
    ("ban", "field"),
    [
        (lambda bans: bans.ban_address("example.org", ""), "address"),
        (lambda bans: bans.ban_address("10.0.0.0/33", ""), "address"),
        (lambda bans: bans.ban_address("", ""), "address"),
        (lambda bans: bans.lift_address("10.0.0"), "address"),
        (lambda bans: bans.ban_user("", ""), "user"),
        (lambda bans: bans.ban_user("x" * 257, ""), "user"),
        (lambda bans: bans.ban_user("x", "y" * 101), "reason"),
        (lambda bans: bans.ban_user("x", "a\x1b[2J"), "reason"),
        (lambda bans: bans.ban_user("x", "", 0), "seconds"),
        (lambda bans: bans.ban_user("x", "", float("nan")), "seconds"),
    ],
)
def test_what_cannot_be_banned_is_refused(bans: Bans, ban: Callable[[Bans], object], field: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(Reply) as refused:
        ban(bans)
    assert (refused.value.code, refused.value.field, len(bans)) == ("bad_message", field, 0)


def test_a_ban_ends_with_its_time(bans: Bans, log: Keeping, later: Callable[[float], None]) -> None:
    """At once for who comes; from memory and the log at the next look. One without a time stays."""
    bans.ban_user("mallory", "", 60)
    bans.ban_address("192.0.2.0/24", "", 120)
    bans.ban_user("eve", "")
    later(60)
    assert (bans.reason_for("mallory", ""), bans.reason_for("eve", "")) == (None, UNSAID)
    assert [ban.user for ban in bans.listed()] == ["eve", None]
    assert len(bans) == 3
    bans.check()
    assert (len(bans), len(log.values)) == (2, 2)
    later(120)
    bans.check()
    assert (len(bans), len(log.values)) == (1, 1)


def test_the_log_tells_of_a_ban_what_there_is(
    bans: Bans, log: Keeping, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose it is, and its reason and its end where it has them; the time as in each line's beginning."""
    monkeypatch.setattr("aiochat.limits.bans.time.time", lambda: 1_800_000_000.0)
    with capture_logs() as lines:
        bans.ban_user("mallory", "spam", 60)
        bans.ban_address("192.0.2.7", "")
        bans.lift_address("192.0.2.7")
        later(60)
        bans.check()
        log.is_failing = True
        bans.ban_user("eve", "")
    assert [{key: value for key, value in line.items() if key != "log_level"} for line in lines] == [
        {"event": "banned", "user": "mallory", "reason": "spam", "until": "2027-01-15T08:01:00Z"},
        {"event": "banned", "address": "192.0.2.7/32"},
        {"event": "ban_lifted", "address": "192.0.2.7/32"},
        {"event": "ban_expired", "user": "mallory"},
        {"event": "ban_not_kept", "user": "eve", "reason": "the disk is full"},
        {"event": "banned", "user": "eve"},
    ]


def test_a_ban_takes_the_place_of_an_earlier_one(bans: Bans) -> None:
    """With its reason and its time."""
    bans.ban_user("mallory", "spam", 60)
    newer = bans.ban_user("mallory", "threats")
    assert list(bans.listed()) == [newer] == [Ban(user="mallory", reason="threats")]


def test_there_are_only_so_many(bans: Bans, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused; another one of somebody who is banned, or one after a lift, is not."""
    monkeypatch.setattr(module, "MAX_BANS", 2)
    bans.ban_user("a", "")
    bans.ban_address("192.0.2.1", "")
    with pytest.raises(Reply, match="lift one first") as refused:
        bans.ban_user("b", "")
    assert refused.value.code == "too_many_bans"
    bans.ban_user("a", "again")
    assert bans.lift_user("a")
    bans.ban_user("b", "")


def test_what_the_log_does_not_take_is_tried_again(bans: Bans, log: Keeping) -> None:
    """It is in force meanwhile; whatever happened until then, the log has in the end what is true then."""
    log.is_failing = True
    bans.ban_user("a", "")
    bans.ban_user("b", "")
    bans.lift_user("a")
    assert (log.values, bans.reason_for("b", "")) == ({}, UNSAID)
    bans.check()
    log.is_failing = False
    bans.check()
    assert list(log.values) == ["ban user b"]
    asked = log.asked
    bans.check()
    assert log.asked == asked


async def test_bans_outlive_the_server(tmp_path: Path) -> None:
    """Where the store does; with reason and end."""
    url = url_of("sqlite", tmp_path)
    async with opened(url) as store:
        bans = Bans(store.engine, lambda: None)
        made = [bans.ban_user("mallory", "spam", 3600), bans.ban_user("eve", "")]
        made.append(bans.ban_address("2001:db8::/32", "bots"))
        bans.lift_user("eve")
    async with opened(url) as store:
        assert list(Bans(store.engine, lambda: None).listed()) == [made[0], made[2]]


async def test_who_is_banned_is_closed_and_everybody_else_chats_on() -> None:
    """4403 with the reason, after what it was told before; what it sent and saw not applied is dropped."""
    chat = Chat()
    alice, mallory, mate = [await chat.join() for _ in range(3)]
    mallory.client.identity = Identity(user="mallory")
    mate.client.address = "192.0.2.7"
    mallory.say("one")
    await chat.turn(2)
    mallory.say("two")
    chat.hub.bans.ban_user("mallory", "spam")
    chat.hub.bans.ban_address("192.0.2.0/24", "bots")
    await chat.turn(2)
    assert [peer.code for peer in (alice, mallory, mate)] == [None, 4403, 4403]
    assert list(chat.hub.clients) == ["c1"]
    alice.say("three")
    await chat.turn()
    assert alice.heard[0] == "one"
    assert alice.heard[-1] == "three"


async def test_who_comes_in_while_it_is_banned_is_closed() -> None:
    """Between its request and its first turn; nothing is left of it."""
    chat = Chat()
    mallory = chat.connect()
    mallory.client.identity = Identity(user="mallory")
    chat.hub.bans.ban_user("mallory", "spam")
    await chat.turn(3)
    assert (mallory.code, mallory.heard) == (4403, [])
    mallory.hang_up()
    await chat.turn(2)
    assert chat.is_empty
