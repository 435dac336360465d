"""The clients of one worker process: who sends, counts, checks or reads nothing; connecting; judging what they got."""

import asyncio
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec
from picows import WSError, ws_connect
from picows.url import WSParsedURL

from aiochat.loadtest import lines
from aiochat.loadtest.clients import CheckingClient, Complaints, CountingClient, Entrance, Sender, SlowClient
from aiochat.loadtest.histogram import Histogram
from aiochat.loadtest.plan import SCHEMES, Workload

BUFFER_BYTES: Final = 256 * 1024
CHECKED_ONE_IN: Final = 100
CHECKED_ROOMS: Final = 20
CONNECTING_AT_ONCE: Final = 32
CONNECT_SECONDS: Final = 30
CLIENTS_PER_ADDRESS: Final = 20_000  # of some 28,000 ports that a source address has
SLOW_BUFFER_BYTES: Final = 4096
LARGEST_FRAME_BYTES: Final = 64 << 20
_ONLY_ROOM: Final = "room-0"  # of clients that have to name one
_SUBPROTOCOLS: Final = {lines.TEXT_CODEC: {}, lines.JSON_CODEC: {"Sec-WebSocket-Protocol": "aiochat.v1.json"}}


AnyClient = CountingClient | CheckingClient | SlowClient


class Target(msgspec.Struct, frozen=True):
    """The server: its URL, and the address that answered, so that no client resolves a name."""

    url: str
    address: tuple[str, int]
    family: int

    def room_url(self, room: str) -> str:
        """Of no room: the URL as it was given."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{room}" if room else parts.path
        return parts._replace(scheme=SCHEMES[parts.scheme], path=path, fragment="").geturl()


class Verdict(msgspec.Struct):
    """What went wrong; the slow and the dropped clients are not judged."""

    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    unacknowledged: int = 0


def room_name(workload: Workload, room: int) -> str:
    """Of the room of this number; empty where clients come into one without naming it."""
    if workload.rooms > 1:
        return f"room-{room}"
    return "" if workload.codec == lines.TEXT_CODEC else _ONLY_ROOM


def checked(workload: Workload) -> set[int]:
    """One client in 100, at least one in each room up to 20 rooms; of those who joined early as well as late."""
    readers = workload.clients - workload.slow
    wanted = min(readers, max(min(workload.rooms, CHECKED_ROOMS), readers // CHECKED_ONE_IN))
    return {
        client for number in range(wanted) if (client := _spread(number, wanted, workload.rooms, readers)) < readers
    }


def _spread(number: int, wanted: int, rooms: int, readers: int) -> int:
    room = number % rooms if wanted >= rooms else number * rooms // wanted
    members = (readers - room + rooms - 1) // rooms
    return room + (2 * number + 1) * members // (2 * wanted) * rooms


class Crew:
    """Every P-th client of the workload, beginning with `first`."""

    def __init__(self, workload: Workload, target: Target, first: int) -> None:
        self.workload, self.target = workload, target
        self.latencies = Histogram()
        self.complaints = Complaints()
        self.buffer = bytearray(max(BUFFER_BYTES, 4 * workload.size))
        self.checked = checked(workload)
        self.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trusting.check_hostname = False  # a load test meets certificates of one's own making
        self.trusting.verify_mode = ssl.CERT_NONE
        numbers = range(first, workload.clients, workload.processes)
        self.clients = {number: self._client(number) for number in numbers}
        self.senders = [client.sender for client in self.clients.values() if client.sender is not None]
        self.slow = [client for client in self.clients.values() if isinstance(client, SlowClient)]
        self.readers = [client for client in self.clients.values() if not isinstance(client, SlowClient)]

    def _client(self, number: int) -> AnyClient:
        plan = self.workload
        room = number % plan.rooms
        if number >= plan.clients - plan.slow:
            return SlowClient(room)
        shape = lines.LineFrames(plan.size, plan.codec, room_name(plan, room))
        sender = Sender(number, shape) if number < plan.senders else None
        if number in self.checked:
            return CheckingClient(room, sender, plan.size, self.latencies, self.complaints)
        return CountingClient(room, sender, shape, self.buffer, self.complaints)

    async def connect(self) -> list[str]:
        """What went wrong; it stops soon after the first failure."""
        failures: list[str] = []
        waiting = iter(self.clients.items())
        await asyncio.gather(*(self._connect_each(waiting, failures) for _ in range(CONNECTING_AT_ONCE)))
        return failures

    async def _connect_each(self, waiting: Iterator[tuple[int, AnyClient]], failures: list[str]) -> None:
        for number, client in waiting:
            try:
                await self._connect(number, client)
            except (OSError, TimeoutError, WSError) as error:
                failures.append(str(error) or type(error).__name__)
            if failures:
                return

    async def _connect(self, number: int, client: AnyClient) -> None:
        async def connected(_: WSParsedURL) -> socket.socket:
            return await self._socket(number, slow=isinstance(client, SlowClient))

        listener = client if isinstance(client, CheckingClient) else Entrance(client)
        async with asyncio.timeout(CONNECT_SECONDS):
            await ws_connect(
                lambda request, response: listener,
                self.target.room_url(room_name(self.workload, client.room)),
                extra_headers=_SUBPROTOCOLS[self.workload.codec],
                ssl_context=self.trusting,
                websocket_handshake_timeout=None,
                max_frame_size=LARGEST_FRAME_BYTES,
                read_buffer_init_size=BUFFER_BYTES if listener is client else 0,
                socket_factory=connected,
            )

    async def _socket(self, number: int, slow: bool) -> socket.socket:
        sock = socket.socket(socket.AddressFamily(self.target.family), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if slow:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
            if number >= CLIENTS_PER_ADDRESS and self.target.address[0] == "127.0.0.1" and sys.platform == "linux":
                sock.bind((f"127.0.0.{1 + number // CLIENTS_PER_ADDRESS}", 0))
            await asyncio.get_running_loop().sock_connect(sock, self.target.address)
        except BaseException:
            sock.close()
            raise
        return sock

    def leave(self) -> None:
        for client in self.clients.values():
            client.leave()

    def delivered(self) -> int:
        return sum(client.delivered for client in self.readers)

    def behind(self, sent: Mapping[int, int]) -> bool:
        """Whether somebody still waits for messages of these senders."""
        expected = self._expected(sent)
        readers = [client for client in self.readers if client.close_code is None]
        return any(
            client.delivered < sum(expected[client.room].values()) or self._unacknowledged(client) for client in readers
        )

    def _unacknowledged(self, client: AnyClient) -> int:
        sender = client.sender
        return (
            0
            if sender is None or self.workload.codec == lines.TEXT_CODEC
            else max(0, sender.sent - sender.acknowledged)
        )

    def judge(self, sent: Mapping[int, int]) -> Verdict:
        expected, verdict = self._expected(sent), Verdict()
        for client in self.readers:
            if client.close_code is not None:
                continue
            verdict.unacknowledged += self._unacknowledged(client)
            if isinstance(client, CheckingClient):
                verdict.lost += client.order.lost(expected[client.room])
                verdict.doubled += client.order.doubled
                verdict.out_of_order += client.order.out_of_order
            else:
                surplus = client.delivered - sum(expected[client.room].values())
                verdict.lost += max(0, -surplus)
                verdict.doubled += max(0, surplus)
        return verdict

    def _expected(self, sent: Mapping[int, int]) -> list[dict[int, int]]:
        """For each room, how many messages each sender sent to it."""
        rooms: list[dict[int, int]] = [{} for _ in range(self.workload.rooms)]
        for number, count in sent.items():
            rooms[number % self.workload.rooms][number] = count
        return rooms
