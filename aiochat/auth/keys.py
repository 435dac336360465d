"""The keys that access tokens are checked with: one of the settings, or those that an identity provider publishes.

Which algorithms are taken the settings say, and never a token. What a provider publishes (a JSON Web Key Set, RFC 7517)
is kept while its URL is away.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import jwt
import msgspec
import structlog
from jwt.algorithms import get_default_algorithms
from yarl import URL

from aiochat.config import Security
from aiochat.errors import Reply, StartError, unavailable

FRESH_SECONDS: Final = 600.0  # then the set is fetched anew, while the old one is in use
STALE_SECONDS: Final = 1200.0  # nobody came for so long: then who comes waits for it, as a key may have been taken back
RETRY_SECONDS: Final = 10.0  # between two attempts, whoever shows a key that is not known
_FETCH_SECONDS: Final = 5.0
_MAX_BYTES: Final = 256 << 10
_MAX_KEYS: Final = 100

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Key(NamedTuple):
    """A key as pyjwt takes it, and the algorithms that it is for."""

    key: Any
    algorithms: Sequence[str]


class Keys(ABC):
    """Where the keys are from."""

    @abstractmethod
    async def find(self, id: str | None) -> Key:
        """The key of the id that a token names (`kid`). Raises `Reply`: `unauthorized`, `unavailable`."""

    @abstractmethod
    async def close(self) -> None:
        """Nothing more is asked."""


class FixedKey(Keys):
    """One for all tokens, whatever they name."""

    def __init__(self, key: Key) -> None:
        self._key = key

    async def find(self, id: str | None) -> Key:
        return self._key

    async def close(self) -> None:
        """There is nothing to close."""


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


class KeySet(Keys):
    """Those at a URL, fetched when one is needed. Whoever waits for the same fetch waits for one."""

    def __init__(self, url: str, algorithms: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        self._url = URL(url)
        self._algorithms = algorithms
        self._now = now
        self._keys: dict[str | None, Key] = {}
        self._fetched = self._tried = -1e9
        self._fetching: asyncio.Task[None] | None = None
        self._is_away = False

    async def find(self, id: str | None) -> Key:
        key, age_seconds = self._known(id), self._now() - self._fetched
        if key is None or age_seconds >= FRESH_SECONDS:
            self._fetch()
        is_stale = age_seconds >= STALE_SECONDS and not self._is_away
        if self._fetching is not None and (key is None or is_stale):
            await asyncio.shield(self._fetching)
            key = self._known(id)
        if key is None and not self._keys:
            raise unavailable("the keys to check tokens with are not available")
        if key is None:
            raise Reply("unauthorized", "the token's key (kid) is not one that its issuer publishes", field="token")
        return key

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _known(self, id: str | None) -> Key | None:
        """A token that names no key has that of a set of one."""
        if id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(id)

    def _fetch(self) -> None:
        if self._fetching is None and self._now() - self._tried >= RETRY_SECONDS:
            self._tried = self._now()
            self._fetching = asyncio.create_task(self._fetch_set(), name="aiochat.auth.keys")

    async def _fetch_set(self) -> None:
        try:
            keys = _usable(await _read(self._url), self._algorithms)
            if not keys:
                raise ValueError("it holds no key for security.token_algorithms")
            self._keys, self._fetched, self._is_away = keys, self._now(), False
            _log.info("keys_fetched", url=_shown(self._url), keys=len(keys))
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:  # a time-out is an OSError
            if not self._is_away:
                self._is_away = True
                _log.warning("keys_unavailable", url=_shown(self._url), reason=str(error) or type(error).__name__)
        finally:
            self._fetching = None


async def _read(url: URL) -> bytes:
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"it answered with HTTP {response.status}")
        body = b""
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"it is longer than {_MAX_BYTES} bytes")
        return body


def _shown(url: URL) -> str:
    return str(url.with_user(None).with_query(None))


def _usable(body: bytes, algorithms: Sequence[str]) -> dict[str | None, Key]:
    """By id, the keys that fit one of the algorithms; a set may hold others, which are not for us."""
    try:
        published = msgspec.json.decode(body, type=_Set).keys
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no JSON Web Key Set: {error}") from None
    keys: dict[str | None, Key] = {}
    for described in published[:_MAX_KEYS]:
        id = described.get("kid")
        is_public = described.get("kty") != "oct"  # a shared key that is published is no secret
        if is_public and described.get("use", "sig") == "sig" and (id is None or isinstance(id, str)):
            key = _from_jwk(described, algorithms)
            if key is not None:
                keys[id] = key
    return keys


def _from_jwk(described: dict[str, Any], algorithms: Sequence[str]) -> Key | None:
    try:
        public = jwt.PyJWK(described).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    named = described.get("alg")
    fitting = [name for name in algorithms if named in (None, name) and not _trouble_with(public, name)]
    return Key(public, fitting) if fitting else None


def make_keys(settings: Security) -> Keys:
    """The keys that the settings name. Raises `StartError` for one that cannot be used."""
    if settings.token_jwks_url:
        return KeySet(settings.token_jwks_url, settings.token_algorithms)
    key: Any = key_text(settings)
    name = "token_key_file" if settings.token_key_file else "token_key"
    for algorithm in settings.token_algorithms:
        trouble = _trouble_with(key, algorithm)
        if trouble:
            raise StartError(f"security.{name} is no key for {algorithm}: {trouble}")
    prepared = get_default_algorithms()[settings.token_algorithms[0]].prepare_key(key)
    public = prepared.public_key() if hasattr(prepared, "public_key") else prepared  # of a private one, that will do
    return FixedKey(Key(public, settings.token_algorithms))


def key_text(settings: Security) -> str:
    """The key of the settings, as it stands there or in its file. Raises `StartError`."""
    return read_key(settings.token_key_file) if settings.token_key_file else settings.token_key


def read_key(file: str | Path) -> str:
    """What a key's file holds; a line break at its end does not count. Raises `StartError`."""
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the key file {file} cannot be read: {getattr(error, 'strerror', 'not text')}") from None


def _trouble_with(key: Any, algorithm: str) -> str | None:
    """Why a key is not for the algorithm, or too short for it (RFC 7518); None if all is well."""
    known = get_default_algorithms()[algorithm]
    try:
        return known.check_key_length(known.prepare_key(key))
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        return str(error)
