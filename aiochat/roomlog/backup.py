"""`aiochat backup`: a consistent copy of the room log's file, while the server runs or not."""

import os
from pathlib import Path

from aiochat.errors import StartError
from aiochat.roomlog.database import DatabaseError, check, connect, reason, unusable


def back_up(source: Path, target: Path) -> int:
    """Write a copy that knows that it is one; its size in bytes. Raises `StartError`."""
    if not source.exists():
        raise StartError(f"{source} does not exist: nothing was said yet, or store.url names another file")
    if target.exists():
        raise StartError(f"{target} exists: name a file that does not")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")  # a copy is there whole or not at all
    try:
        part.touch(exist_ok=False)
        _copy(source, part)
        part.rename(target)
    except OSError as error:
        raise StartError(f"{target} cannot be written: {error.strerror}") from None
    except DatabaseError as error:
        raise unusable(source, reason(error)) from None
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, part: Path) -> None:
    connection = connect(source, "ro")
    try:
        check(connection, source)
        connection.execute("VACUUM INTO ?", (str(part),))
    finally:
        connection.close()
    copy = connect(part, "rw")
    try:
        copy.execute("UPDATE meta SET value = 1 WHERE name = 'is_copy'")
    finally:
        copy.close()
