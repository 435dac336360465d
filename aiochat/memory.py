"""How much memory the settings allow, which `aiochat config` prints; tests/test_memory_bound.py holds us to it."""

import ctypes
from typing import Final

from aiochat.config import Config

_PROCESS_BYTES: Final = 80 << 20  # the interpreter, the libraries, and what the allocator keeps for itself
_CLIENT_BYTES: Final = 12 << 10  # objects of one connection, TLS not counted; measured 4 KiB
_READ_BYTES: Final = 256 << 10  # what the event loop reads at once
_TEXT_FACTOR: Final = 4  # one character beyond U+FFFF makes a decoded text four bytes wide
_COMMANDS_PER_SLICE: Final = 4096 // 7  # of the smallest messages, over the client's share of the inbox
_COMMAND_BYTES: Final = 200
_DRAFT_BYTES: Final = 500


def largest_memory_bytes(config: Config) -> int:
    """An upper bound, reached only if every client does its worst at the same time."""
    largest_batch = max(config.batch.max_bytes, config.limits.max_message_bytes)
    client = (
        _CLIENT_BYTES
        + _READ_BYTES
        + 2 * config.limits.max_message_bytes  # a message of which the end has not come, and its assembly
        + config.socket.write_buffer_bytes
        + largest_batch  # the write that fills the buffer
        + (config.hub.inbox_per_client + _COMMANDS_PER_SLICE) * _COMMAND_BYTES
    )
    return (
        _PROCESS_BYTES
        + config.limits.max_clients * client
        + config.hub.inbox_bytes * _TEXT_FACTOR
        + config.queue.total_bytes
        + config.store.pending_bytes
        + config.store.pending_messages * _DRAFT_BYTES
        + config.history.max_bytes
    )


_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc


def give_back() -> None:
    """Let the system have what was freed: glibc keeps what lies below anything that is still in use."""
    if _malloc_trim is not None:
        _malloc_trim(0)
