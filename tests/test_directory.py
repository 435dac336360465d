"""Names taken in each room: one holder each, and always a free one; on one node, and over all that share a Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiochat.cluster.members import Members
from aiochat.cluster.membership import Membership
from aiochat.config import Presence, load
from aiochat.directory import LocalDirectory
from aiochat.names import MAX_NAME_CHARACTERS, display_name, fold
from aiochat.roomlog.engines import make_log
from tests import redis_server
from tests.strategies import DISPLAY_NAMES


class Names(Protocol):
    """What both can do."""

    async def claim(self, room: str, name: str, client: str, user: str | None = None) -> str: ...
    async def release(self, room: str, name: str, client: str) -> None: ...
    async def holders(self, room: str, name: str) -> Sequence[str]: ...


class OneNode:
    """Those of a process of its own."""

    def __init__(self) -> None:
        self.directory = LocalDirectory()

    async def claim(self, room: str, name: str, client: str, user: str | None = None) -> str:
        return claim(self.directory, room, name, client, user)

    async def release(self, room: str, name: str, client: str) -> None:
        self.directory.release(room, name, client)

    async def holders(self, room: str, name: str) -> Sequence[str]:
        return self.directory.holders(room, name)


class ManyNodes:
    """Those in Redis: every claim comes from another node than the last."""

    def __init__(self, links: list[Any], presence: Presence) -> None:
        time = asyncio.get_running_loop().time
        self._members = [
            Members(link, LocalDirectory(), presence, time, _apply, lambda *_: None, lambda _: None) for link in links
        ]
        self._held: dict[tuple[str, str], tuple[Members, Membership]] = {}

    async def claim(self, room: str, name: str, client: str, user: str | None = None) -> str:
        called: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._members.reverse()
        self._held[room, client] = (
            self._members[0],
            self._members[0].enter(room, name, client, user, called.set_result),
        )
        return await called or ""

    async def release(self, room: str, name: str, client: str) -> None:
        members, membership = self._held.get((room, client), (None, None))
        if members is not None and membership is not None and fold(membership.name or "") == fold(name):
            members.leave(membership)

    async def holders(self, room: str, name: str) -> Sequence[str]:
        found: asyncio.Future[list[tuple[str, str]]] = asyncio.get_running_loop().create_future()
        self._members[0].steps.find(room, name, "", found.set_result)
        return [client for client, _ in await found]


def _apply(item: Callable[[], object]) -> None:
    item()


@pytest.fixture(params=["one node", "many nodes"])
async def names(request: pytest.FixtureRequest) -> AsyncIterator[Names]:
    """Each of them."""
    if request.param == "one node":
        yield OneNode()
        return
    config = load(flags={"store": {"url": redis_server.shared().new_url()}})
    logs = [make_log(config), make_log(config)]
    for log in logs:
        await log.open(lambda _: None)
    yield ManyNodes([log.link for log in logs], config.presence)
    for log in logs:
        await log.close()


def claim(directory: LocalDirectory, room: str, name: str, client: str, user: str | None = None) -> str:
    """The name that a client is given."""
    given: list[str] = []
    directory.claim(room, name, client, user, given.append)
    (called,) = given
    return called


async def test_a_name_is_held_per_room(names: Names) -> None:
    """Two rooms may each have an alice."""
    assert [await names.claim(room, "alice", id) for room, id in (("a", "c1"), ("b", "c2"))] == ["alice", "alice"]
    assert [list(await names.holders(room, "ALICE")) for room in "abc"] == [["c1"], ["c2"], []]


async def test_a_taken_name_is_numbered(names: Names) -> None:
    """With the first number that is free, also in the middle."""
    given = [await names.claim("a", name, f"c{number}") for number, name in enumerate(["bob", "BOB", "bob", "bob"])]
    assert given == ["bob", "BOB-2", "bob-3", "bob-4"]
    await names.release("a", "bob-3", "c2")
    assert await names.claim("a", "bob", "c9") == "bob-3"


async def test_who_holds_a_name_may_claim_it_again(names: Names) -> None:
    """In another case, too, and it stays one name."""
    assert [await names.claim("a", name, "c1") for name in ("bob", "Bob")] == ["bob", "Bob"]
    await names.release("a", "BOB", "c1")
    assert not await names.holders("a", "bob")


async def test_a_users_clients_share_a_name(names: Names) -> None:
    """Another user's do not, nor does who has none; it is free once the last of them has given it back."""
    assert [await names.claim("a", "bob", id, "b@x") for id in ("c1", "c2")] == ["bob", "bob"]
    assert [await names.claim("a", "bob", "c3", "other"), await names.claim("a", "bob", "c4")] == ["bob-2", "bob-3"]
    assert sorted(await names.holders("a", "bob")) == ["c1", "c2"]
    await names.release("a", "bob", "c1")
    assert await names.claim("a", "bob", "c5") == "bob-4"
    await names.release("a", "bob", "c2")
    assert await names.claim("a", "bob", "c6") == "bob"


async def test_only_who_holds_a_name_can_give_it_back(names: Names) -> None:
    """An answer that comes late takes nothing from who has the name by then."""
    await names.claim("a", "bob", "c1")
    for room, name in (("a", "bob"), ("a", "eve"), ("b", "bob")):
        await names.release(room, name, "c2")
    assert list(await names.holders("a", "bob")) == ["c1"]


async def test_the_hundredth_of_a_name_finds_one(names: Names) -> None:
    """Without trying ninety numbers first; long names are cut so that there is room for one."""
    for name in ("alice", "x" * MAX_NAME_CHARACTERS):
        given = [await names.claim("a", name, f"{name}{number}") for number in range(100)]
        assert len(set(given)) == 100
        assert max(map(len, given)) <= MAX_NAME_CHARACTERS
        assert given[1] == f"{name[: MAX_NAME_CHARACTERS - 2]}-2"
        assert given[17] == f"{name[: MAX_NAME_CHARACTERS - 3]}-18"


def test_nothing_is_kept_of_a_room_without_names() -> None:
    """Rooms come and go by the million."""
    directory = LocalDirectory()
    for room in map(str, range(100)):
        claim(directory, room, "bob", "c1")
        directory.release(room, "bob", "c1")
    assert not directory._rooms


@given(st.lists(DISPLAY_NAMES | st.just("x" * MAX_NAME_CHARACTERS), max_size=40))
def test_everybody_gets_a_name_of_its_own(wanted: list[str]) -> None:
    """That is allowed, begins as the one that was wanted, and is the only one of its kind in the room."""
    directory = LocalDirectory()
    given = [claim(directory, "a", name, f"c{number}") for number, name in enumerate(wanted)]
    assert len({fold(name) for name in given}) == len(wanted)
    for name, asked in zip(given, wanted, strict=True):
        assert display_name(name) == name
        assert name.rpartition("-")[0] in asked or name == asked


def test_the_thousandth_of_a_name_finds_one() -> None:
    """Without trying nine hundred numbers first."""
    directory = LocalDirectory()
    given = {claim(directory, "a", "alice", f"c{number}") for number in range(1000)}
    assert len(given) == 1000
