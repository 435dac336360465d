"""The HTTP API below /api/v1/: what the server's own programs ask of it, with the admin token.

operations is the one table of what there is: http routes by it and openapi describes it; structs is what they read and
say. What it does to the chat is aiochat.api.administration's.
"""

from aiochat.api.http import Api

__all__ = ["Api"]
