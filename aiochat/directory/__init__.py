"""Who is where. `local` serves one process; Redis will serve many behind the same calls."""

from aiochat.directory.local import LocalDirectory

__all__ = ["LocalDirectory"]
