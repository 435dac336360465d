"""Access tokens for tests, and an identity provider that publishes its keys."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from aiochat.auth.identity import LEEWAY_SECONDS
from aiochat.auth.keys import make_keys
from aiochat.auth.tokens import Tokens
from aiochat.config import Security, load

SECRET: Final = "a shared secret of more than thirty-two bytes"
# Of a server that takes the tokens of `minted`.
REQUIRED: Final = {"security.mode": "required", "security.token_key": SECRET}
OPTIONAL: Final = {**REQUIRED, "security.mode": "optional"}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def minted(sub: str | None = "alice", key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A token that is good for an hour; `claims` go over the usual ones, and None leaves one out."""
    said = {"sub": sub, "exp": int(time.time()) + 3600, **claims}
    headers = {"kid": claims["kid"]} if "kid" in claims else None
    payload = {claim: value for claim, value in said.items() if value is not None and claim != "kid"}
    return jwt.encode(payload, key, algorithm, headers=headers)


def ending(seconds: float = 3.0, **claims: Any) -> str:
    """A token that the server stops taking after so many seconds: it has expired, and the leeway ends then."""
    return minted(exp=time.time() + seconds - LEEWAY_SECONDS, **claims)


@cache
def private_key(kind: str) -> PrivateKey:
    """One of its kind: RS256, ES256 or EdDSA, with a number behind it if there is to be another."""
    if kind.startswith("RS"):
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind.startswith("ES") else ed25519.Ed25519PrivateKey.generate()


def private_pem(kind: str) -> str:
    """What `aiochat token --key` takes."""
    return private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(kind: str) -> str:
    """What `security.token_key` takes."""
    public = private_key(kind).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(kind: str, **fields: Any) -> dict[str, Any]:
    """What a provider publishes of it."""
    public: Any = private_key(kind).public_key()
    algorithm: Any = {"RS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}[kind[:2]]
    return {**json.loads(algorithm.to_jwk(public)), "use": "sig", **fields}


def security(**settings: Any) -> Security:
    """The section of that name, with these settings."""
    return load(flags={"security": {"mode": "required", **settings}}).security


def tokens(**settings: Any) -> Tokens:
    """Checks tokens with these settings, by default those that `minted` makes."""
    if not any(name.startswith(("token_key", "token_jwks")) for name in settings):
        settings["token_key"] = SECRET
    section = security(**settings)
    return Tokens(section, make_keys(section))


class Provider:
    """Publishes `keys` at `url`; `body` and `status` are what it says instead, and `asked` counts."""

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        self.url = ""
        self.keys = list(keys)
        self.body: bytes | None = None
        self.status = 200
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status, content_type="application/json")


@asynccontextmanager
async def provider(*keys: Mapping[str, Any]) -> AsyncIterator[Provider]:
    """One that publishes these keys."""
    app = web.Application()
    publishing = Provider(*keys)
    app.router.add_get("/jwks", publishing.answer)
    async with TestServer(app) as server:
        publishing.url = str(server.make_url("/jwks"))
        yield publishing
