"""What the fields of commands and events hold, in words: for the refusals of codecs, and for docs/protocol.md."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import inspect

from aiochat.messages import COMMANDS, MAX_INTEGER

MAX_LEVELS: Final = 32
DATA: Final = (
    "what JSON can say: string keys, Unicode text, finite numbers, integers within 2^53 - 1,"
    f" {MAX_LEVELS} levels at most"
)

_BOUNDS: Final = {MAX_INTEGER: "2^53 - 1"}


def struct_of(kind: type) -> inspect.StructType:
    """What msgspec knows of a struct."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


def tag_of(kind: type) -> str:
    """The `type` that a command or event has on the wire."""
    return str(struct_of(kind).tag)


def described(info: inspect.Type, object_name: Callable[[inspect.StructType], str]) -> str:
    """A type without its article; `object_name` says how a struct is called."""
    return _WORDS[type(info)](info, object_name)


def _string(info: inspect.StrType, object_name: object) -> str:
    if info.min_length:
        return f"string of {info.min_length} to {info.max_length} characters"
    return "string" if info.max_length is None else f"string of at most {info.max_length} characters"


def _integer(info: inspect.IntType, object_name: object) -> str:
    if info.ge is None or info.le is None:
        return "integer"
    if info.ge == -info.le:
        return f"integer within {_BOUNDS.get(info.le, info.le)}"
    return f"integer from {info.ge} to {_BOUNDS.get(info.le, info.le)}"


def alternatives(info: inspect.Type) -> list[inspect.Type]:
    """The types that a field takes beside null, which is the same as its absence."""
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]


def _union(info: inspect.UnionType, object_name: Callable[[inspect.StructType], str]) -> str:
    return " or ".join(described(kind, object_name) for kind in alternatives(info))


_WORDS: Final[dict[type[inspect.Type], Callable[..., str]]] = {
    inspect.AnyType: lambda info, object_name: "any JSON",
    inspect.BoolType: lambda info, object_name: "boolean",
    inspect.DictType: lambda info, object_name: (
        f"object, each value {_with_article(described(info.value_type, object_name))}"
    ),
    inspect.FloatType: lambda info, object_name: "number",
    inspect.IntType: _integer,
    inspect.StrType: _string,
    inspect.StructType: lambda info, object_name: object_name(info),
    inspect.UnionType: _union,
    inspect.VarTupleType: lambda info, object_name: f"array of {described(info.item_type, object_name)}",
}


def _with_fields(info: inspect.StructType) -> str:
    return f"object with {' and '.join(field.encode_name for field in info.fields)}"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def _expected(info: inspect.Type) -> str:
    if isinstance(info, inspect.AnyType):
        return DATA
    return " or ".join(_with_article(described(kind, _with_fields)) for kind in alternatives(info))


def structs_in(info: inspect.Type) -> Iterator[inspect.StructType]:
    """The structs that a field holds, alone, among others, in an array or by key."""
    for kind in alternatives(info):
        if isinstance(kind, inspect.StructType):
            yield kind
        elif isinstance(kind, inspect.DictType):
            yield from structs_in(kind.value_type)
        elif isinstance(kind, inspect.VarTupleType):
            yield from structs_in(kind.item_type)


def _expectations(struct: inspect.StructType, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every path to a field, and what is expected there."""
    for field in struct.fields:
        path = prefix + field.encode_name
        yield path, _expected(field.type)
        for inner in structs_in(field.type):
            yield from _expectations(inner, f"{path}.")


# By command and field, as in `EXPECTED["join"]["since.offset"]`.
EXPECTED: Final[dict[str, dict[str, str]]] = {
    tag_of(command): dict(_expectations(struct_of(command))) for command in COMMANDS
}
