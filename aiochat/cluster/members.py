"""The members of rooms as all nodes know them, in Redis: names, who is there, how many, who came and went.

What scripts publish on a room's channel is what each node tells its own members, at its own interval. While Redis is
away the node goes on with what it knows; it registers everybody anew once Redis is back.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from aiochat.config import Presence
from aiochat.directory import Directory
from aiochat.errors import StoreError
from aiochat.messages import Sender
from aiochat.names import MAX_NAME_CHARACTERS, fold
from aiochat.presence import MAX_ABSENT
from aiochat.roomlog.contract import Link

_LIFE_MS: Final = 24 * 3_600_000
_TOUCH_SECONDS: Final = 6 * 3600.0
_STAND_SECONDS: Final = 1.0  # for a room's channel, so that nobody who comes misses who comes next
_RECOUNT_SECONDS: Final = 1.0  # after a large room's count has changed; members.lua tells it at most twice in that
_AT_ONCE: Final = 500  # rooms of which something is told in one check
_SUFFIXES: Final = (2, 3, 7)  # characters: -2, -10, -100000

Command = tuple[str | bytes | int, ...]
Then = Callable[[Any], object]
Tell = Callable[[str, str, Sender, str | None], object]

_unpack: Final = msgspec.msgpack.Decoder().decode


class Membership:
    """Of a client in a room. `stamp` tells it from an earlier or later one of the same client."""

    __slots__ = ("client", "deadline", "is_free", "name", "room", "stamp", "user")

    def __init__(self, room: str, name: str | None, client: str, user: str | None, stamp: str) -> None:
        self.room = room
        self.name = name
        self.client = client
        self.user = user
        self.stamp = stamp
        self.deadline: float | None = None  # until when who was lost is expected back
        self.is_free = False  # its name is, already

    @property
    def sender(self) -> Sender:
        return Sender(self.client, self.name, self.user)


class _Place:
    """A room in which this node has members, or somebody on the way."""

    __slots__ = ("as_of", "count", "held", "recount_at", "stands", "stands_by", "touch_at", "waiting")

    def __init__(self, now: float) -> None:
        self.held: dict[str, Membership] = {}  # by client
        self.count = 0
        self.as_of = 0
        self.stands = False
        self.stands_by = now + _STAND_SECONDS
        self.touch_at = now + _TOUCH_SECONDS
        self.recount_at: float | None = None
        self.waiting: list[Callable[[], None]] = []


class Members:
    """`tell` is told what happens in the rooms, `called` whose name has become another one when it was registered anew.

    Answers and news come through `put_item`. `names` are those that this node has given, for when Redis is away.
    """

    def __init__(
        self,
        link: Link,
        names: Directory,
        settings: Presence,
        time: Callable[[], float],
        put_item: Callable[[Callable[[], object]], None],
        tell: Tell,
        called: Callable[[Membership], object],
    ) -> None:
        self.node = link.node
        self.is_unsure = False  # Redis may not have what is here
        self._link = link
        self._names = names
        self._settings = settings
        self._time = time
        self._put_item = put_item
        self._tell = tell
        self._called = called
        self._script = link.load(_text("members"))
        self._fullest_script = link.load(_text("fullest"))
        self._places: dict[str, _Place] = {}
        self._lost: dict[Membership, None] = {}  # the longest first
        self._changed: dict[str, None] = {}  # rooms whose place among the fullest is to be noted
        self._stamps = 0

    @property
    def fullest(self) -> str:
        """The key of all rooms, by their number of members."""
        return f"{self._link.prefix}:fullest"

    def members_of(self, room: str) -> str:
        """The key of a room's members."""
        return f"{self._name(room)}:who"

    def count(self, room: str, here: int) -> int:
        """How many are in a room in which so many are here."""
        place = self._places.get(room)
        return here if place is None or not place.as_of else max(place.count, here)

    # What this node's clients do.

    def enter(
        self, room: str, name: str | None, client: str, user: str | None, then: Callable[[str | None], object]
    ) -> Membership:
        """A client comes in; `then` is told what it is called there, which is something else where `name` is taken."""
        place = self._places.get(room) or self._begin(room)
        membership = Membership(room, name, client, user, self._stamp())
        earlier = place.held.get(client)
        if earlier is not None:  # which ends by this
            self._lost.pop(earlier, None)
        place.held[client] = membership
        self._do(room, partial(self._enter, membership, then))
        return membership

    def rename(self, membership: Membership, name: str, then: Callable[[str], object]) -> None:
        """The same for another name."""
        self._do(membership.room, partial(self._rename, membership, name, then))

    def lose(self, membership: Membership, *, is_free: bool) -> None:
        """Its connection was lost, and it is expected back; its name is free meanwhile, or not."""
        if not self._settings.grace_seconds or membership.sender == Sender(membership.client):
            self.leave(membership)
            return
        if len(self._lost) >= MAX_ABSENT:
            self.leave(next(iter(self._lost)))
        membership.deadline = self._time() + self._settings.grace_seconds
        membership.is_free = is_free
        self._lost[membership] = None
        if is_free:
            self._release(membership)
        self._write(membership.room, "lose", membership.client, membership.stamp, int(is_free))

    def leave(self, membership: Membership) -> None:
        """It is gone for good, or has not come in after all."""
        self._lost.pop(membership, None)
        place = self._places.get(membership.room)
        if place is None or place.held.get(membership.client) is not membership:
            return
        del place.held[membership.client]
        self._release(membership)
        self._write(membership.room, "leave", membership.client, membership.stamp)
        if not place.held:
            self._end(membership.room, place)

    def typing(self, room: str, senders: Sequence[Sender]) -> None:
        """These type."""
        said = ["typing", 0, "0", [[sender.client, sender.name, sender.user] for sender in senders]]
        self._link.ask([("SPUBLISH", self._channel(room), msgspec.msgpack.encode(said))], lambda _: None)

    # What is asked about any room.

    def listed(self, room: str, limit: int, then: Callable[[tuple[int, list[Sender]] | StoreError], object]) -> None:
        """How many are there, and at most so many of them."""

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
                return
            (flat,) = result[2:]
            then((result[0], [_sender(flat[place].decode(), flat[place + 1]) for place in range(0, len(flat), 2)]))

        self._ask(room, "list", (limit,), answered)

    def find(self, room: str, name: str | None, client: str, then: Callable[[Any], object]) -> None:
        """Clients and nodes of those who are called so in the room, or of this client if it is there."""
        folded = "" if name is None else fold(name)

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
                return
            found = [each.decode() for each in result[2]]
            then(list(zip(found[::2], found[1::2], strict=True)))

        self._ask(room, "find", (folded, client), answered)

    def counted(self, room: str, then: Callable[[int | StoreError], object]) -> None:
        self._ask(room, "count", (), lambda result: then(result if isinstance(result, StoreError) else result[0]))

    # What is due.

    def check(self) -> None:
        """About once a second."""
        now = self._time()
        while self._lost:
            membership = next(iter(self._lost))
            if (membership.deadline or 0) > now:
                break
            self.leave(membership)
        for room, place in list(self._places.items()):
            if place.waiting and now >= place.stands_by:
                self._go_on(place)
            if (place.recount_at is not None and now >= place.recount_at) or now >= place.touch_at:
                place.recount_at, place.touch_at = None, now + _TOUCH_SECONDS
                self._ask(room, "count", (), lambda _: None)
        changed, self._changed = self._changed, {}
        for number, room in enumerate(changed):
            if number >= _AT_ONCE:
                self._changed[room] = None
            else:
                self._link.ask([self._note(room)], partial(self._noted, room))

    def _noted(self, room: str, result: list[Any] | StoreError) -> None:
        if isinstance(result, StoreError):
            self._changed[room] = None

    def sweep(self, room: str, node: str, then: Callable[[StoreError | None], object], cursor: str = "who 0") -> None:
        """Take those out of the room who were on a node that is no more."""

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
            elif result[2]:
                self.sweep(room, node, then, result[2].decode())
            else:
                self._changed[room] = None
                then(None)

        self._ask(room, "sweep", (node, cursor), answered)

    def register_anew(self, node: str, *, is_known: bool) -> None:
        """All that is here, as that of `node`, as this one is called now; `is_known` if the others never missed it."""
        self.node = node
        self.is_unsure = False
        for room, place in self._places.items():
            self._link.ask([("SADD", self.rooms_of(node), room)], lambda _: None)
            self._touch_rooms()
            for membership in list(place.held.values()):
                membership.stamp = self._stamp()
                self._enter(membership, partial(self._is_called, membership, membership.name), is_known=is_known)
                if membership.deadline is not None:
                    lost = (membership.client, membership.stamp, int(membership.is_free))
                    self._send(room, "lose", *lost)

    def rooms_of(self, node: str) -> str:
        """The key of the rooms in which a node has members."""
        return f"{self._link.prefix}:node:{node}:rooms"

    def _stamp(self) -> str:
        self._stamps += 1
        return f"{self.node}.{self._stamps:x}"

    def _is_called(self, membership: Membership, before: str | None, name: str | None) -> None:
        if name != before:
            self._called(membership)

    # To Redis.

    def _begin(self, room: str) -> _Place:
        place = self._places[room] = _Place(self._time())
        self._link.listen(self._channel(room), partial(self._heard, room), partial(self._stands, room))
        self._link.ask([("SADD", self.rooms_of(self.node), room)], self._written)
        self._touch_rooms()
        return place

    def _touch_rooms(self) -> None:
        self._link.ask([("PEXPIRE", self.rooms_of(self.node), _LIFE_MS)], lambda _: None)

    def _end(self, room: str, place: _Place) -> None:
        self._go_on(place)
        del self._places[room]
        self._link.unlisten(self._channel(room))
        self._link.ask([("SREM", self.rooms_of(self.node), room)], self._written)

    def _do(self, room: str, step: Callable[[], None]) -> None:
        place = self._places.get(room)
        if place is None or place.stands or (self._time() >= place.stands_by and not place.waiting):
            step()
        else:
            place.waiting.append(step)

    def _go_on(self, place: _Place) -> None:
        waiting, place.waiting = place.waiting, []
        for step in waiting:
            step()

    def _enter(self, membership: Membership, then: Callable[[str | None], object], *, is_known: bool = False) -> None:
        who = (membership.client, self.node, membership.stamp, membership.user or "", int(is_known))
        answered = partial(self._entered, membership, then)
        self._changed[membership.room] = None
        self._ask(membership.room, "enter", (*who, *_wanted(membership.name)), answered)

    def _entered(self, membership: Membership, then: Callable[[str | None], object], result: Any) -> None:
        failed = isinstance(result, StoreError)
        name = membership.name if failed else result[2].decode() or None
        self.is_unsure = self.is_unsure or failed
        self._take(membership, name)
        then(membership.name)

    def _rename(self, membership: Membership, name: str, then: Callable[[str], object]) -> None:
        def answered(result: Any) -> None:
            failed = isinstance(result, StoreError)
            self.is_unsure = self.is_unsure or failed
            given = name if failed or len(result) < 3 else result[2].decode()
            self._release(membership)
            self._take(membership, given)
            then(membership.name or given)

        self._ask(membership.room, "rename", (membership.client, membership.stamp, *_wanted(name)), answered)

    def _take(self, membership: Membership, name: str | None) -> None:
        """Note the name that it has; where Redis did not say so, one that is free here."""
        place = self._places.get(membership.room)
        membership.name = name
        is_held = place is not None and place.held.get(membership.client) is membership
        if name is not None and is_held and not membership.is_free:
            given: list[str] = []
            self._names.claim(membership.room, name, membership.client, membership.user, given.append)
            membership.name = given[0]

    def _release(self, membership: Membership) -> None:
        if membership.name is not None:
            self._names.release(membership.room, membership.name, membership.client)

    def _write(self, room: str, step: str, *arguments: str | int) -> None:
        self._do(room, partial(self._send, room, step, *arguments))

    def _send(self, room: str, step: str, *arguments: str | int) -> None:
        self._changed[room] = None
        self._ask(room, step, arguments, self._written)

    def _written(self, result: Any) -> None:
        if isinstance(result, StoreError):
            self.is_unsure = True

    def _ask(self, room: str, step: str, arguments: Sequence[str | int], then: Then) -> None:
        name = self._name(room)
        keys = tuple(f"{name}:{kind}" for kind in ("who", "away", "names", "persons", "counted"))
        call: Command = ("EVALSHA", self._script, len(keys), *keys, step, self._channel(room), _LIFE_MS)
        command = (*call, self._settings.list_up_to, *arguments)
        self._link.ask([command], lambda replies: self._put_item(partial(self._answered, room, then, replies)))

    def _answered(self, room: str, then: Then, replies: list[Any] | StoreError) -> None:
        if isinstance(replies, StoreError):
            then(replies)
            return
        self._see(room, replies[0][0], int(replies[0][1]))
        then(replies[0])

    def _note(self, room: str) -> Command:
        return ("EVALSHA", self._fullest_script, 2, self.members_of(room), self.fullest, room, _LIFE_MS)

    def _name(self, room: str) -> str:
        return f"{self._link.prefix}:{{{room}}}"

    def _channel(self, room: str) -> str:
        return self._link.channel(f"{self._name(room)}:who")

    # What comes of it, on every node.

    def _stands(self, room: str) -> None:
        place = self._places.get(room)
        if place is None:
            return
        if place.stands:  # anew: something may have been missed
            place.recount_at = self._time()
        place.stands = True
        self._go_on(place)

    def _heard(self, room: str, payload: bytes) -> None:
        self._put_item(partial(self._hear, room, payload))

    def _hear(self, room: str, payload: bytes) -> None:
        kind, count, as_of, *told = _unpack(payload)
        if kind == "typing":
            for client, name, user in told[0]:
                self._tell(room, kind, Sender(client, name, user), None)
            return
        self._see(room, count, int(as_of))
        place = self._places.get(room)
        if kind == "counted" and count > self._settings.list_up_to and place is not None:
            place.recount_at = place.recount_at or self._time() + _RECOUNT_SECONDS
            kind = "moved"
        if told:
            client, name, user, was = told
            self._tell(room, kind, Sender(client, name or None, user or None), was or None)
        elif kind == "moved":
            self._tell(room, kind, Sender(), None)

    def _see(self, room: str, count: int, as_of: int) -> None:
        place = self._places.get(room)
        if place is not None and as_of > place.as_of:
            place.count, place.as_of = count, as_of


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.lua").read_text(encoding="ascii")


def _wanted(name: str | None) -> tuple[str | int, ...]:
    """As members.lua takes it: also cut, so that there is room for a number."""
    if name is None:
        return ("",) * 8 + (0,)
    forms = (name, *(name[: MAX_NAME_CHARACTERS - length] for length in _SUFFIXES))
    return (*(each for form in forms for each in (form, fold(form))), random.getrandbits(31))


def _sender(client: str, packed: bytes) -> Sender:
    _, _, name, _, user, _ = _unpack(packed)
    return Sender(client, name or None, user or None)
