"""Settings: `default.toml`, then `--config FILE`, then the environment, then flags, each over the one before.

Frozen and checked whole at the start; an unknown key or a bad value is a `ConfigError` of one line that names it.
Defaults, units and reasons are in `default.toml` alone.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from aiochat.errors import ConfigError
from aiochat.roomlog.urls import shown
from aiochat.settings import (
    SQLITE,
    Batch,
    History,
    Hooks,
    Hub,
    Keepalive,
    Limits,
    Logging,
    Presence,
    Queue,
    RoomRule,
    Security,
    Server,
    Socket,
    Store,
    check_admin_token,
    check_rules,
    check_session_secret,
    check_tokens,
    check_workers,
)

__all__ = [
    "DEFAULT_FILE",
    "TOKEN_VARIABLE",
    "Batch",
    "Config",
    "History",
    "Hooks",
    "Hub",
    "Keepalive",
    "Limits",
    "Logging",
    "Presence",
    "Queue",
    "RoomRule",
    "Security",
    "Server",
    "Socket",
    "Store",
    "as_toml",
    "defaults",
    "is_secret",
    "load",
]

_HERE: Final = Path(__file__).parent
DEFAULT_FILE: Final = next(
    path for path in (_HERE / "default.toml", _HERE.parent / "config" / "default.toml") if path.exists()
)
_ENVIRONMENT_PREFIX: Final = "AIOCHAT_"
_NESTED: Final = "__"
TOKEN_VARIABLE: Final = "AIOCHAT_TOKEN"  # what `aiochat chat` shows the server
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
    "missing": "a value for it",
    "model_type": "a section with keys of its own",
    "string_type": "a text",
    "too_short": "{min_length} of them or more",
    "tuple_type": "a list",
    "value_error": "{error}",
}


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
    hooks: Hooks
    security: Security
    logging: Logging
    room: tuple[RoomRule, ...] = ()

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
        check_workers(self.server, self.store)
        if bool(self.server.tls_certificate) != bool(self.server.tls_key):
            raise ValueError("server.tls_certificate and server.tls_key: got one of them, takes both or none")
        check_tokens(self.security)
        check_rules(self.room)
        check_admin_token(self.security.admin_token)
        check_session_secret(self.security.session_secret)
        return self


def defaults() -> dict[str, Any]:
    """What `default.toml` says."""
    return tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8"))


def load(file: str | Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """Read the settings in force; `flags` are nested like the file. Raises `ConfigError`."""
    files = [DEFAULT_FILE] if file is None else [DEFAULT_FILE, _readable(Path(file))]
    for name in os.environ:
        section, _, key = name.removeprefix(_ENVIRONMENT_PREFIX).lower().partition(_NESTED)
        if name == TOKEN_VARIABLE:
            continue
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
    scheme, _, path = config.store.url.partition(SQLITE)
    if scheme or not path:
        return config
    url = f"{SQLITE}{home / path}"
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
        section = Config if len(location) == 1 else _SECTIONS[str(location[0])]
        return f"{key}: no such setting; takes {', '.join(section.model_fields)}"
    if location and is_secret(str(location[0]), str(location[-1])):
        return f"{key}: takes a text"  # and what it got is nobody's business
    wanted = _TAKES.get(first["type"], "{msg}").format(**first, **first.get("ctx", {}))
    return f"{key}: got {_without_passwords(repr(first['input']))}, takes {wanted}" if key else wanted


def as_toml(config: Config) -> str:
    """The settings in force, in the form of the file."""
    lines: list[str] = []
    for section, settings in config.model_dump(mode="json").items():
        tables = settings if isinstance(settings, list) else [settings]
        header = f"[[{section}]]" if tables is settings else f"[{section}]"
        for table in tables:
            lines += ["", header, *_lines(section, table)]
    return "\n".join(lines[1:])


def _lines(section: str, settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if value and is_secret(section, key):
            yield f'# {key} = "***" is set, and not shown'
        else:
            yield f"{key} = {_without_passwords(json.dumps(value, ensure_ascii=False))}"


def _without_passwords(text: str) -> str:
    return _URL.sub(lambda url: shown(url[0]), text)


def is_secret(section: str, key: str) -> bool:
    """Whether what is set there is shown to nobody."""
    field = _SECTIONS[section].model_fields.get(key)
    return field is not None and "secret" in field.metadata


_URL: Final = re.compile(r"\b(?!sqlite:)[a-z+]+://[^\"']*")
_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "room": RoomRule,
    **{name: field.annotation for name, field in Config.model_fields.items() if isinstance(field.annotation, type)},
}
