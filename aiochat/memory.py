"""How much memory the settings allow, which `aiochat config` prints and tests/test_memory_bound.py holds the server to.

Measured on CPython 3.11, 64 bits. Not counted: the kernel's buffers, TLS, and, mounted, requests that are no WebSocket.
"""

import ctypes
from typing import Final

from aiochat.config import Config
from aiochat.http.handshakes import HEAD_BYTES
from aiochat.joining import PAGE_ENTRIES
from aiochat.limits.bans import MAX_BANS
from aiochat.limits.shares import Sharing
from aiochat.presence import MAX_ABSENT
from aiochat.roomlog import PAGE_BYTES
from aiochat.roomlog.urls import SCHEMES

_PROCESS_BYTES: Final = 96 << 20  # 54 to 63 MiB at the start, pages on their way from the log, what the allocator keeps
_CLIENT_BYTES: Final = 8 << 10  # 2.2 to 2.5 kB, 3.6 once it has spoken, its session 0.2, and its budgets
_ROOM_BYTES: Final = (
    4 << 10
)  # that a client has to itself: 2.8 kB, 0.8 for the first message, and what there is to tell
_READ_BYTES: Final = 256 << 10  # what the event loop reads at once; held back while the client's share is full
_FRAGMENTS_BYTES: Final = 72 << 10  # 1,024 reads of a few bytes, which aiohttp then joins
_LINES_READ: Final = 585  # in 4 KiB, the least that is parsed; a message of one byte takes seven
_LINE_BYTES: Final = 480  # of one that is refused, 475; of a line of three bytes, 121
_SHORTEST_COMMAND: Final = 11  # bytes, a ping in MessagePack; a message may hold nothing else
_COMMAND_BYTES: Final = 100  # of a ping 33, and its answer
_LIST_BYTES: Final = 6 << 10  # an answer to /rooms that waits for the end of the turn
_LIST_COST: Final = 10  # of /who and /rooms, in messages
_VALUE_BYTES: Final = 73  # of `data` with an empty map in it, which came as one byte; a character takes 4 at most
_CLEANED_BYTES: Final = 3  # what a control character, one byte, becomes in a line
_ESCAPED_BYTES: Final = 6  # and in JSON
_ENVELOPE_BYTES: Final = 1 << 10  # name and frame
_DRAFT_BYTES: Final = 500  # draft 137, message 169 and the frame on its way out
_RING_BYTES: Final = 1200  # the history of a room with nothing in it
_KEY_BYTES: Final = 450
_WRITER_BYTES: Final = (
    64 << 20
)  # the process that writes the SQLite file: 57 MiB with batches of 16 MB, but for the keys
_HTTP_BYTES: Final = HEAD_BYTES + (280 << 10)  # idle 8 kB; half a request, and what was read of it last
_SHARE_BYTES: Final = 900  # of one user or address: 720 with all budgets
_BAN_BYTES: Final = 3500  # 3,400 with a user and reason of the most characters there may be, of four bytes each
_REDIS_BYTES: Final = (
    128 << 20
)  # 16 MiB of batches that wait, as much that the hub has not taken, decoded; 32 pages at once; 50,000 rooms seen
_ABSENT_BYTES: Final = 1000  # who is expected back, alone in a room: 900 with the name


def largest_memory_bytes(config: Config) -> int:
    """An upper bound, reached only if every client does its worst at the same time."""
    return (
        _PROCESS_BYTES
        + config.limits.max_clients * _client_bytes(config)
        + config.hub.inbox_bytes * _VALUE_BYTES
        + config.queue.total_bytes
        + 5 * config.store.pending_bytes  # two batches of drafts, a batch of encoded lines and the frames joined of it
        + 2 * config.store.pending_messages * _DRAFT_BYTES
        + config.history.tail_bytes * 3 // 2  # which counts less than a short message takes
        + _log_bytes(config)
        + MAX_ABSENT * _ABSENT_BYTES
        + config.limits.max_http_connections * _HTTP_BYTES
        + _shares(config) * config.limits.max_addresses * _SHARE_BYTES
        + MAX_BANS * _BAN_BYTES
    )


def _shares(config: Config) -> int:
    """How many tables of them there are."""
    shares = Sharing(config.limits)
    return shares.users.is_limited + shares.addresses.is_limited


def _log_bytes(config: Config) -> int:
    """The history of `memory:`, or the process that writes a file; the keys of both. Of Redis what is on its way."""
    history, keys = config.history, config.store.max_keys * _KEY_BYTES
    if config.store.url.startswith(SCHEMES):
        return _REDIS_BYTES
    if not config.store.url.startswith("memory:"):
        return _WRITER_BYTES + keys
    return history.max_bytes + history.max_rooms * _RING_BYTES + keys


def _client_bytes(config: Config) -> int:
    rooms = config.limits.max_rooms_per_client * _ROOM_BYTES
    largest_batch = max(config.batch.max_bytes, _largest_event(config)) + _ENVELOPE_BYTES
    return _CLIENT_BYTES + rooms + _READ_BYTES + _inbound(config) + config.socket.write_buffer_bytes + largest_batch


def _inbound(config: Config) -> int:
    """What a client has sent that was not applied or not answered yet."""
    limits, share = config.limits, config.hub.inbox_per_client
    commands = share + max(_LINES_READ, limits.max_message_bytes // _SHORTEST_COMMAND)
    lists = min(commands, limits.burst_messages // _LIST_COST + 1) if limits.messages_per_second else commands
    return max(
        (share + _LINES_READ) * _LINE_BYTES,
        commands * _COMMAND_BYTES,
        lists * _LIST_BYTES,
        _VALUE_BYTES * limits.max_message_bytes + share * _LINE_BYTES,
        limits.max_message_bytes * 9 // 8 + _FRAGMENTS_BYTES,  # one of which the end has not come
    )


def _largest_event(config: Config) -> int:
    """A line, or a page of what a room said: it is one event, and goes out in one piece."""
    page = max(PAGE_BYTES, config.limits.max_message_bytes) * _ESCAPED_BYTES + PAGE_ENTRIES * _ENVELOPE_BYTES
    return max(_CLEANED_BYTES * config.limits.max_message_bytes, page)


_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc


def give_back() -> None:
    """Let the system have what was freed: glibc keeps what lies below anything that is still in use."""
    if _malloc_trim is not None:
        _malloc_trim(0)
