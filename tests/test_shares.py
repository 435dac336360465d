"""What all clients of one user or address have together: counted, budgeted, and forgotten when nobody needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiochat import messages as m
from aiochat.auth.identity import Identity
from aiochat.config import load
from aiochat.limits.addresses import source_of
from aiochat.limits.budgets import Budget, Joint
from aiochat.limits.shares import Quota, Shares, Sharing
from aiochat.messages import HERE
from tests.hubs import ONE_ROOM, Chat, Peer

keys = st.sampled_from("abcdef")
pauses = st.floats(0, 5)


def quota(clients: int = 0, messages: float = 0, size: float = 0, connects: float = 0) -> Quota:
    """Of addresses."""
    return Quota("address", clients, messages, 10, size, connects)


def test_an_address_has_so_many_clients() -> None:
    """One that goes makes room for another, and other addresses are not concerned."""
    shares = Shares(quota(clients=2), 10)
    assert [shares.admit("a") for _ in range(3)] == [True, True, False]
    assert shares.admit("b")
    shares.release("a")
    assert [shares.admit("a") for _ in range(2)] == [True, False]


def test_where_all_have_clients_a_new_one_is_refused() -> None:
    """One whose clients are gone makes room, and those known go on."""
    shares = Shares(quota(clients=2), 2)
    assert [shares.admit(key) for key in "abca"] == [True, True, False, True]
    shares.release("b")
    assert shares.admit("c")
    assert len(shares) == 2


def test_without_a_limit_nothing_is_remembered() -> None:
    """Zero is no limit, and costs no memory."""
    shares = Shares(quota(), 1)
    for number in range(200):
        assert shares.connect(f"{number}", 0) == 0
        assert shares.admit(f"{number}")
        assert shares.messages(f"{number}", 0) is shares.bytes(f"{number}", 0) is None
    shares.release("1")
    assert not len(shares)


def test_so_many_connects_pass_and_then_only_the_rate() -> None:
    """Ten at once, then five a second; the wait that a refusal names is right."""
    shares = Shares(quota(connects=5), 10)
    assert [shares.connect("a", 0) for _ in range(10)] == [0] * 10
    assert shares.connect("a", 0) == pytest.approx(0.2)
    assert shares.connect("b", 0) == 0
    assert shares.connect("a", 0.2) == 0


def test_a_budget_lives_on_while_it_is_not_full() -> None:
    """Whoever hangs up and comes again finds what was left; once it is full nothing is remembered."""
    shares = Shares(quota(messages=5), 10)
    shares.admit("a")
    budget = shares.messages("a", 0)
    assert budget is not None
    budget.spend(10, 0)
    shares.release("a")
    shares.check(1)
    assert shares.messages("a", 1) is budget
    shares.check(2)
    assert not len(shares)


def test_at_the_bound_the_longest_unused_is_forgotten() -> None:
    """An attacker with many addresses costs its own memory of them, never a place for somebody new."""
    shares = Shares(quota(connects=1), 3)
    for _ in range(10):
        shares.connect("a", 0)
    for key in "bcd":
        assert shares.connect(key, 0) == 0
    assert len(shares) == 3
    assert shares.connect("a", 0) == 0


class Usage(RuleBasedStateMachine):
    """Clients come, spend and go in any order; a model counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.shares = Shares(quota(clients=3, messages=5, size=100, connects=2), 4)
        self.clients: dict[str, int] = {}

    @rule(key=keys)
    def come(self, key: str) -> None:
        is_free = key in self.clients or len(self.clients) < 4
        expected = is_free and self.clients.get(key, 0) < 3
        assert self.shares.admit(key) == expected
        if expected:
            self.clients[key] = self.clients.get(key, 0) + 1

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.clients)))
        self.shares.release(key)
        self.clients[key] -= 1
        if not self.clients[key]:
            del self.clients[key]

    @rule(key=keys)
    def knock(self, key: str) -> None:
        self.shares.connect(key, self.now)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), cost=st.integers(1, 300))
    def spend(self, data: st.DataObject, cost: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.clients)))
        for of in (self.shares.messages, self.shares.bytes):
            budget = of(key, self.now)
            assert budget is not None
            assert of(key, self.now) is budget
            budget.spend(cost, self.now)

    @rule(pause=pauses)
    def wait(self, pause: float) -> None:
        self.now += pause
        self.shares.check(self.now)

    @rule()
    def wait_long(self) -> None:
        self.now += 1000
        self.shares.check(self.now)
        assert set(self.shares._shares) == set(self.clients)

    @invariant()
    def it_keeps_its_bound_and_who_is_there(self) -> None:
        assert len(self.shares) <= 4
        assert {key: share.clients for key, share in self.shares._shares.items() if share.clients} == self.clients
        assert set(self.shares._idle) == set(self.shares._shares) - set(self.clients)


TestUsage = Usage.TestCase


@given(st.lists(st.tuples(st.sampled_from([1, 10]), pauses, st.booleans()), max_size=40))
def test_several_budgets_are_spent_together(asked: list[tuple[int, float, bool]]) -> None:
    """All or none of them pays, and whoever waits as long as told is served; nobody gets more than the shared rate."""
    now, shared, taken = 0.0, Budget(5, 20, 0, "address"), 0
    owns = [Budget(3, 15, 0, "own"), Budget(4, 15, 0, "own")]
    joints = [Joint((own, shared)) for own in owns]
    for cost, pause, which in asked:
        now += pause
        joint = joints[which]
        before = [budget.wait(20, now) for budget in (owns[which], shared)]
        if (wait := joint.take(cost, now)) > 0:
            assert [budget.wait(20, now) for budget in (owns[which], shared)] == before
            assert joint.scarcest(cost, now).wait(cost, now) == wait
            now += wait + 1e-6
            assert joint.take(cost, now) == 0
        taken += cost
        assert taken <= 20 + 5 * now + 1e-3


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
        ("no:address", "no:other", False),
    ],
)
def test_an_ipv6_address_counts_with_its_64(one: str, other: str, is_same: bool) -> None:
    """Of which one subscriber has all 2^64; IPv4 within IPv6 is IPv4."""
    assert (source_of(one) == source_of(other)) == is_same


def test_a_client_that_is_refused_is_counted_nowhere() -> None:
    """Neither its user nor its address has one more."""
    limits = load(flags={"limits": {"max_clients_per_user": 1, "max_clients_per_address": 2}}).limits
    sharing = Sharing(limits)
    assert sharing.admit("alice", "192.0.2.1") is None
    assert sharing.admit("alice", "192.0.2.1") == "too many clients of this user"
    assert sharing.admit("bob", "192.0.2.1") is None
    assert sharing.admit("carol", "192.0.2.1") == "too many clients from this address"
    assert sharing.admit("carol", "192.0.2.2") is None
    sharing.release("alice", "192.0.2.1")
    assert sharing.admit("alice", "192.0.2.1") is None


async def _come(chat: Chat, user: str | None, address: str) -> Peer:
    peer = chat.connect(codec=ONE_ROOM)
    peer.client.identity, peer.client.address = Identity(user=user), address
    await chat.turn()
    return peer


async def _refused_of(chat: Chat, *peers: Peer) -> list[str]:
    for peer in peers:
        peer.ask(m.Ping())
    await chat.turn(2)
    return [event.reason for peer in peers for event in peer.told if isinstance(event, m.Error)]


async def test_all_clients_of_a_user_share_a_rate() -> None:
    """However many it has, and whether or not one client has a rate of its own; other users are not concerned."""
    chat = Chat(limits={"messages_per_second": 0, "user_messages_per_second": 0.001, "burst_messages": 10})
    one, two = [await _come(chat, "alice", f"192.0.2.{number}") for number in (1, 2)]
    bob, guest = await _come(chat, "bob", "192.0.2.1"), await _come(chat, None, "192.0.2.1")
    for peer in (one, two, guest):
        for _ in range(5):
            peer.ask(m.Publish(room=HERE, text="x"))
    await chat.turn(2)
    assert await _refused_of(chat, bob, guest) == []
    assert await _refused_of(chat, two) == ["more than 0.001 messages a second from all clients of this user"]


async def test_all_clients_from_an_address_share_a_rate() -> None:
    """Also guests; an IPv6 address with all of its /64."""
    chat = Chat(limits={"address_messages_per_second": 0.001, "burst_messages": 10})
    one, two = [await _come(chat, None, f"2001:db8::{number}") for number in (1, 2)]
    other = await _come(chat, None, "2001:db8:0:1::1")
    for _ in range(10):
        one.ask(m.Publish(room=HERE, text="x"))
    await chat.turn(2)
    assert await _refused_of(chat, two, other) == ["more than 0.001 messages a second from this address"]
    assert two.code is None
