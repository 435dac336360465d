"""The room log: what was said, in order. The contract alone; `aiochat.roomlog.engines` makes what `store.url` names."""

from aiochat.roomlog.contract import (
    PAGE_BYTES,
    Answer,
    Appended,
    Arrived,
    Deleted,
    Draft,
    Page,
    Repeated,
    RoomLog,
    content_bytes,
)

__all__ = [
    "PAGE_BYTES",
    "Answer",
    "Appended",
    "Arrived",
    "Deleted",
    "Draft",
    "Page",
    "Repeated",
    "RoomLog",
    "content_bytes",
]
