"""The sections of the settings: what each key takes. `aiochat.config` reads them, and says what is wrong with them."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from aiochat.auth.identity import fits
from aiochat.errors import Reply
from aiochat.http.origins import allowed_origin
from aiochat.names import room_pattern

SQLITE: Final = "sqlite:///"
_LAST_PORT: Final = 65535
_SECRET_CHARACTERS: Final = 16


def _url_path(path: str) -> str:
    if not re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII):
        raise ValueError("a path such as /ws or /chat/ws, of letters, digits and . _ ~ -")
    return path


def _from_json(value: object) -> object:
    """A list from the environment, which knows nothing but text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('a list such as ["same-origin"] or ["127.0.0.1"]') from None


def _network(text: str) -> str:
    """Addresses, too, are networks. Behind one that holds everybody, anybody would be whoever they say."""
    with suppress(ValueError):
        network = ip_network(text)
        if network.prefixlen:
            return str(network)
    raise ValueError("an address or network of proxies, such as 127.0.0.1 or 10.0.0.0/8")


Count = Annotated[int, Field(ge=0, le=1 << 40)]
Positive = Annotated[int, Field(ge=1, le=1 << 40)]
Duration = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveDuration = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _http_url(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise ValueError("a URL such as https://login.example/.well-known/jwks.json")
    return url


def _pattern(text: str) -> str:
    try:
        return room_pattern(text)
    except Reply as reply:
        raise ValueError(f"a pattern of rooms such as team-*: {reply.reason}") from None


Secret = Annotated[str, "secret"]  # never shown, not even by `aiochat config`


class RoomRule(Section):
    """What holds in the rooms whose names are of the pattern `match`: one `[[room]]` table."""

    match: Annotated[str, AfterValidator(_pattern)]
    join: Literal["all", "users", "named"] = "all"
    publish: Literal["all", "users", "api"] = "all"
    history: bool = True
    presence: bool = True
    listed: bool = True


class Server(Section):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    internal_port: Annotated[int, Field(ge=0, le=65535)]
    path: Annotated[str, AfterValidator(_url_path)]
    workers: Annotated[int, Field(ge=1, le=256)]
    tls_certificate: str
    tls_key: str
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_from_json)
    ]
    unready_seconds: Duration
    drain_seconds: PositiveDuration
    reconnect_spread_seconds: Duration


class Limits(Section):
    max_message_bytes: Annotated[int, Field(ge=125, le=16 << 20)]
    max_clients: Positive
    max_clients_per_address: Count
    max_clients_per_user: Count
    max_addresses: Positive
    max_http_connections: Positive
    max_rooms_per_client: Positive
    messages_per_second: Duration
    burst_messages: Annotated[int, Field(ge=10, le=1 << 40)]
    bytes_per_second: Count
    user_messages_per_second: Duration
    user_bytes_per_second: Count
    address_messages_per_second: Duration
    address_bytes_per_second: Count
    address_connects_per_second: Duration
    handshake_seconds: PositiveDuration
    api_requests_per_second: Duration


class Socket(Section):
    send_buffer_bytes: Annotated[int, Field(ge=4096, le=1 << 30)]
    user_timeout_seconds: Duration
    write_buffer_bytes: Annotated[int, Field(ge=1, le=1 << 30)]


class Hub(Section):
    inbox_per_client: Positive
    inbox_bytes: Positive


class Queue(Section):
    max_messages: Positive
    max_bytes: Positive
    stall_seconds: PositiveDuration
    total_bytes: Positive


class Keepalive(Section):
    ping_interval_seconds: PositiveDuration
    pong_timeout_seconds: PositiveDuration


class Batch(Section):
    window_ms: Annotated[float, Field(ge=0, le=1000)]
    max_messages: Positive
    max_bytes: Positive


def _store_url(url: str) -> str:
    """Checked as far as a file is concerned; which schemes there are, the room log knows."""
    if url.startswith("sqlite:"):
        slashes, _, path = url.partition(SQLITE)
        if slashes or not path or path.endswith("/") or re.search(r"[\0?#]|^:memory:$", path):
            raise ValueError("sqlite:///FILE, relative, or sqlite:////FILE, absolute")
    return url


def _key_prefix(prefix: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,64}", prefix, re.ASCII):
        raise ValueError("1 to 64 letters, digits and . : _ -")
    return prefix


class Store(Section):
    url: Annotated[str, AfterValidator(_store_url)]
    synchronous: Literal["normal", "full"]
    prefix: Annotated[str, AfterValidator(_key_prefix)]
    idle_days: Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False)]
    wait_replicas: Annotated[int, Field(ge=0, le=100)]
    max_keys: Positive
    pending_messages: Positive
    pending_bytes: Positive
    wait_seconds: PositiveDuration


class History(Section):
    max_messages: Positive
    max_bytes: Positive
    max_rooms: Positive
    max_age_hours: Duration
    tail_messages: Positive
    tail_bytes: Positive
    on_join: Annotated[int, Field(ge=0, le=300)]
    key_minutes: PositiveDuration
    session_minutes: PositiveDuration


class Presence(Section):
    grace_seconds: Duration
    interval_ms: Count
    list_up_to: Annotated[int, Field(ge=0, le=1000)]


Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class Hooks(Section):
    timeout_seconds: PositiveDuration
    max_running: Positive
    max_waiting: Positive


class Security(Section):
    mode: Literal["anonymous", "optional", "required"]
    token_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_from_json), Field(min_length=1)]
    token_key: Secret
    token_key_file: str
    token_jwks_url: Annotated[str, AfterValidator(_http_url)]
    token_audience: str
    token_issuer: str
    allowed_origins: Annotated[
        tuple[Annotated[str, AfterValidator(allowed_origin)], ...], NoDecode, BeforeValidator(_from_json)
    ]
    session_secret: Secret
    admin_token: Secret


class Logging(Section):
    format: Literal["console", "json"]
    level: Literal["debug", "info", "warning", "error"]
    connections: bool
    lag_seconds: PositiveDuration


def check_workers(server: Server, store: Store) -> None:
    last_port = server.internal_port + server.workers - 1
    if server.internal_port and server.internal_port <= server.port <= last_port:
        raise ValueError(f"server.internal_port: got {server.port}, takes another port than server.port, or 0")
    if server.workers == 1:
        return
    if store.url.startswith(("memory:", "sqlite:")):
        raise ValueError(
            f"server.workers: got {server.workers}, takes 1 with store.url {store.url!r}, which one process has to"
            " itself; with redis:// many processes are one chat"
        )
    if server.internal_port and last_port > _LAST_PORT:
        raise ValueError(
            f"server.internal_port: got {server.internal_port}, takes {_LAST_PORT - server.workers + 1} or less: of"
            f" {server.workers} workers the first has this one, and each other the next"
        )


def check_rules(rules: Sequence[RoomRule]) -> None:
    for number, rule in enumerate(rules):
        for earlier in rules[:number]:
            if fits(earlier.match, rule.match):  # a star fits a star, too
                raise ValueError(
                    f"room.{number}.match: got {rule.match!r} after {earlier.match!r}, takes a place before it:"
                    " the first that fits counts"
                )


def check_admin_token(token: str) -> None:
    if token and not re.fullmatch(rf"[!-~]{{{_SECRET_CHARACTERS},}}", token):
        raise ValueError(
            f"security.admin_token: takes {_SECRET_CHARACTERS} characters or more, of ASCII and without spaces,"
            " such as `openssl rand -hex 32` makes"
        )


def check_session_secret(secret: str) -> None:
    if secret and len(secret) < _SECRET_CHARACTERS:
        raise ValueError(
            f"security.session_secret: takes {_SECRET_CHARACTERS} characters or more,"
            " such as `openssl rand -hex 32` makes"
        )


def check_tokens(security: Security) -> None:
    sources = [name for name in ("token_key", "token_key_file", "token_jwks_url") if getattr(security, name)]
    if len(sources) > 1:
        raise ValueError(f"security.{sources[0]} and security.{sources[1]}: got both, takes one of them")
    of_tokens = [*sources, *(name for name in ("token_audience", "token_issuer") if getattr(security, name))]
    if of_tokens and security.mode == "anonymous":
        raise ValueError(f"security.mode: got 'anonymous', takes optional or required with security.{of_tokens[0]}")
    if not sources and security.mode != "anonymous":
        raise ValueError(
            f"security.mode: got {security.mode!r}, takes a key, too, to check tokens with: security.token_key,"
            " token_key_file or token_jwks_url"
        )
    shared = [algorithm.startswith("HS") for algorithm in security.token_algorithms]
    if any(shared) and not all(shared):
        raise ValueError("security.token_algorithms: got HS ones among others, takes one kind: they share no key")
    if any(shared) and security.token_jwks_url:
        raise ValueError("security.token_algorithms: got HS ones, takes such as RS256 or ES256 with token_jwks_url")
