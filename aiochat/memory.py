"""How much memory the settings allow, which `aiochat config` prints and tests/test_memory_bound.py holds the server to.

Measured on CPython 3.11, 64 bits. Not counted: the kernel's buffers, TLS, and requests that are no WebSocket (yet).
"""

import ctypes
from typing import Final

from aiochat.config import Config

_PROCESS_BYTES: Final = 80 << 20  # 54 to 63 MiB at the start, and what the allocator keeps of what was freed
_CLIENT_BYTES: Final = 8 << 10  # 2.2 to 2.5 kB, 3.6 once it has spoken, 1.8 for a room of its own, and its budgets
_READ_BYTES: Final = 256 << 10  # what the event loop reads at once; held back while the client's share is full
_FRAGMENTS_BYTES: Final = 72 << 10  # 1,024 reads of a few bytes, which aiohttp then joins
_COMMANDS_READ: Final = 585  # in 4 KiB, the least that is parsed; a message of one byte takes seven
_COMMAND_BYTES: Final = 480  # of one that is refused, 475; of a line of three bytes, 121
_LIST_BYTES: Final = 6 << 10  # an answer to /rooms that waits for the end of the turn
_LIST_COST: Final = 10  # of /who and /rooms, in messages
_CHARACTER_BYTES: Final = 4  # of a text with a single emoji, which came as one byte a character
_CLEANED_BYTES: Final = 3  # what a control character, one byte, becomes
_ENVELOPE_BYTES: Final = 1 << 10  # name and frame
_DRAFT_BYTES: Final = 500  # draft 137, message 169 and the frame on its way out
_RING_BYTES: Final = 1200  # the history of a room with nothing in it


def largest_memory_bytes(config: Config) -> int:
    """An upper bound, reached only if every client does its worst at the same time."""
    return (
        _PROCESS_BYTES
        + config.limits.max_clients * _client_bytes(config)
        + config.hub.inbox_bytes * _CHARACTER_BYTES
        + config.queue.total_bytes
        + 5 * config.store.pending_bytes  # two batches of drafts, a batch of encoded lines and the frames joined of it
        + 2 * config.store.pending_messages * _DRAFT_BYTES
        + config.history.max_bytes
        + config.history.max_rooms * _RING_BYTES
    )


def _client_bytes(config: Config) -> int:
    limits = config.limits
    commands = config.hub.inbox_per_client + _COMMANDS_READ
    lists = min(commands, limits.burst_messages // _LIST_COST + 1) if limits.messages_per_second else commands
    inbound = max(
        commands * _COMMAND_BYTES,
        lists * _LIST_BYTES,
        _CHARACTER_BYTES * limits.max_message_bytes + config.hub.inbox_per_client * _COMMAND_BYTES,
        limits.max_message_bytes * 9 // 8 + _FRAGMENTS_BYTES,  # one of which the end has not come
    )
    largest_batch = max(config.batch.max_bytes, _CLEANED_BYTES * limits.max_message_bytes) + _ENVELOPE_BYTES
    return _CLIENT_BYTES + _READ_BYTES + inbound + config.socket.write_buffer_bytes + largest_batch


_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc


def give_back() -> None:
    """Let the system have what was freed: glibc keeps what lies below anything that is still in use."""
    if _malloc_trim is not None:
        _malloc_trim(0)
