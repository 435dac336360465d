"""Who is where: the names taken in each room."""

from aiochat.directory.contract import Directory
from aiochat.directory.local import LocalDirectory

__all__ = ["Directory", "LocalDirectory"]
