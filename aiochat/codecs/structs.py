"""What JSON and MessagePack share: bytes to the structs of messages/, and a clear refusal for whatever is not one.

Nothing that a client sends raises; what it sent is never repeated to it, but for the names of fields.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol, Union

import msgspec

from aiochat.codecs.fields import DATA, EXPECTED, MAX_LEVELS, tag_of
from aiochat.errors import Reply
from aiochat.messages import COMMANDS, EVENTS, MAX_INTEGER, Call, Command, Direct, Event, Id, Publish

ANY_COMMAND: Final[Any] = Union[COMMANDS]  # noqa: UP007 - a union of a tuple's
ANY_EVENT: Final[Any] = Union[EVENTS]  # noqa: UP007
_EVENT_TAGS: Final = frozenset(map(tag_of, EVENTS))
_WITH_DATA: Final = frozenset((Publish, Direct, Call))
_MAX_REFUSED: Final = 100  # of one message, so that 64 KiB of rubbish take no 70 ms; the hub bears 20 bad ones a minute

_FIELDS: Final = frozenset({"type"}.union(*EXPECTED.values()))
_UNICODE: Final = "Unicode without lone surrogates, which are halves of a character"

_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
_KINDS: Final = _SCALARS | {list, dict}
_STRINGS: Final = frozenset((str,))

# How msgspec ends a complaint, and begins one about what is not there.
_PLACE: Final = re.compile(r" - at (`key` in )?`\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


class Decoder(Protocol):
    """What `msgspec.json.Decoder` and `msgspec.msgpack.Decoder` are."""

    def decode(self, payload: Any, /) -> Any: ...


class _Typed(msgspec.Struct):
    type: str


class _Numbered(msgspec.Struct):
    id: Id


_AS_TYPED: Final = partial(msgspec.convert, type=_Typed)
_AS_NUMBERED: Final = partial(msgspec.convert, type=_Numbered)


def is_json(data: Any) -> bool:
    """Whether `data` is what every codec can encode and every language's numbers hold."""
    level = [data]
    for _ in range(MAX_LEVELS + 1):
        kinds = set(map(type, level))
        if not _are_plain(level, kinds):
            return False
        if kinds <= _SCALARS:
            return True
        keys: list[Any] = []
        inner: list[Any] = []
        for value in level:
            if type(value) is list:
                inner += value
            elif type(value) is dict:
                keys += value
                inner += value.values()
        if not _STRINGS.issuperset(map(type, keys)):
            return False
        level = inner
    return False


def _are_plain(level: list[Any], kinds: set[type]) -> bool:
    if not kinds <= _KINDS:
        return False
    if int in kinds:
        integers = [value for value in level if type(value) is int]
        if min(integers) < -MAX_INTEGER or max(integers) > MAX_INTEGER:
            return False
    return float not in kinds or all(map(math.isfinite, [value for value in level if type(value) is float]))


class CommandReader:
    """Reads the commands of one encoding.

    `split` takes a message that is not one command apart, as far as it can be; `wanted` names what it should hold.
    `read_loosely` gives the fields of what is malformed only within them, if it can: a refusal is of use with its id.
    """

    def __init__(
        self,
        decoder: Callable[[Any], Decoder],
        split: Callable[[bytes], Iterable[bytes]],
        wanted: str,
        read_loosely: Callable[[bytes], dict[str, Any]] = lambda value: {},
    ) -> None:
        self._decode = decoder(ANY_COMMAND).decode
        self._typed = decoder(_Typed).decode
        self._numbered = decoder(_Numbered).decode
        self._split = split
        self._wanted = wanted
        self._read_loosely = read_loosely

    def read(self, payload: bytes) -> Sequence[Command | Reply]:
        """The commands in a message, a `Reply` in the place of each that cannot be understood."""
        try:
            command: Command = self._decode(payload)
        except Exception:
            return self._read_each(payload)
        return (self._checked(command),)

    def _read_each(self, payload: bytes) -> list[Command | Reply]:
        results: list[Command | Reply] = []
        refused = 0
        for value in self._split(payload):
            if refused == _MAX_REFUSED:
                results.append(Reply("too_long", f"after {refused} refused commands a message is not read on"))
                break
            result = self._one(value)
            results.append(result)
            refused += type(result) is Reply
        return results

    def _one(self, value: bytes) -> Command | Reply:
        try:
            command = self._decode(value)
        except Exception as error:
            return self._refusal(value, error)
        return self._checked(command)

    def _checked(self, command: Any) -> Command | Reply:
        if type(command) in _WITH_DATA and command.data is not None and not is_json(command.data):
            return _bad(DATA, "data", command.__struct_config__.tag, command.id)
        return command  # type: ignore[no-any-return]

    def _refusal(self, value: bytes, error: Exception) -> Reply:
        tag = _field(self._typed, value, "type")
        id = _field(self._numbered, value, "id")
        if tag is None and id is None and (refusal := _malformed_within(self._read_loosely(value))):
            return refusal
        if tag is not None and tag not in EXPECTED:
            return _unknown(id)
        if isinstance(error, msgspec.ValidationError):
            return _invalid(str(error), tag, id)
        if isinstance(error, RecursionError) or "hashable" in str(error):  # nothing else in a command is nested
            return _bad(DATA, "data", tag, id)
        if isinstance(error, UnicodeDecodeError):
            return _bad("text in UTF-8", None, tag, id)
        fault = str(error).rpartition("malformed: ")[2]
        return _bad(f"{self._wanted}: {fault[:1].lower()}{fault[1:]}", None, tag, id)


def _malformed_within(fields: dict[str, Any]) -> Reply | None:
    """The refusal of what JSON cannot say, though Python can, with who asked; `None` where there is no such thing."""
    first = _fault(fields)
    if first is None:
        return None
    known = {name: fields[name] for name in _FIELDS & fields.keys()}
    faults = {name: fault for name, value in known.items() if (fault := _fault(value))}
    sound = {name: value for name, value in known.items() if name not in faults}
    tag = _field(_AS_TYPED, sound, "type")
    id = _field(_AS_NUMBERED, sound, "id")
    if tag is not None and tag not in EXPECTED:
        return _unknown(id)
    expected = EXPECTED.get(tag or "", {"type": "the name of a command"})
    field = next((name for name in expected if name in faults), None)
    wanted = _UNICODE if faults.get(field or "", first) is UnicodeEncodeError else expected.get(field or "", DATA)
    return _bad(wanted, field, tag, id)


def _fault(value: Any) -> type[Exception] | None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except Exception as error:
        return type(error)
    return None


def _field(decode: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        return getattr(decode(value), name)
    except Exception:
        return None


def _invalid(complaint: str, tag: str | None, id: str | int | None) -> Reply:
    place = _PLACE.search(complaint)
    missing = _MISSING.match(complaint)
    path = [place[2].replace("[...]", "")] if place and place[2] else []
    field = ".".join(path + ([missing[1]] if missing else []))
    if place and place[1]:
        return _bad("keys that are strings", field or None, tag, id)
    expected = EXPECTED.get(tag or "", {}).get(field)
    if not expected:
        expected = "the name of a command" if field == "type" else "an object with a type"
    return _bad(expected + (", but it is missing" if missing else ""), field or None, tag, id)


def _unknown(id: str | int | None) -> Reply:
    return Reply("unknown_type", "there is no command of this type", field="type", id=id)


def _bad(expected: str, field: str | None, tag: str | None, id: str | int | None) -> Reply:
    where = f"{field}: " if field else ""
    return Reply("bad_message", f"{where}expected {expected}", field=field, command=tag, id=id)


class EventReader:
    """Reads the events of one encoding, for clients: what this version does not know of is left out."""

    def __init__(self, decoder: Callable[[Any], Decoder]) -> None:
        self._decode = decoder(ANY_EVENT).decode
        self._typed = decoder(_Typed).decode

    def read(self, values: Iterable[str | bytes]) -> list[Event]:
        """The events that the server sent. Raises `ValueError` for what is not one."""
        return [event for value in values if (event := self._one(value)) is not None]

    def _one(self, value: str | bytes) -> Event | None:
        try:
            return self._decode(value)  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            tag = _field(self._typed, value, "type")
            if tag is None or tag in _EVENT_TAGS:
                raise
            return None
        except RecursionError:
            raise ValueError("an event that is nested too deeply") from None
