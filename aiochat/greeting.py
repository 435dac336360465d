"""The beginning of a program's session, and its going on after a break: `welcome`, `session`, `resume`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiochat import __version__
from aiochat.auth.access import valid_ms
from aiochat.auth.sessions import Claims, Sessions
from aiochat.client import Client
from aiochat.config import Config
from aiochat.errors import Close, Reply
from aiochat.joining import PAGE_ENTRIES, Coming, depart, enter
from aiochat.messages import Join, Left, Limits, Position, Resume, Resumed, Session, Welcome
from aiochat.monitoring.counts import Counts
from aiochat.names import room_name
from aiochat.roomlog import PAGE_BYTES

if TYPE_CHECKING:
    from aiochat.hub import Hub

PROTOCOL: Final = 1
FEATURES: Final = ("history", "resume", "keys", "presence", "typing", "direct")


class Greeter:
    """Greets, and gives each session a new token before half of its time has passed."""

    def __init__(self, hub: "Hub", secret: bytes) -> None:
        self._hub = hub
        self._config = hub.config
        self._sessions = Sessions(secret, hub.config.history.session_minutes)
        self._limits = _limits_of(hub.config)
        self._features = FEATURES if hub.config.security.mode == "anonymous" else (*FEATURES, "tokens")
        self.resumes = Counts(("resumed", "session_lost"))
        self._renewals: dict[Client, float] = {}  # when each is due; the first due first

    def greet(self, client: Client) -> None:
        """The first that a program is told."""
        welcome = Welcome(
            protocol=PROTOCOL,
            features=self._features,
            client=client.id,
            user=client.user,
            server=__version__,
            ping_interval_ms=int(self._config.keepalive.ping_interval_seconds * 1000),
            limits=self._limits,
            valid_ms=valid_ms(client.identity),
        )
        self._hub.answer(client, welcome)
        self.give_session(client)

    def give_session(self, client: Client) -> None:
        """A token to resume with, for the client as it is now."""
        called = ((room.name, room.members[client].name) for room in client.rooms)
        names = {room: name for room, name in called if name is not None and name != client.name}
        token = self._sessions.token(Claims(client.id, client.name, client.user, names))
        self._hub.answer(client, Session(token, int(self._sessions.seconds * 1000)))
        self._renewals.pop(client, None)
        self._renewals[client] = self._hub.now + self._sessions.seconds / 2

    def renew(self) -> None:
        """Give those a new token whose time has come."""
        while self._renewals:
            client, due = next(iter(self._renewals.items()))
            if due > self._hub.now:
                break
            self.give_session(client)

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self._renewals.pop(client, None)

    def resume(self, client: Client, command: Resume) -> None:
        """Make `client` the one that the token speaks of. Raises `Reply`."""
        try:
            self._resume(client, command)
        except Reply as reply:
            self.resumes.add(reply.code)
            raise
        self.resumes.add("resumed")

    def _resume(self, client: Client, command: Resume) -> None:
        hub = self._hub
        if not client.is_new:
            reason = "resume comes first, on a connection whose URL names neither room nor name"
            raise Reply("bad_message", reason, field="type")
        claims = self._sessions.read(command.token)
        if claims is None or claims.user != client.user:
            raise Reply("session_lost", "this session cannot be resumed: join the rooms anew", field="token")
        allowed = hub.config.limits.max_rooms_per_client
        if len(command.rooms or ()) > allowed:
            raise Reply("too_many_rooms", f"a client may be in {allowed} rooms at once", field="rooms")
        for room in client.rooms:  # of its access token, as the new client that it is no more
            depart(hub, client, room, is_expected=True)
        names = claims.names | self._replace(claims.client, client)
        del hub.clients[client.id]
        if hub.cluster is not None:
            hub.cluster.places.discard(client, is_gone=True)
        client.id, client.name = claims.client, claims.name
        hub.clients[client.id] = client
        client.waiting = True
        hub.answer(client, Resumed(id=command.id, client=client.id))
        rooms = (command.rooms or {}).items()
        if hub.cluster is None:
            _Round(hub, client, rooms, names).next_room()
        else:
            hub.cluster.take_over(
                client, lambda elsewhere: _Round(hub, client, rooms, {**names, **elsewhere}).next_room()
            )

    def bring_in(self, client: Client, room: str | None) -> None:
        """Let a new client into the rooms of its access token, after `room` if there is one."""
        rooms = dict.fromkeys(client.identity.rooms if room is None else (room, *client.identity.rooms))
        _Round(self._hub, client, rooms.items(), {}).next_room()

    def _replace(self, id: str, client: Client) -> dict[str, str]:
        """End the older connection of the session that is `client`'s now, if it lives; the names it had."""
        hub = self._hub
        old = hub.clients.get(id)
        if old is None or old is client:
            return {}
        return self.replace(old)

    def replace(self, old: Client) -> dict[str, str]:
        """End a connection whose session another one goes on with; the names it had."""
        hub = self._hub
        called = ((room.name, room.members[old].name) for room in old.rooms)
        names = {room: name for room, name in called if name is not None}
        for room in old.rooms:
            depart(hub, old, room, is_expected=True)
        del hub.clients[old.id]
        hub.cut_off(old)
        old.outbox.close(Close.REPLACED, "another connection took this session")
        return names


class _Round:
    """One client on its way into several rooms, one after the other: what it is given is 256 KiB in all.

    It comes back into those with a position, and is new in the others.
    """

    def __init__(
        self, hub: "Hub", client: Client, rooms: Iterable[tuple[str, Position | None]], names: dict[str, str]
    ) -> None:
        self._hub = hub
        self._client = client
        self._rooms = iter(rooms)
        self._names = names
        self._bytes_left = PAGE_BYTES

    def next_room(self) -> None:
        hub, client = self._hub, self._client
        raw, since = next(self._rooms, (None, None))
        if raw is None or client.is_cut_off:
            hub.greeter.give_session(client)
            hub.go_on(client)
            return
        try:
            room = room_name(raw)
            name = self._names.get(room, client.name)
            limit = 0 if since is None and self._bytes_left <= 0 else None
            coming = Coming(room, name, Join(room=room), since, limit, max_bytes=self._bytes_left, then=self._entered)
            enter(hub, client, coming)
        except Reply as reply:
            hub.answer(client, Left(room=raw, reason=reply.code))
            hub.later(self.next_room)

    def _entered(self, size: int) -> None:
        self._bytes_left -= size
        self._hub.later(self.next_room)


def _limits_of(config: Config) -> Limits:
    limits, history = config.limits, config.history
    return Limits(
        message_bytes=limits.max_message_bytes,
        rooms=limits.max_rooms_per_client,
        messages_per_second=limits.messages_per_second,
        burst_messages=limits.burst_messages,
        history_messages=PAGE_ENTRIES,
        key_ms=int(history.key_minutes * 60_000),
        session_ms=int(history.session_minutes * 60_000),
    )
