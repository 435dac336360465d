"""Settings: `default.toml`, then `--config FILE`, then the environment, then flags, each over the one before.

Frozen and checked whole at the start; an unknown key or a bad value is a `ConfigError` of one line that names it.
Defaults, units and reasons are in `default.toml` alone.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from aiochat.errors import ConfigError

_HERE: Final = Path(__file__).parent
DEFAULT_FILE: Final = next(
    path for path in (_HERE / "default.toml", _HERE.parent / "config" / "default.toml") if path.exists()
)
_ENVIRONMENT_PREFIX: Final = "AIOCHAT_"
_NESTED: Final = "__"
_SQLITE: Final = "sqlite:///"
_ENVELOPE_BYTES: Final = 1024  # what an encoded message holds beside its text: room, name, offset, field names


# What a key takes, by the kind of pydantic's complaint.
_TAKES: Final = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "model_type": "a section with keys of its own",
    "string_type": "a text",
    "tuple_type": "a list",
    "value_error": "{error}",
}


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
        raise ValueError('a list such as ["same-origin"]') from None


Count = Annotated[int, Field(ge=0, le=1 << 40)]
Positive = Annotated[int, Field(ge=1, le=1 << 40)]
Duration = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveDuration = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Section):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    path: Annotated[str, AfterValidator(_url_path)]
    tls_certificate: str
    tls_key: str
    drain_seconds: PositiveDuration
    reconnect_spread_seconds: Duration


class Limits(_Section):
    max_message_bytes: Annotated[int, Field(ge=125, le=16 << 20)]
    max_clients: Positive
    max_clients_per_address: Count
    max_addresses: Positive
    max_rooms_per_client: Positive
    messages_per_second: Duration
    burst_messages: Annotated[int, Field(ge=10, le=1 << 40)]
    bytes_per_second: Count
    handshake_seconds: PositiveDuration


class Socket(_Section):
    send_buffer_bytes: Annotated[int, Field(ge=4096, le=1 << 30)]
    user_timeout_seconds: Duration
    write_buffer_bytes: Annotated[int, Field(ge=1, le=1 << 30)]


class Hub(_Section):
    inbox_per_client: Positive
    inbox_bytes: Positive


class Queue(_Section):
    max_messages: Positive
    max_bytes: Positive
    stall_seconds: PositiveDuration
    total_bytes: Positive


class Keepalive(_Section):
    ping_interval_seconds: PositiveDuration
    pong_timeout_seconds: PositiveDuration


class Batch(_Section):
    window_ms: Annotated[float, Field(ge=0, le=1000)]
    max_messages: Positive
    max_bytes: Positive


def _store_url(url: str) -> str:
    """Checked as far as a file is concerned; which schemes there are, the room log knows."""
    if url.startswith("sqlite:"):
        slashes, _, path = url.partition(_SQLITE)
        if slashes or not path or path.endswith("/") or re.search(r"[\0?#]|^:memory:$", path):
            raise ValueError("sqlite:///FILE, relative, or sqlite:////FILE, absolute")
    return url


class Store(_Section):
    url: Annotated[str, AfterValidator(_store_url)]
    synchronous: Literal["normal", "full"]
    max_keys: Positive
    pending_messages: Positive
    pending_bytes: Positive
    wait_seconds: PositiveDuration


class History(_Section):
    max_messages: Positive
    max_bytes: Positive
    max_rooms: Positive
    max_age_hours: Duration
    tail_messages: Positive
    tail_bytes: Positive
    on_join: Annotated[int, Field(ge=0, le=300)]
    key_minutes: PositiveDuration
    session_minutes: PositiveDuration


class Presence(_Section):
    grace_seconds: Duration
    interval_ms: Count
    list_up_to: Annotated[int, Field(ge=0, le=1000)]


class Security(_Section):
    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_json)]
    session_secret: str


class Logging(_Section):
    format: Literal["console", "json"]
    level: Literal["debug", "info", "warning", "error"]
    connections: bool


class Config(BaseSettings):
    """Everything that can be set; see `config/default.toml` for what each key means."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=_ENVIRONMENT_PREFIX,
        env_nested_delimiter=_NESTED,
        toml_file=DEFAULT_FILE,
    )

    server: Server
    limits: Limits
    socket: Socket
    hub: Hub
    queue: Queue
    keepalive: Keepalive
    batch: Batch
    store: Store
    history: History
    presence: Presence
    security: Security
    logging: Logging

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, deep_merge=True))

    @model_validator(mode="after")
    def _do_not_contradict(self) -> Self:
        if self.history.max_messages < 2 * self.queue.max_messages:
            raise ValueError(
                f"history.max_messages: got {self.history.max_messages}, takes at least twice queue.max_messages"
                f" ({2 * self.queue.max_messages}), so that who is dropped for being slow can catch up"
            )
        largest = max(self.batch.max_bytes, self.limits.max_message_bytes + _ENVELOPE_BYTES)
        if self.queue.max_bytes < 2 * largest:
            raise ValueError(
                f"queue.max_bytes: got {self.queue.max_bytes}, takes at least {2 * largest}, twice the larger of"
                " batch.max_bytes and a message of limits.max_message_bytes"
            )
        if bool(self.server.tls_certificate) != bool(self.server.tls_key):
            raise ValueError("server.tls_certificate and server.tls_key: got one of them, takes both or none")
        return self


def defaults() -> dict[str, Any]:
    """What `default.toml` says."""
    return tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8"))


def load(file: str | Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Read the settings in force; `flags` are nested like the file. Raises `ConfigError`."""
    files = [DEFAULT_FILE] if file is None else [DEFAULT_FILE, _readable(Path(file))]
    for name in os.environ:
        section, _, key = name.removeprefix(_ENVIRONMENT_PREFIX).lower().partition(_NESTED)
        if name.startswith(_ENVIRONMENT_PREFIX) and (section not in Config.model_fields or not key):
            raise ConfigError(f"{name}: no such setting; takes {_ENVIRONMENT_PREFIX}SECTION{_NESTED}KEY")
    layered = type("Config", (Config,), {"model_config": SettingsConfigDict(toml_file=files)})
    try:
        config: Config = layered(**(flags or {}))
    except ValidationError as error:
        raise ConfigError(_in_one_line(error)) from None
    return _at_home(config, Path.cwd() if file is None else Path(file).absolute().parent)


def _at_home(config: Config, home: Path) -> Config:
    """With the store's file, if it is relative, in that directory."""
    scheme, _, path = config.store.url.partition(_SQLITE)
    if scheme or not path:
        return config
    url = f"{_SQLITE}{home / path}"
    return config.model_copy(update={"store": config.store.model_copy(update={"url": url})})


def _readable(file: Path) -> Path:
    try:
        tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from None
    return file


def _in_one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    key = repr(".".join(map(str, location)))[1:-1]  # a key of TOML may hold a line break
    if first["type"] == "extra_forbidden":
        known = defaults() if len(location) == 1 else defaults()[str(location[0])]
        return f"{key}: no such setting; takes {', '.join(known)}"
    wanted = _TAKES.get(first["type"], "{msg}").format(**first, **first.get("ctx", {}))
    return f"{key}: got {first['input']!r}, takes {wanted}" if key else wanted


def as_toml(config: Config) -> str:
    """The settings in force, in the form of the file."""
    lines: list[str] = []
    for section, settings in config.model_dump(mode="json").items():
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join(lines[1:])
