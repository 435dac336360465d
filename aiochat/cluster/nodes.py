"""Which nodes there are: each says every few seconds that it lives, and sweeps up what a silent one has left."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog

from aiochat.cluster.members import Members
from aiochat.cluster.steps import script
from aiochat.errors import StoreError
from aiochat.roomlog.contract import Link

_BEAT_SECONDS: Final = 3.0
_LEASE_MS: Final = (
    15_000  # silent for longer, and its members are swept: 18 s after its end, and a moment for the sweep
)
_LIFE_MS: Final = 24 * 3_600_000
_OWN_MARK_MS: Final = 60_000  # of what this node was before; nobody else asks for it
_RENEW_SECONDS: Final = 60.0  # at most between two times that all is registered anew, while it does not help
_SWEEP_MS: Final = 10_000  # without progress, and another node sweeps
_ROOMS_AT_ONCE: Final = 50
_SLOT: Final = "{.nodes}"  # one for what a script needs of all nodes; no room has such a name

_logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class Nodes:
    """Our lease. Whenever Redis may not have what is here, the node becomes another one, and what it was is swept.

    `renewed` is called when it is to be registered anew, also what is not in rooms.
    """

    def __init__(
        self,
        link: Link,
        members: Members,
        time: Callable[[], float],
        put_item: Callable[[Callable[[], object]], None],
        renewed: Callable[[], object],
    ) -> None:
        self._link = link
        self._members = members
        self._time = time
        self._put_item = put_item
        self._renewed = renewed
        self._script = link.load(script("nodes"))
        self._next_beat = 0.0
        self._is_beating = False
        self._has_beaten = False
        self._generation = 0
        self._run: str | None = None  # what Redis calls itself since it was started
        self._renew_seconds = _BEAT_SECONDS
        self._next_renewal = 0.0

    def check(self) -> None:
        """About once a second."""
        if self._is_beating or self._time() < self._next_beat:
            return
        self._next_beat = self._time() + _BEAT_SECONDS
        self._is_beating = True
        self._beat()

    def end(self, seconds: float) -> None:
        """The node stops: what it leaves is swept after so many seconds."""
        self._is_beating = True
        ends = [("EVALSHA", self._script, 2, *self._keys(), self._members.node, _LEASE_MS, _LIFE_MS)]
        back = f"{int(seconds * 1000) - _LEASE_MS}"
        self._link.ask([*ends, ("ZINCRBY", self._nodes, back, self._members.node)], lambda _: None)

    @property
    def _nodes(self) -> str:
        return f"{self._link.prefix}:{_SLOT}:alive"

    def _keys(self) -> tuple[str, str]:
        return self._nodes, self._mark(self._members.node)

    def _mark(self, node: str) -> str:
        return f"{self._link.prefix}:{_SLOT}:swept:{node}"

    def _beat(self) -> None:
        call = ("EVALSHA", self._script, 2, *self._keys(), self._members.node, _LEASE_MS, _LIFE_MS)
        self._link.ask([call, ("INFO", "server")], lambda replies: self._put_item(partial(self._beaten, replies)))

    def _beaten(self, replies: list[Any] | StoreError) -> None:
        self._is_beating = False
        if isinstance(replies, StoreError):
            return
        is_known, is_swept, silent = replies[0]
        if self._is_another(replies[1]) or (self._has_beaten and not is_known and not is_swept):
            self._members.is_unsure = True
        self._has_beaten = True
        for node in silent:
            self._sweep(node.decode())
        if (self._members.is_unsure or is_swept) and self._time() >= self._next_renewal:
            self._wait_longer()
            self._renew(is_known=not is_swept)

    def _is_another(self, info: bytes) -> bool:
        """Whether Redis was started since, or it is another one: it may have an older state."""
        said = re.search(rb"run_id:(\w+)", info)
        before, self._run = self._run, said and said[1].decode()
        return before not in {None, self._run}

    def _wait_longer(self) -> None:
        now = self._time()
        is_again = self._next_renewal and now < self._next_renewal + _RENEW_SECONDS
        self._renew_seconds = min(2 * self._renew_seconds, _RENEW_SECONDS) if is_again else _BEAT_SECONDS
        self._next_renewal = now + self._renew_seconds

    def _renew(self, *, is_known: bool) -> None:
        before = self._members.node
        self._generation += 1
        self._has_beaten = False
        _logger.warning("node_registered_anew", node=before, swept=not is_known)
        swept = partial(self._sweep, before) if is_known else _nothing  # those who left while Redis was away
        self._members.register_anew(f"{self._link.node}.{self._generation}", swept, is_known=is_known)
        self._renewed()
        self._is_beating = True
        self._beat()

    # Another one's end.

    def _sweep(self, node: str) -> None:
        mark = ("SET", f"{self._link.prefix}:sweeps:{node}", self._link.node, "NX", "PX", _SWEEP_MS)

        def begun(replies: list[Any] | StoreError) -> None:
            if isinstance(replies, list) and replies[0] is not None:
                if not node.startswith(self._link.node):
                    _logger.warning("node_lost", node=node)
                self._sweep_on(node)

        self._link.ask([mark], begun)

    def _sweep_on(self, node: str) -> None:
        commands: list[tuple[str | bytes | int, ...]] = [
            ("SET", self._mark(node), 1, "PX", _OWN_MARK_MS if node.startswith(self._link.node) else _LIFE_MS),
            ("SRANDMEMBER", self._members.steps.rooms_of(node), _ROOMS_AT_ONCE),
            ("PEXPIRE", f"{self._link.prefix}:sweeps:{node}", _SWEEP_MS),
        ]

        def found(replies: list[Any] | StoreError) -> None:
            if isinstance(replies, StoreError):
                return  # whoever beats next begins again
            rooms = [room.decode() for room in replies[1]]
            if rooms:
                self._sweep_rooms(node, rooms)
            else:
                self._link.ask([("ZREM", self._nodes, node)], lambda _: None)

        self._link.ask(commands, lambda replies: self._put_item(partial(found, replies)))

    def _sweep_rooms(self, node: str, rooms: Sequence[str]) -> None:
        left = set(rooms)

        def swept(room: str, error: StoreError | None) -> None:
            if error is not None:
                return
            left.discard(room)
            if not left:
                self._link.ask([("SREM", self._members.steps.rooms_of(node), *rooms)], lambda _: self._sweep_on(node))

        for room in rooms:
            self._members.sweep(room, node, partial(swept, room))


def _nothing() -> None:
    """Others have swept it."""
