"""`aiochat token`: an access token for development, made and checked with the settings that a server has."""

import argparse
import time

from aiochat.auth.keys import read_key
from aiochat.auth.tokens import identity_from, sign
from aiochat.config import load
from aiochat.durations import seconds_of
from aiochat.errors import ConfigError, Reply, StartError


def mint(parsed: argparse.Namespace) -> str:
    """The token. Raises `ConfigError` for what it cannot say, `StartError` where there is nothing to sign it with."""
    security = load(parsed.config).security
    if security.mode == "anonymous":
        raise StartError(
            "no key is configured: set AIOCHAT_SECURITY__MODE=optional and AIOCHAT_SECURITY__TOKEN_KEY="
            "$(openssl rand -hex 32) in the environment of the server and of this command"
        )
    claims = {
        "sub": parsed.sub,
        "name": parsed.name,
        "join": parsed.join,
        "publish": parsed.publish,
        "rooms": parsed.room,
    }
    claims = {claim: value for claim, value in claims.items() if value is not None}
    seconds = seconds_of(parsed.ttl, "--ttl")
    try:
        identity_from({**claims, "exp": time.time() + seconds})
    except Reply as reply:
        raise ConfigError(reply.reason) from None
    return sign(security, claims, seconds, None if parsed.key is None else read_key(parsed.key))
