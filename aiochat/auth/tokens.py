"""Access tokens: JSON Web Tokens (RFC 7519) that say who a client is and what it may do: from a request to `Identity`.

`exp` and `sub` are required, `aud` and `iss` are those of the settings. Nothing of a token is in any log or refusal.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import jwt
import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from aiochat.auth.identity import ANY_ROOM, LEEWAY_SECONDS, Identity
from aiochat.auth.keys import Keys, key_text, make_keys
from aiochat.config import Security
from aiochat.errors import Reply, StartError
from aiochat.names import display_name, fitting_name, room_name, room_pattern

BEARER: Final = "bearer."  # and the token, among the subprotocols: a page can set no header
MAX_CHARACTERS: Final = 8192
MAX_EXPIRES: Final = 1e11  # in seconds; beyond it, it was in milliseconds
_AUTHORIZATION: Final = re.compile(r"bearer(?: +(.*))?", re.IGNORECASE | re.DOTALL)

_Rooms = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=64)]


class _Claims(msgspec.Struct, frozen=True):
    """What of a token's claims is ours, checked for type and size; the other ones may be anything."""

    sub: Annotated[str, Meta(min_length=1, max_length=255)]
    exp: Annotated[float, Meta(gt=0, le=MAX_EXPIRES)]
    name: Annotated[str, Meta(max_length=255)] | None = None
    rooms: _Rooms | None = None
    join: _Rooms | None = None
    publish: _Rooms | None = None


_REASONS: Final[dict[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet (nbf, iat)",
    jwt.InvalidAlgorithmError: "the token is not signed with an algorithm that this server takes (alg)",
    jwt.InvalidAudienceError: "the token is for another audience (aud)",
    jwt.InvalidIssuerError: "the token is of another issuer (iss)",
    jwt.InvalidSignatureError: "the token's signature is not valid",
}


class Tokens:
    """Tells who shows a token."""

    def __init__(self, settings: Security, keys: Keys) -> None:
        self._settings = settings
        self._keys = keys

    async def identity_of(self, token: str) -> Identity:
        """Raises `Reply`: `unauthorized` for a token that is not good here, `unavailable` without keys to check it."""
        if len(token) > MAX_CHARACTERS:
            raise _refused(f"the token is longer than {MAX_CHARACTERS} characters")
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            said = jwt.decode(
                token,
                key.key,
                algorithms=key.algorithms,
                audience=self._settings.token_audience or None,
                issuer=self._settings.token_issuer or None,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"the token lacks {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise _refused(_REASONS.get(type(error), "this is not a token that can be checked")) from None
        return identity_from(said)

    async def close(self) -> None:
        """Nothing more is asked."""
        await self._keys.close()


def make_tokens(settings: Security) -> Tokens | None:
    """What the settings say of tokens; None where they are not looked at. Raises `StartError`."""
    return None if settings.mode == "anonymous" else Tokens(settings, make_keys(settings))


def token_of(request: web.Request) -> str | None:
    """The token that a request shows, in whichever place. Raises `Reply` where it shows different ones."""
    shown = {*_in_headers(request), *request.query.getall("token", ())}
    if len(shown) > 1:
        raise Reply("bad_request", "two different tokens: show one, in one place", field="token")
    return shown.pop() if shown else None


def _in_headers(request: web.Request) -> Iterator[str]:
    for value in request.headers.getall(hdrs.AUTHORIZATION, ()):
        bearer = _AUTHORIZATION.fullmatch(value.strip())
        if bearer:
            yield bearer[1] or ""
    for value in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()):
        for name in value.split(","):
            if name.strip().startswith(BEARER):
                yield name.strip().removeprefix(BEARER)


def _refused(reason: str) -> Reply:
    return Reply("unauthorized", reason, field="token")


def identity_from(said: Mapping[str, Any]) -> Identity:
    """What the claims of a token that has been checked make of a client. Raises `Reply` `unauthorized`."""
    try:
        claims = msgspec.convert(said, _Claims)
    except msgspec.ValidationError as error:
        raise _refused(f"the token's claims: {error}") from None
    user = _user(claims.sub)
    try:
        return Identity(
            user=user,
            name=_own_name(claims.sub) if claims.name is None else fitting_name(claims.name),
            rooms=tuple(dict.fromkeys(map(room_name, claims.rooms or ()))),
            join=ANY_ROOM if claims.join is None else tuple(map(room_pattern, claims.join)),
            publish=ANY_ROOM if claims.publish is None else tuple(map(room_pattern, claims.publish)),
            expires=claims.exp,
        )
    except Reply as reply:
        raise _refused(f"the token's rooms: {reply.reason}") from None


def _user(subject: str) -> str:
    """It is shown to others, so it is printable; and compared as it is, so nothing is made of it."""
    if not subject.isprintable() or subject != subject.strip():
        raise _refused("the token's sub has characters that cannot be shown, or spaces around it")
    return subject


def _own_name(subject: str) -> str | None:
    """What to call somebody of whom the token says no name: as the user is called, if that can be a name."""
    try:
        return display_name(subject)
    except Reply:
        return None


def sign(settings: Security, claims: Mapping[str, Any], seconds: float, private_key: str | None) -> str:
    """A token of one's own for these claims. Raises `StartError` where there is nothing to sign it with.

    `private_key` is in PEM; HS algorithms take the key of the settings.
    """
    algorithm = settings.token_algorithms[0]
    is_shared = algorithm.startswith("HS")
    if is_shared == (private_key is not None):
        wanted = "no --key: the key is that of the settings" if is_shared else "--key FILE, a private key in PEM"
        raise StartError(f"security.token_algorithms begins with {algorithm}, which takes {wanted}")
    if is_shared:
        make_keys(settings)  # says what is wrong with it
    now = int(time.time())
    own = {"iat": now, "exp": now + int(seconds), "aud": settings.token_audience, "iss": settings.token_issuer}
    payload = {key: value for key, value in {**own, **claims}.items() if value not in (None, "")}
    try:
        return jwt.encode(payload, private_key or key_text(settings), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise StartError(f"--key is no private key for {algorithm}: {error}") from None
