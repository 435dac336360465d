"""The Python client and a real server, on a connection that holds: everything that one can ask, in both codecs."""

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import aiochat
from aiochat.errors import Reply
from aiochat.messages import DirectMessage, Joined, Message, Presence, TypingNow
from aiochat.sdk import ChatClient, ChatClosed
from tests.scripted import next_of
from tests.servers import Server, environment, running, talking

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(params=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs with both."""
    return str(request.param)


@asynccontextmanager
async def two(server: Server, room: str, codec: str = "json") -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Alice and bob in one room; bob speaks JSON."""
    async with (
        aiochat.connect(server.ws_url, name="alice", rooms=[room], codec=codec) as alice,
        aiochat.connect(server.ws_url, name="bob", rooms=[room]) as bob,
    ):
        yield alice, bob


async def test_what_one_publishes_all_are_told(shared: Server, room: str, codec: str) -> None:
    """The publisher too; the ack has the offset under which it is in the log."""
    async with two(shared, room, codec) as (alice, bob):
        ack = await alice.publish(room, "hi", data={"mood": ["good", 1.5, None]})
        assert (ack.room, ack.offset, ack.repeated) == (room, 1, False)
        for chat in (alice, bob):
            said = await next_of(chat, Message)
            assert said.sender is not None
            assert (said.sender.name, said.sender.client) == ("alice", alice.client)
            assert (said.offset, said.text, said.data) == (1, "hi", {"mood": ["good", 1.5, None]})
            assert said.key == ack.key


async def test_whoever_comes_in_is_told_what_was_said(shared: Server, room: str, codec: str) -> None:
    """In `joined`, before anything live."""
    async with aiochat.connect(shared.ws_url, name="bob", rooms=[room]) as bob:
        for text in ("one", "two"):
            await bob.publish(room, text)
        async with aiochat.connect(shared.ws_url, rooms=[room], codec=codec) as guest:
            joined = await next_of(guest, Joined)
            assert [entry.text for entry in joined.messages if isinstance(entry, Message)] == ["one", "two"]
            await bob.publish(room, "three")
            assert (await next_of(guest, Message)).text == "three"


async def test_history_comes_in_pages(shared: Server, room: str, codec: str) -> None:
    """Before an offset, after one, or the newest."""
    async with two(shared, room, codec) as (alice, _):
        for number in range(1, 8):
            await alice.publish(room, str(number))
        newest = await alice.history(room, limit=2)
        before = await alice.history(room, before=4, limit=2)
        after = await alice.history(room, after=4, epoch=newest.epoch)
        offsets = [[entry.offset for entry in page.messages] for page in (newest, before, after)]
        assert offsets == [[6, 7], [2, 3], [5, 6, 7]]
        assert [page.more for page in (newest, before, after)] == [True, True, False]


async def test_who_rooms_and_names(shared: Server, room: str, codec: str) -> None:
    """A taken name gets a number; a room's name comes back in the form the server made of it."""
    async with two(shared, room, codec) as (alice, bob):
        assert (await bob.rename(room, "alice")).name == "alice-2"
        members = await alice.who(room.upper())
        assert [member.name for member in members.members] == ["alice", "alice-2"]
        assert room in [info.room for info in (await alice.list_rooms()).rooms]
        assert alice.rooms == (room,)


async def test_a_direct_message_reaches_one_alone(shared: Server, room: str, codec: str) -> None:
    """By name in a room, or by client; nobody is an error with the field."""
    async with two(shared, room, codec) as (alice, bob):
        assert (await alice.direct("psst", name="bob", room=room)).connections == 1
        assert (await alice.direct(client=bob.client, data=[1])).connections == 1
        first, second = await next_of(bob, DirectMessage), await next_of(bob, DirectMessage)
        assert (first.text, first.room, second.data, second.room) == ("psst", room, [1], None)
        with pytest.raises(Reply) as reply:
            await alice.direct("psst", name="nobody", room=room)
        assert (reply.value.code, reply.value.field) == ("no_such_client", "name")


async def test_rooms_are_joined_and_left_under_way(shared: Server, room: str, codec: str) -> None:
    """With a name of one's own in each; what is said elsewhere does not come."""
    other = f"{room}-b"
    async with two(shared, room, codec) as (alice, bob):
        joined = await alice.join(other, "al")
        assert (joined.name, joined.offset, alice.rooms) == ("al", 0, (room, other))
        assert (await alice.join(f"{room}-c")).name == "alice"
        await alice.leave(room)
        await bob.publish(room, "unheard")
        await alice.publish(other, "heard")
        assert (await next_of(alice, Message)).text == "heard"
        with pytest.raises(Reply, match="join the room first"):
            await alice.publish(room, "from outside")


async def test_a_program_goes_on_where_it_was(shared: Server, room: str, codec: str) -> None:
    """It keeps the position it has got to, and joins from there after its own restart."""
    async with aiochat.connect(shared.ws_url, rooms=[room]) as bob:
        for number in range(1, 6):
            await bob.publish(room, str(number))
        async with aiochat.connect(shared.ws_url, codec=codec) as program:
            epoch = (await bob.history(room)).epoch
            await program.join(room, since=aiochat.messages.Position(epoch, 2))
            texts = [(await next_of(program, Message)).text for _ in range(3)]
            assert texts == ["3", "4", "5"]
            assert program.position(room) == aiochat.messages.Position(epoch, 5)


async def test_pages_come_one_after_the_other() -> None:
    """Seven hundred messages are three of them, at the rate that the server allows."""
    async with running(settings={"limits.messages_per_second": 1000}) as server:
        async with aiochat.connect(server.ws_url, rooms=["lobby"]) as bob:
            start = bob.position("lobby") or (await next_of(bob, Joined), bob.position("lobby"))[1]
            await asyncio.gather(*(bob.publish("lobby", str(number)) for number in range(700)))
            async with aiochat.connect(server.ws_url) as program:
                await program.join("lobby", since=start)
                offsets = [(await next_of(program, Message)).offset for _ in range(700)]
        assert offsets == list(range(1, 701))


async def test_presence_and_typing_are_events(codec: str) -> None:
    """Of who comes, and of who types."""
    async with running(settings={"presence.interval_ms": 20}) as server, two(server, "lobby", codec) as (alice, bob):
        came = await next_of(alice, Presence)
        await bob.typing("lobby")
        typing = await next_of(alice, TypingNow)
        assert {sender.name for sender in came.came} <= {"alice", "bob"}
        assert [sender.name for sender in typing.senders] == ["bob"]


async def test_a_text_client_is_in_the_same_room(shared: Server, room: str, codec: str) -> None:
    """Whoever comes with wscat."""
    async with (
        aiochat.connect(shared.ws_url, name="alice", rooms=[room], codec=codec) as alice,
        talking(f"{shared.ws_url}/{room}") as wscat,
    ):
        await wscat.say("anybody?")
        assert (await next_of(alice, Message)).text == "anybody?"
        assert await wscat.hear() == "anybody?"
        await alice.publish(room, "me")
        assert await wscat.hear() == "alice: me"


async def test_the_longest_message_goes_and_a_longer_one_is_refused_here(shared: Server, room: str, codec: str) -> None:
    """What exceeds `limits.message_bytes` never leaves, since the server would end the chat (1009)."""
    async with two(shared, room, codec) as (alice, bob):
        assert alice.limits is not None
        most = alice.limits.message_bytes
        await alice.publish(room, "x" * (most - 150))
        assert len((await next_of(bob, Message)).text or "") == most - 150
        with pytest.raises(Reply) as reply:
            await alice.publish(room, "x" * most)
        assert reply.value.code == "too_long"
        assert await alice.ping() < 10


async def test_publishing_faster_than_allowed_is_no_error() -> None:
    """It takes longer: the server's limit is kept to."""
    settings = {"limits.messages_per_second": 100, "limits.burst_messages": 10}
    async with running(settings=settings) as server, aiochat.connect(server.ws_url, rooms=["lobby"]) as chat:
        acks = await asyncio.gather(*(chat.publish("lobby", str(number)) for number in range(60)))
        assert [ack.offset for ack in acks] == list(range(1, 61))


async def test_a_bad_name_and_a_bad_room_are_replies(shared: Server, room: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(Reply) as reply:
        await aiochat.connect(shared.ws_url, name="a:b", rooms=[room]).open()
    assert (reply.value.code, reply.value.field) == ("bad_name", "name")
    async with aiochat.connect(shared.ws_url) as chat:
        with pytest.raises(Reply) as reply:
            await chat.join("!")
        assert (reply.value.code, reply.value.field) == ("bad_room", "room")


async def test_there_is_nothing_to_call_on_this_server(shared: Server) -> None:
    """Nor is there a token to refresh."""
    async with aiochat.connect(shared.ws_url) as chat:
        with pytest.raises(Reply, match="no such method"):
            await chat.call("time")
        with pytest.raises(Reply, match="takes no access tokens"):
            await chat.refresh("token")


async def test_a_wrong_path_is_no_chat(shared: Server) -> None:
    """The status is in the error."""
    with pytest.raises(ChatClosed, match="404"):
        await aiochat.connect(f"{shared.base_url}/nowhere").open()


def _examples() -> list[str]:
    """Those of the documentation, and that of the package's own."""
    own = re.search(r"\n(    import asyncio\n.*    asyncio\.run\(main\(\)\)\n)", aiochat.sdk.__doc__ or "", re.DOTALL)
    assert own is not None
    documented = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "sdk.md").read_text(), re.DOTALL)
    return [*documented, textwrap.dedent(own[1])]


@pytest.mark.parametrize("number", range(4))
async def test_the_examples_of_the_documentation_run(number: int, tmp_path: Path) -> None:
    """Each as it stands, against a server at the address that it names, until it has shown what it is for."""
    async with running(settings={"server.port": 0}) as server:
        program = tmp_path / "example.py"
        program.write_text(_examples()[number].replace("127.0.0.1:8080", f"127.0.0.1:{server.port}"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(program)),
            cwd=tmp_path,
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    assert output
