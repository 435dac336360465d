"""How clients and servers talk besides chat: coming in, acknowledgements, refusals; one for each kind of server.

Which one it is shows the answer to the handshake: what chose the subprotocol aiochat.v1.json is aiochat.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from aiochat.loadtest.meter import lines
from aiochat.loadtest.meter.order import Order
from aiochat.loadtest.meter.speech import Event, Json, Marked, Speech, events, page

if TYPE_CHECKING:
    from aiochat.loadtest.meter.clients import Client

SUBPROTOCOL: Final = "aiochat.v1.json"
LONGEST_COMPLAINT: Final = 500  # bytes
_ACK: Final = b'{"type":"ack"'
_ACK_ID: Final = re.compile(rb'"id":"([0-9a-f]{8})"')
_OF_NO_INTEREST: Final = (b'{"type":"presence"', b'{"type":"typing"')
_COMPLAINTS: Final = (b"! ", b'{"type":"error"')


class Dialect(Protocol):
    """What depends on the server."""

    @property
    def speech(self) -> Speech: ...

    has_acks: bool

    def opened(self, client: "Client") -> None:
        """The connection is there."""
        ...

    def told(self, client: "Client", payload: bytes) -> None:
        """It said something that is not chat alone."""
        ...


class Complaints:
    """Lines beginning with `! `, and `error` events: the server refused something."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def take(self, line: bytes) -> None:
        if line.startswith(_COMPLAINTS):
            self.add(line[:LONGEST_COMPLAINT].decode(errors="replace"))

    def add(self, text: str) -> None:
        self.first = self.first or text
        self.count += 1


class Plain:
    """Lines: of aiochat as text, and of servers that send everyone what one has sent. The URL says which room."""

    speech: Final = Marked()
    has_acks = False

    def opened(self, client: "Client") -> None:
        client.comes_in(client.stream.end)

    def told(self, client: "Client", payload: bytes) -> None:
        for line in payload.split(b"\n"):
            client.complaints.take(line)


class SocketIo:
    """Engine.IO's and Socket.IO's framing (their protocols 4 and 5): a digit each before what is said."""

    speech: Final = Marked()
    has_acks = False
    _answers: Final[Mapping[bytes, bytes]] = {b"0": b"40", b"2": b"3"}  # open -> connect, ping -> pong

    def opened(self, client: "Client") -> None:
        """The server speaks first."""

    def told(self, client: "Client", payload: bytes) -> None:
        if payload.startswith(b"40"):
            client.comes_in(client.stream.end)
        elif payload.startswith(b"44"):
            client.complaints.take(b"! " + payload)
        elif (answer := self._answers.get(payload[:1])) is not None:
            client.write(lines.client_frame(lines.TEXT, answer))


class Aiochat:
    """Events with offsets: acks are matched, sessions resumed."""

    speech: Final = Json()
    has_acks = True

    def opened(self, client: "Client") -> None:
        if client.is_resuming:
            rooms = {client.room: {"epoch": client.epoch, "offset": client.here() - 1}}
            client.say({"type": "resume", "token": client.token, "rooms": rooms})

    def told(self, client: "Client", payload: bytes) -> None:
        if payload.startswith(_ACK) and client.sender is not None:
            ids = _ACK_ID.findall(payload)
            if len(ids) == payload.count(b"\n") + 1:
                client.sender.acknowledged([int(id, 16) for id in ids])
                return
        if payload.startswith(_OF_NO_INTEREST) and b"\n" not in payload:
            return
        for event in events(payload):
            if event.type in _HANDLERS:
                _HANDLERS[event.type](client, event)


def join(client: "Client", **more: object) -> None:
    named = {"name": client.name} if client.name else {}
    client.say({"type": "join", "room": client.room, **named, **more})


def _message(client: "Client", event: Event) -> None:
    client.take(page([event]))


def _session(client: "Client", event: Event) -> None:
    if not client.is_resuming:  # until then it is that of the provisional client
        client.token = event.resume


def _resumed(client: "Client", event: Event) -> None:
    client.is_resuming = False


def _joined(client: "Client", event: Event) -> None:
    if event.recovered is None:
        client.epoch = event.epoch
        client.comes_in(event.offset + 1)
        return
    if event.epoch == client.epoch:
        client.take(page(event.messages), is_late=True)
    client.epoch = event.epoch
    if event.more:
        join(client, since={"epoch": client.epoch, "offset": client.here() - 1})
        return
    if client.here() <= event.offset:  # it was not told why
        client.diverge()
        client.place = event.offset + 1
    client.is_back()


def _left(client: "Client", event: Event) -> None:
    if client.is_moving:
        client.depart()
        join(client, limit=0)
    else:
        client.complaints.take(b"! left: " + event.reason.encode())


def _gap(client: "Client", event: Event) -> None:
    client.gaps += 1
    if event.to is not None:
        client.skip(event.to + 1)
    else:  # the offsets begin again: from now on it is checked by the senders' numbers alone
        client.diverge()
        client.own = Order(from_now=True)
        client.epoch, client.place = event.epoch, event.offset + 1


def _ack(client: "Client", event: Event) -> None:
    if client.sender is not None and isinstance(event.id, str):
        client.sender.acknowledged([int(event.id, 16)])


def _error(client: "Client", event: Event) -> None:
    client.complaints.take(msgspec.json.encode({"type": "error", "code": event.code, "reason": event.reason}))
    if event.code == "session_lost":
        client.is_resuming = False
        client.gaps += 1
        client.depart()
        join(client, limit=0)


_HANDLERS: Final[Mapping[str, Callable[["Client", Event], None]]] = {
    "message": _message,
    "session": _session,
    "resumed": _resumed,
    "joined": _joined,
    "left": _left,
    "gap": _gap,
    "ack": _ack,
    "error": _error,
}
PLAIN: Final = Plain()
AIOCHAT: Final = Aiochat()
SOCKETIO: Final = SocketIo()


def dialect(codec: str, subprotocol: str | None) -> Dialect:
    """That of a server which has chosen this subprotocol."""
    if codec == lines.SOCKETIO_CODEC:
        return SOCKETIO
    return AIOCHAT if codec == lines.JSON_CODEC and subprotocol == SUBPROTOCOL else PLAIN
