"""`make protocol`: the JSON Schema that the package ships and the tables of docs/protocol.md, made of messages/.

With `--check` nothing is written, and it fails where one of the two is not current.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.inspect import StructType

from aiochat.codecs.fields import described, struct_of, structs_in
from aiochat.codecs.structs import ANY_COMMAND, ANY_EVENT
from aiochat.messages import COMMANDS, EVENTS, Answer

SCHEMA: Final = Path(__file__).parent / "protocol.schema.json"
DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "protocol.md"

_BEGIN: Final = "<!-- {} (made by `make protocol`) -->\n"
_END: Final = "<!-- end of {} -->\n"


def schema() -> dict[str, Any]:
    """All commands and events: `#/$defs/Command` and `#/$defs/Event` are what each side sends."""
    (command, event), structs = msgspec.json.schema_components((ANY_COMMAND, ANY_EVENT), ref_template="#/$defs/{name}")
    for struct in structs.values():
        struct["description"] = " ".join(struct["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "aiochat.v1",
        "description": "What the subprotocols aiochat.v1.json and aiochat.v1.msgpack say; see docs/protocol.md.",
        "anyOf": [{"$ref": "#/$defs/Command"}, {"$ref": "#/$defs/Event"}],
        "$defs": {"Command": command, "Event": event, **dict(sorted(structs.items()))},
    }


def sections() -> dict[str, str]:
    """The generated parts of docs/protocol.md by the name in their markers."""
    return {
        "commands": "\n".join(map(_section, COMMANDS)),
        "events": "\n".join(map(_section, EVENTS)),
        "objects": "\n".join(map(_section, _objects())),
    }


def _objects() -> list[type]:
    """The structs that stand in fields and are not events themselves, in the order in which they come up."""
    found: dict[type, None] = {}
    for kind in (*COMMANDS, *EVENTS):
        for field in struct_of(kind).fields:
            found |= dict.fromkeys(struct.cls for struct in structs_in(field.type) if struct.tag is None)
    return list(found)


def _title(struct: StructType) -> str:
    return str(struct.tag or struct.cls.__name__)


def _link(struct: StructType) -> str:
    return f"[{_title(struct)}](#{_title(struct).lower()})"


def _section(kind: type) -> str:
    struct = struct_of(kind)
    answers = ["*Repeats the `id` of the command that it answers.*"] if issubclass(kind, Answer) else []
    paragraphs = [f"#### {_title(struct)}", *answers, *_paragraphs(kind), *_table(struct)]
    return "\n\n".join(paragraphs) + "\n"


def _paragraphs(kind: type) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (inspect.getdoc(kind) or "").split("\n\n")]


def _table(struct: StructType) -> Iterator[str]:
    """One row a field, but for `id`, which all commands and answers have in common."""
    rows = [
        f"| `{field.encode_name}` | {described(field.type, _link)} | {'required' if field.required else 'optional'} |"
        for field in struct.fields
        if field.name != "id"
    ]
    if rows:
        yield "\n".join(["| field | type | |", "|---|---|---|", *rows])


def with_sections(document: str) -> str:
    """The document with its generated parts made anew. Raises `ValueError` where a marker is missing."""
    for name, text in sections().items():
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = document.partition(begin)
        _, marker, after = rest.partition(end)
        if not marker:
            raise ValueError(f"{DOCUMENT.name}: the markers of {name} are missing")
        document = f"{before}{begin}\n{text}\n{end}{after}"
    return document


def _current() -> dict[Path, str]:
    indented = msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"
    return {SCHEMA: indented, DOCUMENT: with_sections(DOCUMENT.read_text(encoding="utf-8"))}


def main(arguments: Iterable[str]) -> int:
    """Write what is not current; with `--check`, name it instead and return 1."""
    stale = [
        (file, text)
        for file, text in _current().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    if "--check" not in arguments:
        for file, text in stale:
            file.write_text(text, encoding="utf-8")
        return 0
    for file, _ in stale:
        sys.stderr.write(f"{file.name} is not current: make protocol\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
