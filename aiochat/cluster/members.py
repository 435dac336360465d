"""The members of rooms as all nodes know them, in Redis: names, who is there, how many, who came and went.

What scripts publish on a room's channel is what each node tells its own members, at its own interval. While Redis is
away the node goes on with what it knows; it registers everybody anew once Redis is back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from aiochat.cluster.fullest import Fullest
from aiochat.cluster.membership import Membership, Place
from aiochat.cluster.steps import LIFE_MS, Steps, unpack, wanted
from aiochat.config import Presence
from aiochat.directory import Directory
from aiochat.errors import RefusedError, StoreError
from aiochat.messages import Sender
from aiochat.presence import MAX_ABSENT
from aiochat.roomlog.contract import Link

_TOUCH_SECONDS: Final = 6 * 3600.0
_ROOMS_AT_ONCE: Final = 1_000  # that are listed in one command
_REGISTERED_AT_ONCE: Final = 1_000  # 2.5 MiB of commands
_RECOUNT_SECONDS: Final = 1.0  # after a large room's count has changed; members.lua tells it at most twice in that

Tell = Callable[[str, str, Sender, str | None], object]


class Members:
    """`tell` is told what happens in the rooms, `called` whose name has become another one when it was registered anew,
    or who turned out to have moved.

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
        self.steps = Steps(link, settings, put_item, self._see)
        self.fullest = Fullest(link, self.steps, put_item, self._noted)
        self._places: dict[str, Place] = {}
        self._lost: dict[Membership, None] = {}  # the longest first
        self._stamps = 0

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
        self._link.ask([("SPUBLISH", self.steps.channel(room), msgspec.msgpack.encode(said))], lambda _: None)

    # What is due.

    def check(self) -> None:
        """About once a second."""
        now = self._time()
        while self._lost:
            membership = next(iter(self._lost))
            if (membership.deadline or 0) > now:
                break
            self.leave(membership)
        due: list[str] = []
        for room, place in list(self._places.items()):
            if place.waiting and now >= place.stands_by:
                self._go_on(place)
            if place.recount_at is not None and now >= place.recount_at:
                place.recount_at = None
                self.steps.ask(room, "count", (), partial(self._recounted, room))
            elif now >= place.touch_at:
                place.touch_at = now + _TOUCH_SECONDS
                self.steps.ask(room, "count", (), lambda _: None)
                self.fullest.changed(room)
                due.append(room)
        self._list_rooms(due)
        self.fullest.check()

    def _recounted(self, room: str, result: Any) -> None:
        if not isinstance(result, StoreError):
            self._tell(room, "moved", Sender(), None)

    def _noted(self, room: str) -> None:
        """It stands among the fullest as it is; until then, whoever sweeps this node has to look at it."""
        if room not in self._places:
            self._link.ask([("SREM", self.steps.rooms_of(self.node), room)], self._written)

    def sweep(self, room: str, node: str, then: Callable[[StoreError | None], object], cursor: str = "who 0") -> None:
        """Take those out of the room who were on a node that is no more."""

        def answered(result: Any) -> None:
            if isinstance(result, StoreError):
                then(result)
            elif result[2]:
                self.sweep(room, node, then, result[2].decode())
            else:
                self.fullest.changed(room)
                then(None)

        self.steps.ask(room, "sweep", (node, cursor), answered)

    def register_anew(self, node: str, then: Callable[[], object], *, is_known: bool) -> None:
        """All that is here, as that of `node`, as this one is called now; `is_known` if the others never missed it.

        `then` is called once all of it has been sent, unless it has to be done again before.
        """
        self.node = node
        self.is_unsure = False
        self._list_rooms(list(self._places))
        held = [membership for place in self._places.values() for membership in place.held.values()]
        # Those who are lost and were swept: the others have been told that they are gone.
        left = deque(membership for membership in held if is_known or membership.deadline is None)
        self._register_some(node, left, then, is_known=is_known)

    def _register_some(self, node: str, left: deque[Membership], then: Callable[[], object], *, is_known: bool) -> None:
        """The next of them, and the ones after these when Redis has answered."""
        if node != self.node:
            return
        if not left:
            then()
            return
        for _ in range(min(len(left), _REGISTERED_AT_ONCE)):
            membership = left.popleft()
            if self._holds(membership):
                self._register(membership, is_known=is_known)
        go_on = partial(self._register_some, node, left, then, is_known=is_known)
        self._link.ask([("PING",)], lambda _: self._put_item(go_on))

    def _register(self, membership: Membership, *, is_known: bool) -> None:
        membership.stamp = self._stamp()
        self._enter(membership, partial(self._is_called, membership, membership.name), is_known=is_known)
        if membership.deadline is not None:
            lost = (membership.client, membership.stamp, int(membership.is_free))
            self._send(membership.room, "lose", *lost)

    def _holds(self, membership: Membership) -> bool:
        place = self._places.get(membership.room)
        return place is not None and place.held.get(membership.client) is membership

    def _stamp(self) -> str:
        self._stamps += 1
        return f"{self.node}.{self._stamps:x}"

    def _is_called(self, membership: Membership, before: str | None, name: str | None) -> None:
        if name != before:
            self._called(membership)

    # To Redis.

    def _begin(self, room: str) -> Place:
        place = self._places[room] = Place(self._time(), _TOUCH_SECONDS)
        self._link.listen(self.steps.channel(room), partial(self._heard, room), partial(self._stands, room))
        self._list_rooms([room])
        return place

    def _list_rooms(self, rooms: Sequence[str]) -> None:
        """There may be members of this node in them: who sweeps it is to look there."""
        key = self.steps.rooms_of(self.node)
        for first in range(0, len(rooms), _ROOMS_AT_ONCE):
            some = rooms[first : first + _ROOMS_AT_ONCE]
            self._link.ask([("SADD", key, *some), ("PEXPIRE", key, LIFE_MS)], self._written)

    def _end(self, room: str, place: Place) -> None:
        self._go_on(place)
        del self._places[room]
        self._link.unlisten(self.steps.channel(room))

    def _do(self, room: str, step: Callable[[], None]) -> None:
        place = self._places.get(room)
        if place is None or place.stands or (self._time() >= place.stands_by and not place.waiting):
            step()
        else:
            place.waiting.append(step)

    def _go_on(self, place: Place) -> None:
        waiting, place.waiting = place.waiting, []
        for step in waiting:
            step()

    def _enter(self, membership: Membership, then: Callable[[str | None], object], *, is_known: bool = False) -> None:
        who = (membership.client, self.node, membership.stamp, membership.user or "", int(is_known), membership.since)
        answered = partial(self._entered, membership, then)
        self.fullest.changed(membership.room)
        self.steps.ask(membership.room, "enter", (*who, *wanted(membership.name)), answered)

    def _entered(self, membership: Membership, then: Callable[[str | None], object], result: Any) -> None:
        self._written(result)
        is_told = not isinstance(result, StoreError)
        if is_told and len(result) < 3:
            self._move(membership)
            return
        if is_told:
            membership.since = membership.since or result[1].decode()
        given = result[2].decode() if is_told else None
        self._take(membership, membership.name, given)
        then(membership.name)

    def _move(self, membership: Membership) -> None:
        if self._holds(membership):
            membership.has_moved = True
            self._called(membership)
            self.leave(membership)

    def _rename(self, membership: Membership, name: str, then: Callable[[str], object]) -> None:
        def answered(result: Any) -> None:
            self._written(result)
            self.is_unsure = self.is_unsure or (isinstance(result, list) and len(result) < 3)
            given = None if isinstance(result, StoreError) or len(result) < 3 else result[2].decode()
            self._take(membership, name, given)
            then(membership.name or name)

        self.steps.ask(membership.room, "rename", (membership.client, membership.stamp, *wanted(name)), answered)

    def _take(self, membership: Membership, wanted: str | None, given: str | None) -> None:
        """Note the name that Redis has given it; or else give it one that is free here, until Redis is back."""
        name = wanted if given is None else given or None
        if not self._holds(membership) or membership.is_free:
            membership.name = name
            return
        self._release(membership)
        membership.name = name
        if name is not None:
            known: list[str] = []
            self._names.claim(membership.room, name, membership.client, membership.user, known.append)
            if given is None:
                membership.name = known[0]

    def _release(self, membership: Membership) -> None:
        if membership.name is not None:
            self._names.release(membership.room, membership.name, membership.client)

    def _write(self, room: str, step: str, *arguments: str | int) -> None:
        self._do(room, partial(self._send, room, step, *arguments))

    def _send(self, room: str, step: str, *arguments: str | int) -> None:
        self.fullest.changed(room)
        self.steps.ask(room, step, arguments, self._written)

    def _written(self, result: Any) -> None:
        """Whether it was is unsure where it was not answered; what is refused would be so again."""
        if isinstance(result, StoreError) and not isinstance(result, RefusedError):
            self.is_unsure = True

    # What comes of it, on every node.

    def _stands(self, room: str) -> None:
        place = self._places.get(room)
        if place is None:
            return
        if place.stands:  # anew: something may have been missed
            place.recount_at = self._time()
            place.as_of = min(place.as_of, 1)  # Redis may be another one, whose clock is behind
        place.stands = True
        self._go_on(place)

    def _heard(self, room: str, payload: bytes) -> None:
        self._put_item(partial(self._hear, room, payload))

    def _hear(self, room: str, payload: bytes) -> None:
        kind, count, as_of, *told = unpack(payload)
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
