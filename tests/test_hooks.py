"""The embedding application's hooks at the hub: what they decide, in which order, and what waiting for them takes."""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import aiochat
from aiochat.errors import Close
from aiochat.hooks.verdicts import Verdicts
from tests.hub_programs import Clock, HubProgram, ProgramChat
from tests.programs import Event

KEY = "00000000-0000-4000-8000-000000000001"
SECRET = "what somebody says"


class Gate:
    """A hook that waits until the test says what it does: answer, or raise."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.cancelled = 0
        self._waiting: list[asyncio.Future[Any]] = []
        self._news = asyncio.Event()

    async def __call__(self, *given: Any) -> Any:
        self.asked.append(given)
        self._news.set()
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    @property
    def running(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    @property
    def texts(self) -> list[str | None]:
        """Of the messages that it was asked about."""
        return [message.text for _, message in self.asked]

    async def asked_for(self, times: int) -> None:
        """Wait until it was asked so often."""
        while len(self.asked) < times:
            self._news.clear()
            await self._news.wait()

    def open(self, answer: Any = None, number: int = 0) -> None:
        """One of those that wait, the oldest unless told otherwise, gives this answer, or raises it."""
        waiting = self._waiting.pop(number)
        if waiting.done():  # it is cancelled, and has not heard of it yet
            return
        if isinstance(answer, BaseException):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)


def gated(event: str) -> tuple[Gate, aiochat.Hooks]:
    """Hooks of which one is a gate."""
    gate, hooks = Gate(), aiochat.Hooks()
    hooks.functions[event] = gate
    return gate, hooks


def publish(client: HubProgram, *texts: str) -> None:
    """Say all that in the room a, in one read."""
    for text in texts:
        client.ask("publish", id=text, room="a", text=text)


def texts(client: HubProgram) -> list[str]:
    """What it was sent."""
    return [message["text"] for message in client.of("message")]


def answers(client: HubProgram) -> list[tuple[Any, Any]]:
    """The id of each command that was answered, with the kind of the answer, or the code of the error."""
    return [(event["id"], event.get("code", event["type"])) for event in client.told if "id" in event]


def lines(logged: list[Any]) -> list[Event]:
    """What the log says of hooks."""
    return [line for line in logged if line["event"].startswith("hook_")]


async def test_a_hook_changes_what_is_said() -> None:
    """Everybody, the sender and the history included, has what it returned; for None, what the client said."""
    hooks = aiochat.Hooks()

    @hooks.on_publish
    async def polite(client: aiochat.ClientInfo, message: aiochat.Publication) -> aiochat.Publication | None:
        if message.text == "data":
            return message.replace(text=None, data={"by": client.name, "was": message.data})
        return message.replace(text="d**n") if message.text == "damn" else None

    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a", "alice"), await chat.come("a")
    alice.ask("publish", id=1, room="A", text="damn", data=[1])
    alice.ask("publish", id=2, room="a", text="hello")
    alice.ask("publish", id=3, room="a", text="data", data=[2])
    await chat.turn(6)
    said = [{"text": "d**n", "data": [1]}, {"text": "hello"}, {"data": {"by": "alice", "was": [2]}}]
    for client in (alice, bob):
        heard = client.of("message")
        assert [{name: message[name] for name in ("text", "data") if name in message} for message in heard] == said
    assert [(ack["id"], ack["offset"]) for ack in alice.of("ack")] == [(1, 1), (2, 2), (3, 3)]


async def test_a_refusal_is_the_senders_error() -> None:
    """With the application's own code and words; in text a line. It takes no offset, and the client goes on."""
    hooks = aiochat.Hooks()

    @hooks.on_publish
    async def no_swearing(client: aiochat.ClientInfo, message: aiochat.Publication) -> None:
        if "damn" in (message.text or ""):
            raise aiochat.Refused("no_swearing", f"please, {client.name}")

    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a", "alice"), await chat.come("a", "bob", is_text=True)
    publish(alice, "damn", "sorry")
    bob.say("/me says damn")
    bob.say("hello")
    await chat.turn(6)
    (error,) = alice.of("error")
    assert (error["id"], error["code"], error["reason"]) == ("damn", "no_swearing", "please, alice")
    assert "retry_after_ms" not in error
    assert "! not sent: please, bob" in bob.lines
    assert sorted(texts(alice)) == ["hello", "sorry"]
    assert [message["offset"] for message in alice.of("message")] == [1, 2]


async def test_a_hook_is_told_who_and_what() -> None:
    """In frozen structs; what it does to the data is not seen by anybody."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice = await chat.come("a", "alice")
    alice.ask("publish", room="a", text="hi", data={"n": 1}, key=KEY)
    await chat.turn()
    client, message = gate.asked[0]
    assert client == aiochat.ClientInfo(alice.client.id, None, "alice", alice.client.address)
    assert message == aiochat.Publication("a", "hi", {"n": 1}, KEY)
    with pytest.raises(AttributeError):
        message.text = "ho"
    message.data["n"] = 2
    gate.open(None)
    await chat.turn(3)
    assert alice.of("message")[0]["data"] == {"n": 1}


async def test_one_waits_and_the_others_go_on() -> None:
    """The commands of who waits stay in order, its reading pauses; nobody else is held up."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a"), await chat.come("a")
    publish(alice, "one", "two")
    alice.ask("ping", id="ping")
    await chat.turn(2)
    bob.ask("ping", id="pong")
    publish(bob, "three")
    await chat.turn(2)
    assert gate.texts == ["one", "three"]
    assert (answers(alice), answers(bob)) == ([], [("pong", "pong")])
    gate.open(number=1)
    await chat.turn(3)
    assert texts(alice) == texts(bob) == ["three"]
    gate.open()
    await chat.turn(3)
    assert gate.texts == ["one", "three", "two"]
    gate.open()
    await chat.turn(3)
    assert answers(alice) == [("one", "ack"), ("two", "ack"), ("ping", "pong")]
    assert texts(bob) == ["three", "one", "two"]


async def test_who_is_full_is_not_read_while_it_waits() -> None:
    """What it sends beyond its share stays with its connection, and comes in when the hook has answered."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks, hub={"inbox_per_client": 3})
    alice = await chat.come("a")
    fed: list[None] = []
    publish(alice, "one", "two", "three")
    await chat.turn(2)
    publish(alice, "four")
    assert alice.client.is_full
    chat.hub.inbox.hold(alice.client, lambda: fed.append(None))
    await chat.turn(3)
    assert not fed
    for _ in range(4):
        gate.open()
        await chat.turn(3)
    assert (texts(alice), fed) == (["one", "two", "three", "four"], [None])


async def test_what_a_hook_thinks_about_counts_as_waiting() -> None:
    """In the bytes that all clients may have in the inbox, until the hook has answered; then nothing is left of it."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks, hub={"inbox_bytes": 100})
    alice, bob = await chat.come("a"), await chat.come("a")
    publish(alice, "x" * 50)
    await chat.turn(2)
    publish(bob, "hi")
    assert bob.client.is_full
    gate.open()
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    assert (chat.hub.inbox.bytes, alice.client.is_full, bob.client.is_full) == (0, False, False)


async def test_rights_come_first() -> None:
    """No hook is asked about what a client may not do anyway."""
    gate, hooks = gated("on_publish")
    hooks.functions["on_join"] = gate
    chat = ProgramChat(application=hooks, room=[{"match": "news", "publish": "api"}, {"match": "vip", "join": "users"}])
    alice = chat.connect("news")
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    alice.ask("publish", id=1, room="news", text="hi")
    alice.ask("join", id=2, room="vip")
    await chat.turn(3)
    assert answers(alice) == [(1, "forbidden"), (2, "forbidden")]
    assert len(gate.asked) == 1


async def test_so_many_run_at_once() -> None:
    """One more waits for a place; of one client there is never more than one."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks, hooks={"max_running": 2})
    clients = [await chat.come("a") for _ in range(4)]
    for client in clients:
        publish(client, f"{client.client.id} 1", f"{client.client.id} 2")
    await chat.turn(3)
    assert gate.running == 2
    for _ in range(8):
        gate.open()
        await chat.turn(3)
        assert gate.running <= 2
    assert len(gate.asked) == 8
    for client in clients:
        own = client.client.id
        assert [text for text in texts(client) if text.startswith(own)] == [f"{own} 1", f"{own} 2"]
    await chat.turn()
    assert chat.hub.application is not None
    assert chat.hub.application.queue.is_idle


@pytest.mark.parametrize("max_running", [1, 10], ids=["waiting for a place", "running"])
async def test_too_late_is_unavailable(max_running: int) -> None:
    """Also for who waits for a place all the time. The hook is cancelled, and the log names it, not what was said."""
    gate, hooks = gated("on_publish")
    clock = Clock(asyncio.get_running_loop())
    chat = ProgramChat(clock, hooks, hooks={"max_running": max_running, "timeout_seconds": 5})
    alice, bob = await chat.come("a"), await chat.come("a")
    publish(alice, SECRET)
    await chat.turn()
    publish(bob, "hi")
    await chat.turn()
    with capture_logs() as logged:
        await chat.later(clock, 4.9)
        assert alice.of("error") == bob.of("error") == []
        await chat.later(clock, 0.2)
        await chat.turn(2)
    for client in (alice, bob):
        (error,) = client.of("error")
        assert (error["code"], error["retry_after_ms"]) == ("unavailable", 1000)
    assert (gate.running, gate.cancelled) == (0, min(max_running, 2))
    assert [(line["event"], line["hook"], line["seconds"]) for line in lines(logged)] == [
        ("hook_late", "on_publish", 5.0)
    ] * 2
    assert SECRET not in str(logged)
    publish(alice, "again")
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    assert texts(bob) == ["again"]


async def test_one_that_cannot_be_cancelled_keeps_its_place() -> None:
    """Its client is told in time; what it answers after all counts no more; the client's next one waits for its end."""
    hooks, ends, asked = aiochat.Hooks(), asyncio.Event(), []

    @hooks.on_publish
    async def stubborn(client: aiochat.ClientInfo, message: aiochat.Publication) -> None:
        asked.append(message.text)
        while not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue

    clock = Clock(asyncio.get_running_loop())
    chat = ProgramChat(clock, hooks, hooks={"max_running": 1})
    alice = await chat.come("a")
    publish(alice, "one", "two")
    for _ in range(2):
        await chat.turn(2)
        await chat.later(clock, 6)
    assert answers(alice) == [("one", "unavailable"), ("two", "unavailable")]
    ends.set()
    publish(alice, "three")
    await chat.turn(5)
    assert (asked, texts(alice)) == (["one", "three"], ["three"])


class Broken(BaseException):
    """Neither an Exception nor one that ends the process."""


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), SystemExit(SECRET), asyncio.CancelledError(SECRET), Broken(SECRET), TimeoutError()]
)
async def test_one_that_raises_is_unavailable(error: BaseException) -> None:
    """Its client may try again; the log says which hook, what and where, and nothing of what was said."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice = await chat.come("a")
    with capture_logs() as logged:
        for number in range(20):
            publish(alice, f"{SECRET} {number}")
            await chat.turn(2)
            gate.open(error)
            await chat.turn(3)
    assert [(event["code"], event["retry_after_ms"]) for event in alice.of("error")] == [("unavailable", 1000)] * 20
    assert {(line["event"], line["hook"], line["error"]) for line in lines(logged)} == {
        ("hook_failed", "on_publish", type(error).__qualname__)
    }
    assert len(lines(logged)) < 10
    assert "test_hooks.py" in lines(logged)[0]["trace"]
    assert SECRET not in str(logged)
    publish(alice, "hi")
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    assert texts(alice) == ["hi"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("hello", "message.replace"),
        (aiochat.Publication("b", "hi"), "message.replace"),
        (aiochat.Publication("a", "", None), "text, data or both"),
        (aiochat.Publication("a", "x" * 200), "over limits.max_message_bytes"),
        (aiochat.Publication("a", "\ud800"), "surrogates"),
        (aiochat.Publication("a", None, {1, 2}), "what JSON can say"),
        (aiochat.Publication("a", 5), "text: got int"),  # type: ignore[arg-type]
    ],
)
async def test_what_is_no_message_is_a_defect_of_the_hook(answer: Any, said: str) -> None:
    """The client is told that it is unavailable, the log what the hook may return; nobody is sent it."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks, limits={"messages_per_second": 0, "max_message_bytes": 200})
    alice = await chat.come("a")
    publish(alice, "hi")
    await chat.turn(2)
    gate.open(answer)
    with capture_logs() as logged:
        await chat.turn(3)
    assert answers(alice) == [("hi", "unavailable")]
    assert said in lines(logged)[0]["error"]


async def test_what_was_sent_before_a_break_is_said() -> None:
    """A client whose connection is lost while its hook runs goes once its commands are applied, as ever."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a"), await chat.come("a")
    publish(alice, "one", "two")
    await chat.turn(2)
    alice.lose()
    await chat.turn(2)
    assert alice.client.id in chat.hub.clients
    for _ in range(2):
        gate.open()
        await chat.turn(3)
    assert texts(bob) == ["one", "two"]
    assert alice.client.id not in chat.hub.clients


async def test_of_a_replaced_connection_nothing_counts_any_more() -> None:
    """Who resumes says again what had no ack; what its old connection waits for is dropped, so it is there once."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a"), await chat.come("a")
    alice.ask("publish", room="a", text="hi", key=KEY)
    await chat.turn(2)
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={"a": {"epoch": alice.of("joined")[0]["epoch"], "offset": 0}})
    again.ask("publish", id=1, room="a", text="hi", key=KEY)
    await chat.turn(5)
    assert alice.close_code == 4409
    while gate.running:
        gate.open()
        await chat.turn(4)
    assert texts(bob) == ["hi"]
    assert [ack["id"] for ack in again.of("ack")] == [1]


async def test_who_was_thrown_out_says_nothing_more() -> None:
    """What its hook lets pass afterwards is dropped, with all behind it; then the client is gone."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice, bob = await chat.come("a"), await chat.come("a")
    publish(alice, "one", "two")
    await chat.turn(2)
    chat.hub.end(alice.client, Close.KICKED, "that will do")
    gate.open()
    await chat.turn(4)
    publish(bob, "three")
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    assert (gate.texts, texts(bob)) == (["one", "three"], ["three"])
    assert alice.client.id not in chat.hub.clients


async def test_a_key_stands_for_what_the_client_said() -> None:
    """A hook that never answers twice the same is asked once; the repetition gets the same ack."""
    hooks, numbers = aiochat.Hooks(), count(1)

    @hooks.on_publish
    async def numbered(client: aiochat.ClientInfo, message: aiochat.Publication) -> aiochat.Publication:
        return message.replace(text=f"{message.text} {next(numbers)}")

    chat = ProgramChat(application=hooks)
    alice = await chat.come("a")
    for id, text in enumerate(["hi", "hi", "ho"]):
        alice.ask("publish", id=id, room="a", text=text, key=KEY)
        await chat.turn(4)
    first, again = alice.of("ack")
    assert again == {**first, "id": 1, "repeated": True}
    assert answers(alice)[2] == (2, "key_reused")
    assert texts(alice) == ["hi 1"]
    assert next(numbers) == 3  # the one with other content was asked


async def test_a_key_holds_where_the_verdict_is_forgotten() -> None:
    """After a restart, say: the hook is asked again, and whatever it answers, the message is there already."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice = await chat.come("a")
    for number in range(2):
        alice.ask("publish", id=number, room="a", text="hi", key=KEY)
        await chat.turn(2)
        gate.open(aiochat.Publication("a", f"hi {number}", key=KEY))
        await chat.turn(3)
        assert chat.hub.application is not None
        chat.hub.application._verdicts._known.clear()
    first, again = alice.of("ack")
    assert again == {**first, "id": 1, "repeated": True}
    assert texts(alice) == ["hi 0"]


async def test_verdicts_are_forgotten_with_the_keys() -> None:
    """And beyond their bounds the oldest first: then the hook is asked again."""
    client = (await ProgramChat().come()).client
    known = Verdicts(600.0)

    def say(number: int, size: int = 0) -> aiochat.Publication:
        said = aiochat.Publication("a", "hi", key=f"{KEY}{number}")
        known.add(client, said, said.replace(text="x" * size) if size else said, 0.0)
        return said

    said = say(0)
    assert (known.find(client, said, 599.0), known.find(client, said, 600.0)) == (said, None)
    for number in range(1, 10_001):
        say(number)
    assert len(known._known) == 10_000
    assert known.find(client, said, 1.0) is None
    for number in range(5):
        say(number, 3 << 20)
    assert known._bytes == 6 << 20
    assert known.find(client, say(4, 100), 1.0) == aiochat.Publication("a", "x" * 100, key=f"{KEY}4")
    assert known._bytes == (3 << 20) + 100


async def test_a_hook_says_who_comes_in() -> None:
    """By a command, by the address and at a resume; catching up in a room asks nobody."""
    gate, hooks = gated("on_join")
    chat = ProgramChat(application=hooks)
    alice = await chat.come()
    alice.ask("join", id=1, room="A", name="alice")
    alice.ask("ping", id=2)
    await chat.turn(2)
    assert gate.asked == [(aiochat.ClientInfo(alice.client.id, None, "alice", alice.client.address), "a")]
    assert answers(alice) == []
    gate.open(aiochat.Refused("full", "a is full"))
    await chat.turn(3)
    assert answers(alice) == [(1, "full"), (2, "pong")]
    alice.ask("join", id=3, room="a")
    await chat.turn(2)
    gate.open()
    await chat.turn(3)
    (joined,) = alice.of("joined")
    alice.ask("join", id=4, room="a", since={"epoch": joined["epoch"], "offset": 0})
    await chat.turn(2)
    assert answers(alice)[2:] == [(3, "joined"), (4, "joined")]
    bob = chat.connect("a", "bob")
    await chat.turn(2)
    gate.open(aiochat.Refused("full", "a is full"))
    await chat.turn(3)
    assert [event["code"] for event in bob.of("error")] == ["full"]
    assert len(gate.asked) == 3


async def test_resume_goes_by_the_hook_too() -> None:
    """Who may not come in any more is told so by `left`, with the code, and is back in its other rooms."""
    hooks = aiochat.Hooks()
    closed: set[str] = set()

    @hooks.on_join
    async def open_rooms(client: aiochat.ClientInfo, room: str) -> None:
        if room in closed:
            raise aiochat.Refused("closed", f"{room} is closed")

    chat = ProgramChat(application=hooks)
    alice = await chat.come("a", "alice")
    alice.ask("join", room="b")
    await chat.turn(4)
    closed.add("a")
    again = await chat.come()
    rooms = {joined["room"]: {"epoch": joined["epoch"], "offset": joined["offset"]} for joined in alice.of("joined")}
    again.ask("resume", token=alice.token, rooms=rooms)
    await chat.turn(6)
    kinds = [event["type"] for event in again.news() if event["type"] != "presence"]
    assert kinds == ["resumed", "left", "joined", "session"]
    assert again.of("left")[0]["reason"] == "closed"
    assert [room.name for room in again.client.rooms] == ["b"]


async def test_a_person_who_may_not_move_stays() -> None:
    """In text the room that one is in is left only for another."""
    hooks = aiochat.Hooks()

    @hooks.on_join
    async def no_attic(client: aiochat.ClientInfo, room: str) -> None:
        if room == "attic":
            raise aiochat.Refused("forbidden", "the attic is locked")

    chat = ProgramChat(application=hooks)
    alice = await chat.come("lobby", "alice", is_text=True)
    alice.say("/join attic")
    alice.say("hello")
    await chat.turn(6)
    assert alice.lines[-2:] == ["! the attic is locked", "alice: hello"]


async def test_going_is_told_in_order_and_after_the_fact() -> None:
    """Each of a client's rooms, then its end; a resumed session has not ended, however its connection did."""
    hooks, told = aiochat.Hooks(), []

    @hooks.on_join
    async def join(client: aiochat.ClientInfo, room: str) -> None:
        told.append(f"{client.id} joins {room}")

    @hooks.on_leave
    async def leave(client: aiochat.ClientInfo, room: str) -> None:
        await asyncio.sleep(0)
        told.append(f"{client.id} left {room} as {client.name}")

    @hooks.on_disconnect
    async def disconnect(client: aiochat.ClientInfo) -> None:
        told.append(f"{client.id} is gone")

    chat = ProgramChat(application=hooks)
    alice = await chat.come("a", "alice")
    alice.ask("join", room="b")
    alice.ask("leave", room="a")
    await chat.turn(6)
    assert told == ["c1 joins a", "c1 joins b", "c1 left a as alice"]
    again = await chat.come()
    again.ask("resume", token=alice.token, rooms={"b": {"epoch": alice.of("joined")[1]["epoch"], "offset": 0}})
    await chat.turn(8)
    again.lose()
    await chat.turn(8)
    assert told[3:] == ["c1 left b as alice", "c1 joins b", "c1 left b as alice", "c1 is gone"]


async def test_what_nobody_waits_for_is_bounded() -> None:
    """Beyond it the oldest are told, the others left out, and the log says so; a defect of a hook is logged, too."""
    gate, hooks = gated("on_leave")
    chat = ProgramChat(application=hooks, hooks={"max_waiting": 3, "max_running": 1})
    clients = [await chat.come("a") for _ in range(5)]
    with capture_logs() as logged:
        for client in clients:
            client.lose()
        await chat.turn(2)
        gate.open(ValueError(SECRET))
        await chat.turn(5)
        for _ in range(2):
            gate.open()
            await chat.turn(5)
    assert len(gate.asked) == 3
    assert [line["event"] for line in lines(logged)] == ["hook_skipped"] * 2 + ["hook_failed"]
    assert SECRET not in str(logged)
    late = await chat.come("a")
    late.lose()
    await chat.turn(2)
    assert gate.running == 1


async def test_one_that_is_only_told_has_its_time_too() -> None:
    """From its beginning on; then it is cancelled, and the next one comes."""
    gate, hooks = gated("on_disconnect")
    clock = Clock(asyncio.get_running_loop())
    chat = ProgramChat(clock, hooks, hooks={"max_running": 1})
    for _ in range(2):
        (await chat.come()).lose()
    await chat.turn(2)
    await chat.later(clock, 5.1)
    await chat.turn(2)
    assert (len(gate.asked), gate.cancelled, gate.running) == (2, 1, 1)


async def test_a_client_calls_a_method() -> None:
    """And gets what it returns, or its refusal, in the order of its commands."""
    hooks = aiochat.Hooks()

    @hooks.method("add")
    async def add(client: aiochat.ClientInfo, data: Any) -> Any:
        if not isinstance(data, list):
            raise aiochat.Refused("no_list", "I add lists")
        return {"sum": sum(data), "for": client.name}

    @hooks.method("nothing")
    async def nothing(client: aiochat.ClientInfo, data: Any) -> None:
        """Returns None."""

    chat = ProgramChat(application=hooks)
    alice = await chat.come("a", "alice")
    alice.ask("call", id=1, method="add", data=[1, 2])
    alice.ask("call", id=2, method="add", data="12")
    alice.ask("call", id=3, method="subtract")
    alice.ask("call", id=4, method="nothing")
    alice.ask("ping", id=5)
    await chat.turn(8)
    assert answers(alice) == [(1, "result"), (2, "no_list"), (3, "unknown_method"), (4, "result"), (5, "pong")]
    assert [result.get("data") for result in alice.of("result")] == [{"sum": 3, "for": "alice"}, None]


@pytest.mark.parametrize("answer", [{1: 2}, float("nan"), object(), "x" * 70_000, ValueError(SECRET)])
async def test_a_call_that_fails_is_not_advised_again(answer: Any) -> None:
    """Half of what it does may be done: whether to try again is for the caller to say."""
    gate, hooks = Gate(), aiochat.Hooks()
    hooks.methods["do"] = gate
    chat = ProgramChat(application=hooks)
    alice = await chat.come()
    alice.ask("call", id=1, method="do", data=SECRET)
    await chat.turn(2)
    gate.open(answer)
    with capture_logs() as logged:
        await chat.turn(3)
    (error,) = alice.of("error")
    assert (error["code"], "retry_after_ms" in error) == ("unavailable", False)
    assert lines(logged)[0]["hook"] == "method do"
    assert SECRET not in str(logged)


async def test_without_an_application_there_is_no_method() -> None:
    """And no task, whatever is said."""
    chat = ProgramChat()
    alice = await chat.come("a")
    tasks = len(asyncio.all_tasks())
    alice.ask("call", id=1, method="add")
    publish(alice, "hi")
    await chat.turn()
    assert len(asyncio.all_tasks()) == tasks
    assert answers(alice)[0] == (1, "unknown_method")


async def test_the_end_waits_for_what_is_asked() -> None:
    """A drain writes out what clients have said, also what a hook still thinks about."""
    gate, hooks = gated("on_publish")
    chat = ProgramChat(application=hooks)
    alice = await chat.come("a")
    publish(alice, "good night")
    await chat.turn()
    flushed = chat.hub.publishing.flush()
    await chat.turn(3)
    assert not flushed.done()
    gate.open()
    await chat.turn(3)
    assert flushed.done()
    assert texts(alice) == ["good night"]


async def test_at_the_end_everything_is_told_or_cancelled() -> None:
    """What is on its way is told; what does not end in time is cancelled, and no task is left."""
    gate, hooks = gated("on_disconnect")
    chat = ProgramChat(application=hooks)
    running = asyncio.create_task(chat.hub.run())
    clients = [chat.connect("a") for _ in range(3)]
    for client in clients:
        client.leave()
    assert chat.hub.application is not None
    finishing = asyncio.create_task(chat.hub.application.finish(0.2))
    await gate.asked_for(3)
    gate.open()
    await finishing
    assert (gate.running, gate.cancelled) == (0, 2)
    running.cancel()
    await asyncio.wait([running])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_a_hook_says_itself_comes_after_the_message() -> None:
    """A bot answers in a task of its own, begun before the hook returns."""
    hooks = aiochat.Hooks()
    chat = ProgramChat(application=hooks)
    tasks = []

    async def say(text: str) -> None:
        await chat.hub.publishing.publish("a", text, None)

    @hooks.on_publish
    async def answer(client: aiochat.ClientInfo, message: aiochat.Publication) -> None:
        tasks.append(asyncio.create_task(say(f"you said {message.text}")))

    alice = await chat.come("a")
    publish(alice, "one", "two")
    await chat.turn(8)
    assert texts(alice) == ["one", "you said one", "two", "you said two"]
    await asyncio.gather(*tasks)


def test_a_hook_is_registered_once_and_is_async() -> None:
    """Whatever else is given is said at once, not when the first client comes."""
    hooks = aiochat.Hooks()

    async def join(client: aiochat.ClientInfo, room: str) -> None:
        """Lets everybody in."""

    def late(client: aiochat.ClientInfo, room: str) -> Any:
        """Is not async."""

    assert hooks.on_join(join) is join
    with pytest.raises(ValueError, match="on_join is there already"):
        hooks.on_join(join)
    with pytest.raises(TypeError, match=r"on_leave: got .* takes an async function"):
        hooks.on_leave(late)
    hooks.method("m")(join)
    with pytest.raises(ValueError, match="the method 'm' is there already"):
        hooks.method("m")(join)
    with pytest.raises(ValueError, match="has a name"):
        hooks.method("")


@pytest.mark.parametrize(
    ("code", "close"), [("No", 4403), ("", 4403), ("no swearing", 4403), ("x" * 65, 4403), ("no", 4402), ("no", 5000)]
)
def test_a_refusal_has_a_word_and_a_code_of_its_own(code: str, close: int) -> None:
    """What the protocol keeps for itself cannot be said by the application."""
    with pytest.raises(ValueError, match="takes"):
        aiochat.Refused(code, "no", close=close)


def test_a_message_is_replaced_in_part() -> None:
    """Text, data or both; room and key are the client's."""
    message = aiochat.Publication("a", "hi", [1], KEY)
    assert message.replace(text="ho") == aiochat.Publication("a", "ho", [1], KEY)
    assert message.replace(data=None) == aiochat.Publication("a", "hi", None, KEY)
    assert message.replace() == message


ANSWERS = {
    "passes": None,
    "refuses": aiochat.Refused("no", "no"),
    "fails": ValueError(SECRET),
    "is cancelled": asyncio.CancelledError(),
}
STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 2), st.integers(1, 3)),
    st.tuples(st.sampled_from(sorted(ANSWERS)), st.integers(0, 2), st.none()),
    st.tuples(st.just("log answers"), st.integers(1, 3), st.none()),
    st.tuples(st.just("time goes by"), st.just(2), st.none()),
    st.tuples(st.just("turn"), st.just(1), st.none()),
)


@pytest.mark.filterwarnings("ignore:.*was never awaited")
@settings(max_examples=50)
@given(st.lists(STEPS, max_size=40), st.integers(1, 3))
def test_whatever_hooks_answer_and_when_nothing_is_lost(steps: list[tuple[str, int, int]], max_running: int) -> None:
    """Each message gets one answer; in the room are those with an ack, each once, and each client's in its order."""
    with capture_logs():
        asyncio.run(_whatever(steps, max_running))


async def _whatever(steps: list[tuple[str, int, int]], max_running: int) -> None:
    gate, hooks = gated("on_publish")
    clock = Clock(asyncio.get_running_loop())
    patient = {"wait_seconds": 1e6}  # what a late log has refused may be in it all the same
    chat = ProgramChat(clock, hooks, hooks={"max_running": max_running, "timeout_seconds": 5}, store=patient)
    observer = await chat.come("a")
    clients = [await chat.come("a") for _ in range(3)]
    chat.log.is_held = True
    sent: list[list[str]] = [[] for _ in clients]
    for kind, number, many in steps:
        if kind == "say":
            said = [f"{number} {len(sent[number]) + more}" for more in range(many)]
            publish(clients[number], *said)
            sent[number] += said
        elif kind == "log answers":
            chat.log.answer(number)
        elif kind == "time goes by":
            await chat.later(clock, number)
        elif kind == "turn":
            await chat.turn(number)
        elif gate.running:
            gate.open(ANSWERS[kind], number % gate.running)
        assert gate.running <= max_running
    chat.log.is_held = False
    while any(len(answers(client)) < len(said) for client, said in zip(clients, sent, strict=True)):
        chat.log.answer(10)
        if gate.running:
            gate.open()
        await chat.turn()
    await chat.turn(3)
    acked = []
    for client, texts_sent in zip(clients, sent, strict=True):
        told = dict(answers(client))
        assert sorted(id for id, _ in answers(client)) == sorted(texts_sent)
        own = [(ack["offset"], ack["id"]) for ack in client.of("ack")]
        assert own == sorted(own)
        assert [id for _, id in own] == [id for id in texts_sent if told[id] == "ack"]
        acked += own
    assert [(message["offset"], message["text"]) for message in observer.of("message")] == sorted(acked)
    assert chat.hub.application is not None
    assert chat.hub.application.queue.is_idle
