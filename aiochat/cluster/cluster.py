"""What a hub has to do with other nodes: its clients' steps go to Redis, and what others ask of it is done here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiochat.client import Client
from aiochat.cluster.lists import Lists
from aiochat.cluster.members import Members
from aiochat.cluster.membership import Membership
from aiochat.cluster.nodes import Nodes
from aiochat.cluster.places import Places
from aiochat.cluster.post import Post
from aiochat.errors import Close, Reply, StoreError, no_such_client
from aiochat.messages import Direct, DirectMessage, Renamed, Sender
from aiochat.names import GUEST
from aiochat.roomlog.contract import Link

if TYPE_CHECKING:
    from aiochat.hub import Hub

_LIFE_MS: Final = 24 * 3_600_000  # of the bans, until the log says how long it really is

Sent = Callable[[int | Reply], object]


class Cluster:
    """One for a hub on a shared log. All is called within turns."""

    def __init__(self, hub: "Hub", link: Link) -> None:
        self._hub = hub
        self._link = link
        loop = asyncio.get_running_loop()
        self.members = Members(link, hub.directory, hub.config.presence, loop.time, hub.later, self._tell, self._called)
        self.places = Places(link, loop.time)
        self.lists = Lists(hub, link, self.members.steps, self.members.fullest)
        handlers: dict[str, Callable[..., Any]] = {
            "direct": self._deliver,
            "replace": self._replace,
            "kick": self._kick,
            "ban": self._ban,
            "bans": self._read_bans,
            **self.lists.handlers,
        }
        self.post = self.lists.post = Post(link, loop.time, hub.later, handlers, self._read_bans)
        self.nodes = Nodes(link, self.members, loop.time, hub.later, self._registered_anew)
        self._memberships: dict[tuple[str, Client], Membership] = {}
        self._typing: dict[str, dict[str | None, Sender]] = {}
        self.check()

    def check(self) -> None:
        """About once a second."""
        self.nodes.check()
        self.members.check()
        self.places.check()
        self.post.check()

    def end(self) -> None:
        """The node stops: who was here has the grace to come back on another one."""
        self.nodes.end(self._hub.config.presence.grace_seconds)

    def _registered_anew(self) -> None:
        """Redis may not have had what is here; then it has lost the rooms, too, and nobody need have spoken since."""
        self.places.register_anew()
        self._link.look_again()
        self._read_bans()

    # Rooms.

    def enter(self, client: Client, room: str, name: str | None, then: Callable[[str | None], object]) -> None:
        """It is on its way into a room: `then` is told the name that it is given there."""
        self._memberships[room, client] = self.members.enter(room, name, client.id, client.user, then)

    def leave(self, client: Client, room: str, *, is_expected: bool = False) -> None:
        """It is out of the room, or has not come in after all."""
        membership = self._memberships.pop((room, client), None)
        if membership is None:
            return
        if is_expected:
            self.members.lose(membership, is_free=client.codec.is_text)
        else:
            self.members.leave(membership)

    def rename(self, client: Client, room: str, name: str, then: Callable[[str], object]) -> None:
        self.members.rename(self._memberships[room, client], name, then)

    def typing(self, room: str, sender: Sender) -> None:
        """Told to all nodes at the interval of presence."""
        if not self._typing:
            asyncio.get_running_loop().call_later(self._hub.config.presence.interval_ms / 1000, self._tell_typing)
        self._typing.setdefault(room, {})[sender.client] = sender

    def _tell_typing(self) -> None:
        typing, self._typing = self._typing, {}
        for room, senders in typing.items():
            self.members.typing(room, list(senders.values())[:20])

    def _tell(self, name: str, kind: str, sender: Sender, was: str | None) -> None:
        room = self._hub.rooms.get(name)
        if room is not None:
            self._hub.presence.told(room, kind, sender, was)

    def _called(self, membership: Membership) -> None:
        """Its name was taken by somebody else while this node was away, or its session."""
        if membership.has_moved:
            self._replace(membership.client)
            return
        hub, client = self._hub, self._hub.clients.get(membership.client)
        room = hub.rooms.get(membership.room)
        if client is None or room is None or client not in room.members or membership.name is None:
            return
        room.members[client] = membership.sender
        hub.answer(client, Renamed(room=room.name, name=membership.name))
        if client.codec.is_text:
            client.name = membership.name
        else:
            hub.greeter.give_session(client)

    # Sessions.

    def take_over(self, client: Client, then: Callable[[Mapping[str, str]], object]) -> None:
        """`client` goes on under an id from before: end its older connection elsewhere; the names it had there."""

        def taken(node: str | None) -> None:
            if node is None:
                then({})
            else:
                self.post.ask(node, ended, "replace", client.id)

        def ended(answers: list[Any] | Reply) -> None:
            then(next(filter(None, answers), {}) if isinstance(answers, list) else {})

        self.places.take(client.id, lambda node: self._hub.later(partial(taken, node)))
        self.places.add(client)

    def kick(self, id: str, then: Callable[[Reply | None], object]) -> None:
        """End a client's connection, wherever it is."""

        def ended(answers: list[Any] | Reply) -> None:
            if isinstance(answers, Reply):
                then(answers)
            else:
                then(None if any(answer is not None for answer in answers) else no_such_client("client"))

        self._ask_client(id, ended, "kick", id)

    def _replace(self, id: str) -> dict[str, str] | None:
        """For another node: the names that a client had; None if it is not here."""
        client = self._hub.clients.get(id)
        return None if client is None else self._hub.greeter.replace(client)

    def _kick(self, id: str) -> bool | None:
        client = self._hub.clients.get(id)
        if client is not None:
            self._hub.end(client, Close.KICKED, "kicked")
        return client is not None or None

    # Direct messages.

    def direct(self, message: DirectMessage, then: Sent, *, client: str | None = None, user: str | None = None) -> None:
        """`then` is told to how many connections it went, or `no_such_client`, or `unavailable`."""
        given = (message.room, _triple(message.sender), message.ts, message.text, message.data)
        if client is not None:
            answered = partial(self._sent, then, "client", [])
            self._ask_client(client, answered, "direct", client, None, *given)
        else:
            assert user is not None
            self.places.find_user(
                user, lambda nodes: self._hub.later(partial(self._ask_user, user, given, then, nodes))
            )

    def direct_as(self, command: Direct, message: DirectMessage, name: str | None, then: Sent) -> None:
        """The same to whom a command addresses; by `name`, in the message's room."""
        room = message.room
        if name is None or room is None:
            self.direct(message, then, client=command.client, user=command.user)
        elif name.startswith(GUEST):
            self._direct_called(message, room, None, name.removeprefix(GUEST), then)
        else:
            self._direct_called(message, room, name, "", then)

    def _direct_called(self, message: DirectMessage, room: str, name: str | None, id: str, then: Sent) -> None:

        def found(holders: Any) -> None:
            if isinstance(holders, StoreError):
                then(_unknown())
            elif len(holders) == 1:
                self.direct(message, then, client=holders[0][0])
            elif holders:
                then(Reply("ambiguous", f"several in {room} are called {name}: name one by client", field="name"))
            else:
                then(Reply("no_such_client", f"nobody in {room} is called {name or id}", field="name"))

        self.members.steps.find(room, name, id, found)

    def _ask_client(self, id: str, then: Callable[[list[Any] | Reply], object], kind: str, *given: Any) -> None:
        def found(node: str | StoreError | None) -> None:
            if isinstance(node, StoreError):
                self._hub.later(partial(then, _unknown()))
            elif node is None:
                self._hub.later(partial(then, []))
            else:
                self.post.ask(node, then, kind, *given)

        if id in self._hub.clients:
            then([self.post.handle(kind, *given)])
        else:
            self.places.find(id, found)

    def _ask_user(self, user: str, given: tuple[Any, ...], then: Sent, nodes: list[str] | StoreError) -> None:
        if isinstance(nodes, StoreError):
            nodes = []
        here = [self._deliver(None, user, *given)]
        others = [node for node in nodes if node != self._link.node]
        left, counts = len(others), here

        def answered(answers: list[Any] | Reply) -> None:
            nonlocal left
            left -= 1
            if isinstance(answers, list):
                counts.extend(answers)
            if not left:
                self._sent(then, "user", counts, answers if isinstance(answers, Reply) else [])

        if not others:
            self._sent(then, "user", counts, [])
        for node in others:
            self.post.ask(node, answered, "direct", None, user, *given)

    def _sent(self, then: Sent, field: str, counts: Sequence[int], answers: list[Any] | Reply) -> None:
        count = sum(counts) + (sum(answers) if isinstance(answers, list) else 0)
        if count:
            then(count)
        else:
            then(answers if isinstance(answers, Reply) else no_such_client(field))

    def _deliver(
        self,
        id: str | None,
        user: str | None,
        room: str | None,
        sender: list[Any],
        ts: int,
        text: str | None,
        data: Any,
    ) -> int:
        hub = self._hub
        if id is None:
            clients = [client for client in hub.clients.values() if client.user == user]
        else:
            clients = [hub.clients[id]] if id in hub.clients else []
        message = DirectMessage(sender=Sender(*sender), ts=ts, room=room, text=text, data=data)
        for client in clients:
            hub.answer(client, message)
        return len(clients)

    # Bans.

    def share_ban(self, key: str, value: bytes | None) -> None:
        """A ban is in force on all nodes at once."""
        self.post.tell_all("ban", self._link.node, key, value)

    def _ban(self, node: str, key: str, value: bytes | None) -> None:
        if node != self._link.node:
            self._hub.bans.apply(key, value)

    def _read_bans(self) -> None:
        """What was said to all may have been missed."""

        def read(replies: list[Any] | StoreError) -> None:
            if isinstance(replies, list):
                flat = replies[0]
                kept = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}
                self._hub.later(partial(self._take_bans, kept))

        self._link.ask([("HGETALL", f"{self._link.prefix}:kept")], read)

    def _take_bans(self, kept: Mapping[str, bytes]) -> None:
        lost = self._hub.bans.apply_all(kept)
        if lost:
            name = f"{self._link.prefix}:kept"
            again = [piece for pair in lost.items() for piece in pair]
            self._link.ask([("HSET", name, *again), ("PEXPIRE", name, _LIFE_MS, "NX")], lambda _: None)
            self.post.tell_all("bans")


def _triple(sender: Sender) -> tuple[str | None, str | None, str | None]:
    return sender.client, sender.name, sender.user


def _unknown() -> Reply:
    return Reply("unavailable", "the other nodes cannot be asked", retry_after_ms=1000)
