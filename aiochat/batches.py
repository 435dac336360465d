"""How events become batches, on their way to outboxes: encoded once per codec, whatever the number of clients."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import structlog

from aiochat.codecs import Codec
from aiochat.config import Batch as BatchLimits
from aiochat.messages import Entry, Event
from aiochat.outbox import Batch

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def batches(codec: Codec, entries: Sequence[Entry], limits: BatchLimits) -> list[Batch]:
    """The entries as batches of at most `limits.max_messages` and `max_bytes`; a larger one travels alone.

    What the codec's clients are not shown is left out.
    """
    encode = codec.encode_entry
    try:
        payloads = [payload for entry in entries if (payload := encode(entry))]
    except Exception:
        payloads = [payload for entry in entries if (payload := _encoded_alone(encode, entry))]
    return _batches(codec, payloads, limits)


def event_batches(codec: Codec, events: Sequence[Event], limits: BatchLimits) -> Iterable[Batch]:
    """One client's private events of a turn, encoded as they are taken: they may be far more than it can be sent."""
    if len(events) == 1:  # most often an ack
        return _batches(codec, [*(_encoded_alone(codec.encode_event, events[0]) or ())], limits)
    payloads = (payload for event in events for payload in _encoded_alone(codec.encode_event, event) or ())
    return (Batch(codec.frame(piece), len(piece)) for piece in _pieces(payloads, limits))


def _batches(codec: Codec, payloads: list[bytes], limits: BatchLimits) -> list[Batch]:
    count = len(payloads)
    if not count:
        return []
    if count <= limits.max_messages:
        data = codec.frame(payloads)
        if count == 1 or len(data) <= limits.max_bytes:
            return [Batch(data, count)]
    return [Batch(codec.frame(piece), len(piece)) for piece in _pieces(payloads, limits)]


def _encoded_alone(encode: Callable[[Any], Any], event: Event) -> Any:
    """What one event becomes, or None where it fails: it is left out, and the others go."""
    try:
        return encode(event)
    except Exception:
        _log.exception("event_not_encoded", type=type(event).__name__, room=getattr(event, "room", None))
        return None


def _pieces(payloads: Iterable[bytes], limits: BatchLimits) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for payload in payloads:
        if piece and (len(piece) >= limits.max_messages or size + len(payload) > limits.max_bytes):
            yield piece
            piece, size = [], 0
        piece.append(payload)
        size += len(payload)
    if piece:
        yield piece
