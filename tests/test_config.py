"""Settings: where they come from, which goes over which, and what is said about those that cannot be."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiochat.config import DEFAULT_FILE, as_toml, defaults, load
from aiochat.errors import ConfigError

FOLDER = Path(__file__).parent.parent / "config"
A_SETTING = re.compile(r"(?P<key>[a-z_]+) = (?P<value>\S+) +# (?P<comment>.+)")
IN_FORCE = load()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables; AIOCHAT_ is put before each."""

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"AIOCHAT_{name}", value)

    return set_all


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration file."""

    def write(content: str) -> Path:
        path = tmp_path / "chat.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


def complaint(file: Path | None = None, flags: dict[str, Any] | None = None) -> str:
    """What is said about settings that cannot be used: one line."""
    with pytest.raises(ConfigError) as refused:
        load(file, flags)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


# The files.


def test_every_setting_has_its_default_in_the_file() -> None:
    """No section, no key more or less than the program knows, in the same order."""
    known = {section: list(settings) for section, settings in IN_FORCE.model_dump(exclude={"room"}).items()}
    assert {section: list(settings) for section, settings in defaults().items()} == known


def test_every_setting_says_what_it_is_for() -> None:
    """Each line of default.toml that sets something has a comment of at least three words, or is a plain file name."""
    lines = [line for line in DEFAULT_FILE.read_text(encoding="utf-8").splitlines() if re.match("[a-z_]+ = ", line)]
    assert len(lines) == sum(map(len, defaults().values()))
    for line in lines:
        setting = A_SETTING.fullmatch(line)
        assert setting, line
        assert len(setting["comment"].split()) >= 3 or setting["comment"] == "PEM file", line


@pytest.mark.parametrize("name", ["production.toml", "loadtest.toml"])
def test_a_file_we_ship_holds_only_what_differs(name: str) -> None:
    """It loads, is in force, and repeats no default."""
    config = load(FOLDER / name).model_dump(mode="json")
    for section, settings in tomllib.loads((FOLDER / name).read_text(encoding="utf-8")).items():
        for key, value in settings.items():
            assert config[section][key] == value
            assert value != defaults()[section][key]


def test_the_load_test_runs_the_default_without_limits_of_one_client() -> None:
    """All else is the server that people run."""
    loadtest, default = (load(FOLDER / f"{name}.toml").model_dump() for name in ("loadtest", "default"))
    off = {"messages_per_second": 0, "bytes_per_second": 0, "max_clients": 1_000_000}
    assert loadtest["limits"] == default["limits"] | off
    assert {**loadtest, "limits": 0, "store": 0} == {**default, "limits": 0, "store": 0}


# The layers.


def test_each_layer_goes_over_the_one_before(file: Callable[[str], Path], environment: Callable[..., None]) -> None:
    """Default, file, environment, flags; each changes what it names and nothing else."""
    over = file('[server]\nhost = "file"\nport = 1\ndrain_seconds = 3\n[limits]\nmax_clients = 7')
    environment(SERVER__PORT="2", SERVER__DRAIN_SECONDS="4")
    server = load(over, {"server": {"drain_seconds": "5"}}).server
    assert (server.path, server.host, server.port, server.drain_seconds) == ("/ws", "file", 2, 5)
    assert load(over).limits == IN_FORCE.limits.model_copy(update={"max_clients": 7})


def test_a_list_replaces_a_list(file: Callable[[str], Path]) -> None:
    """Who names origins wants these, and not the default beside them."""
    origins = load(file('[security]\nallowed_origins = ["https://a.example"]')).security.allowed_origins
    assert origins == ("https://a.example",)


def test_the_environment_gives_lists_as_json(environment: Callable[..., None]) -> None:
    """As it has nothing but text."""
    environment(SECURITY__ALLOWED_ORIGINS='["https://a.example", "https://b.example"]')
    assert load().security.allowed_origins == ("https://a.example", "https://b.example")


def test_other_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOST, PORT and the like belong to the shell."""
    for name in ("HOST", "PORT", "SERVER__PORT", "URL"):
        monkeypatch.setenv(name, "7")
    assert as_toml(load()) == as_toml(IN_FORCE)


def test_settings_are_frozen() -> None:
    """What was checked at the start is what holds."""
    with pytest.raises(ValidationError):
        IN_FORCE.server.port = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        IN_FORCE.server = IN_FORCE.server  # type: ignore[misc]


# What cannot be.


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("port = 9000", "port: no such setting; takes server, limits, "),
        ("[serve]\nport = 9000", "serve: no such setting; takes server, limits, "),
        ("[server]\nprot = 9000", "server.prot: no such setting; takes host, port, "),
        ('[server]\n"a\\nb" = 1', "server.a\\nb: no such setting; takes host, "),
        ("server = 9000", "server: got 9000, takes a section with keys of its own"),
        ("[server.port]\nx = 1", "server.port: got {'x': 1}, takes a whole number"),
        ('[server]\nport = "http"', "server.port: got 'http', takes a whole number"),
        ("[server]\nport = 80.5", "server.port: got 80.5, takes a whole number"),
        ("[server]\nport = []", "server.port: got [], takes a whole number"),
        ("[server]\nport = 65536", "server.port: got 65536, takes 65535 or less"),
        ("[server]\nport = -1", "server.port: got -1, takes 0 or more"),
        ("[server]\nhost = 127", "server.host: got 127, takes a text"),
        ('[server]\npath = "/ws/"', "server.path: got '/ws/', takes a path such as /ws or /chat/ws, "),
        ('[server]\npath = "/{room}"', "server.path: got '/{room}', takes a path such as /ws or /chat/ws, "),
        ("[server]\ndrain_seconds = 0", "server.drain_seconds: got 0, takes a number above 0"),
        ("[limits]\nmessages_per_second = nan", "limits.messages_per_second: got nan, takes a finite number"),
        ('[limits]\nmessages_per_second = "x"', "limits.messages_per_second: got 'x', takes a number"),
        ("[limits]\nmessages_per_second = []", "limits.messages_per_second: got [], takes a number"),
        ("[limits]\nburst_messages = 9", "limits.burst_messages: got 9, takes 10 or more"),
        ('[logging]\nlevel = "loud"', "logging.level: got 'loud', takes 'debug', 'info', 'warning' or 'error'"),
        ('[logging]\nconnections = "perhaps"', "logging.connections: got 'perhaps', takes true or false"),
        ("[logging]\nconnections = []", "logging.connections: got [], takes true or false"),
        ('[security]\nallowed_origins = "*"', "security.allowed_origins: got '*', takes a list such as [\"same-origin"),
        ("[security]\nallowed_origins = 5", "security.allowed_origins: got 5, takes a list"),
        ("[security]\ntoken_algorithms = []", "security.token_algorithms: got [], takes 1 of them or more"),
        (
            '[security]\ntoken_audience = "x"',
            "security.mode: got 'anonymous', takes optional or required with security.t",
        ),
        (
            '[security]\ntoken_issuer = "x"',
            "security.mode: got 'anonymous', takes optional or required with security.t",
        ),
        ('[security]\nsession_secret = "short"', "security.session_secret: takes 16 characters or more"),
        ("[security]\nallowed_origins = [5]", "security.allowed_origins.0: got 5, takes a text"),
        ("[queue]\nmax_messages = 10001", "history.max_messages: got 20000, takes at least twice queue.max_messages"),
        ("[queue]\nmax_bytes = 133119", "queue.max_bytes: got 133119, takes at least 133120, twice the larger of "),
        ("[batch]\nmax_bytes = 1048576", "queue.max_bytes: got 1048576, takes at least 2097152, twice the larger of "),
        ('[server]\ntls_key = "key.pem"', "server.tls_certificate and server.tls_key: got one of them, takes both"),
    ],
)
def test_a_setting_that_cannot_be_is_named(file: Callable[[str], Path], toml: str, said: str) -> None:
    """One line: the key, what it got, and what it takes."""
    assert complaint(file(toml)).startswith(said)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PORT", "1", "AIOCHAT_PORT: no such setting; takes AIOCHAT_SECTION__KEY"),
        ("SERVE__PORT", "1", "AIOCHAT_SERVE__PORT: no such setting; takes AIOCHAT_SECTION__KEY"),
        ("SERVER", '{"port": 1}', "AIOCHAT_SERVER: no such setting; takes AIOCHAT_SECTION__KEY"),
        ("SERVER__PROT", "1", "server.prot: no such setting; takes host, port, "),
        ("SERVER__PORT", "", "server.port: got '', takes a whole number"),
        ("SERVER__PORT__X", "1", "server.port: got {'x': '1'}, takes a whole number"),
        ("LOGGING__CONNECTIONS", "maybe", "logging.connections: got 'maybe', takes true or false"),
        ("SECURITY__ALLOWED_ORIGINS", "*", "security.allowed_origins: got '*', takes a list such as "),
    ],
)
def test_a_variable_that_cannot_be_is_named(
    environment: Callable[..., None], variable: str, value: str, said: str
) -> None:
    """A misspelt variable would otherwise be ignored without a word."""
    environment(**{variable: value})
    assert complaint().startswith(said)


def test_a_flag_that_cannot_be_is_named() -> None:
    """Flags come as text, and are checked like the rest."""
    assert complaint(flags={"server": {"port": "eighty"}}) == "server.port: got 'eighty', takes a whole number"


def test_a_kind_of_complaint_that_nobody_thought_of_is_still_one_line() -> None:
    """In pydantic's words."""
    assert "takes" in complaint(flags={"server": {"port": "9" * 5000}})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, or a folder."""
    absent = tmp_path / "absent.toml"
    assert complaint(absent) == f"{absent}: cannot be read: No such file or directory"
    assert complaint(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("content", [b"port = = 1", b"[server", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """With the place where it ceases to be."""
    broken = tmp_path / "broken.toml"
    broken.write_bytes(content)
    assert re.match(
        rf"{re.escape(str(broken))}: is not TOML: .*(line \d+|end of document|position \d+)", complaint(broken)
    )


# The way back.

texts = st.text(st.characters(exclude_categories=["C", "Z"]))


@given(host=texts, origins=st.lists(texts, max_size=3), seconds=st.floats(1e-9, 1e9), connections=st.booleans())
def test_what_is_printed_says_what_is_in_force(
    host: str, origins: list[str], seconds: float, connections: bool
) -> None:
    """`aiochat config` prints TOML, whatever the values."""
    config = IN_FORCE.model_copy(
        update={
            "server": IN_FORCE.server.model_copy(update={"host": host, "drain_seconds": seconds}),
            "security": IN_FORCE.security.model_copy(update={"allowed_origins": tuple(origins)}),
            "logging": IN_FORCE.logging.model_copy(update={"connections": connections}),
        }
    )
    assert tomllib.loads(as_toml(config)) == config.model_dump(mode="json", exclude={"room"})


def test_what_is_printed_can_be_given_back(file: Callable[[str], Path]) -> None:
    """A printed configuration is a configuration file."""
    printed = as_toml(load(FOLDER / "production.toml"))
    assert as_toml(load(file(printed))) == printed


def test_secrets_are_printed_nowhere(environment: Callable[..., None]) -> None:
    """Neither by `aiochat config`, whose output still is a file to use, nor in what is said of one that cannot be."""
    secret = "a secret of more than thirty-two bytes"
    environment(SECURITY__MODE="required", SECURITY__TOKEN_KEY=secret, SECURITY__SESSION_SECRET=secret)
    printed = as_toml(load(flags={"security": {"token_issuer": "https://user:password@login.example"}}))
    assert '# token_key = "***" is set, and not shown' in printed
    assert '# session_secret = "***" is set, and not shown' in printed
    assert 'token_issuer = "https://***@login.example"' in printed
    assert secret not in printed
    assert secret not in complaint(flags={"security": {"token_key": [secret]}})


def test_rules_for_rooms_are_printed_as_they_stand_in_a_file(file: Callable[[str], Path]) -> None:
    """One table each, in their order, with the form that the server makes of a pattern."""
    config = load(file('[[room]]\nmatch = "News-*"\npublish = "api"\n[[room]]\nmatch = "*"\nhistory = false\n'))
    assert [(rule.match, rule.publish, rule.history) for rule in config.room] == [
        ("news-*", "api", True),
        ("*", "all", False),
    ]
    assert load(file(as_toml(config))).room == config.room


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[room]]\npublish = 'api'", "room.0.match"),
        ("[[room]]\nmatch = 'a'\npublish = 'nobody'", "room.0.publish: got 'nobody', takes 'all', 'users' or 'api'"),
        ("[[room]]\nmatch = 'a b'", "room.0.match: got 'a b', takes a pattern of rooms such as team-*"),
        ("[[room]]\nmatch = 'a'\nmute = true", "room.0.mute: no such setting; takes match, join, publish"),
        ("[room]\nmatch = 'a'", "room: "),
        (
            "[[room]]\nmatch = 'team-*'\n[[room]]\nmatch = 'team-a*'",
            "room.1.match: got 'team-a*' after 'team-*', takes a place before it",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_named(file: Callable[[str], Path], content: str, said: str) -> None:
    """The table by its number, the key, and what it takes."""
    assert complaint(file(content)).startswith(said)
