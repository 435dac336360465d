"""What one client may do in the hub: rates, bad messages, rooms."""

from aiochat import messages as m
from aiochat.messages import HERE
from tests.hubs import MANY_ROOMS, ONE_ROOM, UNLIMITED, Chat


async def test_over_the_rate_commands_are_refused() -> None:
    """A burst passes, what is over it is told when to try again; `who`, `rooms` and `history` cost ten."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 21})
    alice = await chat.join(codec=ONE_ROOM)
    first, second = (m.Publish(room=HERE, text=text) for text in "12")
    for command in (first, m.Who(room=HERE), m.Rooms(), second, m.History(room=HERE, limit=1)):
        alice.ask(command)
    await chat.turn(3)
    refused = [event for event in alice.told if isinstance(event, m.Error)]
    assert [(error.code, error.command) for error in refused] == [
        ("rate_limited", "publish"),
        ("rate_limited", "history"),
    ]
    assert [(error.retry_after_ms or 0) // 1000 for error in refused] == [1000, 10_000]
    assert refused[0].reason == "more than 0.001 messages a second"


async def test_to_search_through_all_clients_costs_ten() -> None:
    """A `direct` to a user; one to a client is found at once."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 11})
    alice = await chat.join(codec=MANY_ROOMS)
    alice.ask(m.Direct(user="bob", text="hi"))
    for _ in range(2):
        alice.ask(m.Direct(client="c9", text="hi"))
    await chat.turn(2)
    assert [event.code for event in alice.told if isinstance(event, m.Error)] == [
        "no_such_client",
        "no_such_client",
        "rate_limited",
    ]


async def test_without_a_rate_nothing_is_refused() -> None:
    """Zero is no limit."""
    chat = Chat(limits=UNLIMITED)
    alice = await chat.join()
    alice.say(*["hello"] * 1000)
    await chat.turn()
    assert alice.heard == ["hello"] * 1000


async def test_who_goes_on_over_the_rate_is_closed() -> None:
    """A hundred refusals within ten seconds are told one by one; the next is 4429, after all that came before it."""
    chat = Chat(limits={"messages_per_second": 0.001, "burst_messages": 10})
    alice, bob = await chat.join(), await chat.join()
    alice.say(*["hello"] * 110)
    await chat.turn(2)
    assert (alice.code, len(alice.heard)) == (None, 110)
    alice.say(*["too much"] * 5)
    await chat.turn(3)
    assert (alice.code, bob.heard) == (4429, ["hello"] * 10)
    assert len(alice.heard) == 111
    assert list(chat.hub.clients) == ["c2"]


async def test_twenty_bad_messages_are_enough() -> None:
    """Each is answered; the twentieth within a minute is 4400. An unknown command does not count."""
    chat = Chat(limits=UNLIMITED)
    alice = await chat.join()
    alice.say(*["/history x"] * 19, *["/nosuch"] * 100)
    await chat.turn(2)
    assert (alice.code, len(alice.heard)) == (None, 119)
    alice.say("/history x")
    await chat.turn(2)
    assert alice.code == 4400


async def test_a_client_may_be_in_so_many_rooms() -> None:
    """One more is refused; one that it is in already is not one more. Each room has its own messages."""
    chat = Chat(limits={"max_rooms_per_client": 2})
    alice = await chat.join("a", codec=MANY_ROOMS)
    for room in "bca":
        alice.ask(m.Join(room=room))
        await chat.turn()
    joined = [event.room for event in alice.told if isinstance(event, m.Joined)]
    refused = [event for event in alice.told if isinstance(event, m.Error)]
    assert joined == ["a", "b", "a"]
    assert [(error.code, error.field) for error in refused] == [("too_many_rooms", "room")]
    assert "2 rooms" in refused[0].reason
    for room in "abc":
        alice.ask(m.Publish(room=room, text="hello"))
    await chat.turn()
    assert [event.room for event in alice.told if isinstance(event, m.Message)] == ["a", "b"]
    errors = [event for event in alice.told if isinstance(event, m.Error)]
    assert [error.code for error in errors] == ["too_many_rooms", "not_joined"]
