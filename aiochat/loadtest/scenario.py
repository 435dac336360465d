"""What a load test does: a scenario, read from a small TOML file and checked whole before anything is started.

Keys and their units are explained in `config/loadtest/chat.toml`; an unknown key or a bad value is one line.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec
from msgspec import Meta

from aiochat.loadtest.meter import lines

_HERE: Final = Path(__file__).parent
FOLDER: Final = next(
    (path for path in (_HERE / "scenarios", _HERE.parent.parent / "config" / "loadtest") if path.is_dir()),
    _HERE / "scenarios",
)
FIRST: Final = ("chat", "broadcast", "storm", "idle")  # what one should see first
MOST: Final = 0  # clients = "most": as many as the descriptor limits allow
MAX_CLIENTS: Final = 10_000_000
MAX_SIZE: Final = 1 << 20
NEWCOMER_NUMBERS: Final = 1024  # at least, for those who are there at the same time, in all processes
_JSON_ONLY: Final = ("typing_per_second", "moves_per_second", "cuts_per_second", "storms")
_UNSTEADY: Final = (*_JSON_ONLY, "newcomers_per_second", "slow")

Count = Annotated[int, Meta(ge=0, le=MAX_CLIENTS, description="a whole number, 0 or more")]
Rate = Annotated[float, Meta(ge=0, le=1e9, description="a number, 0 or more")]
Duration = Annotated[float, Meta(gt=0, le=1e6, description="a number of seconds above 0")]


class CannotRun(Exception):
    """A load test that cannot be run: one line for the user, exit code 2."""


class Rooms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the clients (0 to 1), in rooms of this many members."""

    size: Annotated[int, Meta(ge=1)]
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One load; each client is in one room, in the order of `room_sizes`."""

    title: Annotated[str, Meta(description="a line of text")] = ""
    clients: Annotated[int, Meta(ge=MOST, le=MAX_CLIENTS, description='a whole number above 0, or "most"')] = 1000
    rooms: Annotated[
        tuple[Rooms, ...], Meta(description="a list such as [{ size = 200, share = 0.5 }, { size = 5, share = 0.5 }]")
    ] = ()
    codec: Annotated[Literal["json", "text", "socketio"], Meta(description='"json", "text" or "socketio"')] = "json"
    senders: Annotated[
        Annotated[int, Meta(ge=0, le=lines.MAX_SENDERS)] | Literal["all"],
        Meta(description=f'a whole number from 0 to {lines.MAX_SENDERS}, or "all"'),
    ] = "all"
    rate: Rate = 0.0
    window: Count = 0
    size: Annotated[
        int,
        Meta(
            ge=lines.HEAD_BYTES,
            le=MAX_SIZE,
            description=f"{lines.HEAD_BYTES} to {MAX_SIZE} bytes: sender, number and time must fit in",
        ),
    ] = 100
    seconds: Duration = 10.0
    warmup: Annotated[float, Meta(ge=0, le=1e6, description="a number of seconds, 0 or more")] = 2.0
    typing_per_second: Rate = 0.0
    moves_per_second: Rate = 0.0
    cuts_per_second: Rate = 0.0
    storms: Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")] = 0
    newcomers_per_second: Rate = 0.0
    slow: Count = 0

    @property
    def readers(self) -> int:
        return self.clients - self.slow

    @property
    def sender_count(self) -> int:
        """How many of the readers send; nobody, where neither a rate nor a window says how much."""
        if not self.rate and not self.window:
            return 0
        return min(self.readers, lines.MAX_SENDERS) if self.senders == "all" else self.senders

    @property
    def steady(self) -> bool:
        """Whether all stay where they are, read, and do nothing but send: what any broadcast server can be given."""
        return not any(getattr(self, key) for key in _UNSTEADY)

    @property
    def most_clients(self) -> int:
        """Newcomers have the numbers that no client has."""
        return lines.MAX_SENDERS - NEWCOMER_NUMBERS if self.newcomers_per_second else MAX_CLIENTS

    @property
    def aiochat_only(self) -> str:
        """The first key that asks for what only a server of aiochat.v1.json can do, if there is one."""
        return next((key for key in _JSON_ONLY if getattr(self, key)), "")

    def room_sizes(self) -> list[int]:
        """Members of each room; they add up to all clients. The last room of a share may have fewer than its size."""
        sizes, placed, share = [], 0, 0.0
        for group in self.rooms or (Rooms(size=max(1, self.clients), share=1.0),):
            share += group.share
            members = round(share * self.clients) - placed
            placed += members
            sizes += [min(group.size, members - first) for first in range(0, members, group.size)]
        return sizes


_KEYS: Final = get_type_hints(Scenario, include_extras=True)


def names() -> list[str]:
    """Those that come with aiochat, the most useful first."""
    found = {path.stem for path in FOLDER.glob("*.toml")}
    return [name for name in FIRST if name in found] + sorted(found.difference(FIRST))


def load(name: str, overrides: Mapping[str, Any]) -> Scenario:
    """The scenario of this name, or in the file of this path (ends in .toml), with `overrides` over it."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise CannotRun(f"there is no scenario {name!r}{_nearest(name, names())} (a file of your own ends in .toml)")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not there, not UTF-8, not TOML
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotRun(f"{str(path)!r} cannot be read: {reason}") from None
    checked = _checked(given, path.name) | _checked(overrides, "--set")
    scenario = Scenario(**checked)
    _check(scenario)
    return scenario


def override(argument: str) -> tuple[str, Any]:
    """KEY=VALUE of the command line; VALUE is TOML, and what is not TOML is a string."""
    key, equals, value = argument.partition("=")
    if not equals:
        raise CannotRun(f"--set {argument!r}: it takes KEY=VALUE, such as rate=500")
    try:
        read = tomllib.loads(f"value = {value}")
    except ValueError:
        return key.strip(), value
    return key.strip(), read["value"] if len(read) == 1 else value


def content(scenario: Scenario) -> dict[str, object]:
    """As a file would say it."""
    said: dict[str, object] = msgspec.to_builtins(scenario)
    return said | ({"clients": "most"} if scenario.clients == MOST else {})


def _checked(given: Mapping[str, Any], origin: str) -> dict[str, Any]:
    return {key: _value(key, value, origin) for key, value in given.items()}


def _value(key: str, value: object, origin: str) -> Any:
    if key not in _KEYS:
        raise CannotRun(f"{origin}: there is no key {key!r}{_nearest(key, _KEYS)}")
    if (key, value) == ("clients", "most"):
        return MOST
    try:
        if (key, value) == ("clients", 0) or (isinstance(value, float) and not math.isfinite(value)):
            raise msgspec.ValidationError
        return msgspec.convert(value, _KEYS[key])
    except msgspec.ValidationError:
        takes = next(meta.description for meta in _KEYS[key].__metadata__)
        raise CannotRun(f"{origin}: {key} is {value!r}; it takes {takes}") from None


def _nearest(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _check(scenario: Scenario) -> None:
    """Contradictions between keys; each line says what to change."""
    speech = scenario.rate or scenario.window
    asked = 0 if scenario.senders == "all" else scenario.senders
    shares = sum(group.share for group in scenario.rooms)
    rules = (
        (
            not (scenario.rate and scenario.window),
            "rate (open loop) and window (closed loop) exclude each other: set one to 0",
        ),
        (speech or not asked, f"senders is {asked}, and neither rate nor window says how much they send"),
        (not speech or scenario.senders, "rate and window need senders, and senders is 0"),
        (
            scenario.clients == MOST or asked + scenario.slow <= scenario.clients,
            f"senders and slow together ({asked + scenario.slow}) are more than clients ({scenario.clients})",
        ),
        (
            not scenario.aiochat_only or scenario.codec == "json",
            f'{scenario.aiochat_only} needs codec = "json"; codec is "{scenario.codec}"',
        ),
        (
            scenario.clients <= scenario.most_clients,
            f"clients is {scenario.clients}; with newcomers, who need sender numbers, {scenario.most_clients} at most",
        ),
        (not scenario.rooms or abs(shares - 1) < 0.001, f"the shares of rooms add up to {shares:g}; they must to 1"),
    )
    for kept, reason in rules:
        if not kept:
            raise CannotRun(reason)
