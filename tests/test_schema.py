"""The JSON Schema and docs/protocol.md: current, whole, and right about what goes over the wire."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from aiochat import messages as m
from aiochat import schema
from aiochat.codecs.fields import struct_of, tag_of
from aiochat.codecs.json import JsonCodec
from aiochat.errors import Close
from tests.strategies import ANY_COMMAND, ANY_EVENT

codec = JsonCodec()
DOCUMENT = schema.DOCUMENT.read_text(encoding="utf-8")
SCHEMA = msgspec.json.decode(schema.SCHEMA.read_bytes())
EXAMPLES = re.findall(r"^([<>]) (\{.*\})$", DOCUMENT, re.MULTILINE)


def validator(kind: str) -> Draft202012Validator:
    """For what one side sends."""
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})


COMMAND, EVENT = validator("Command"), validator("Event")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Copies that a test may spoil."""
    copies = tmp_path / "protocol.schema.json", tmp_path / "protocol.md"
    for name, original, copy in zip(("SCHEMA", "DOCUMENT"), (schema.SCHEMA, schema.DOCUMENT), copies, strict=True):
        copy.write_bytes(original.read_bytes())
        monkeypatch.setattr(schema, name, copy)
    return copies


def test_both_are_current() -> None:
    """Whoever changes messages/ runs `make protocol`."""
    assert schema.main(["--check"]) == 0


def test_what_is_stale_is_named_and_made_anew(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` fails and writes nothing; without it both are as they were."""
    originals = [file.read_text(encoding="utf-8") for file in files]
    files[0].unlink()
    files[1].write_text(originals[1].replace("| `room` |", "| `place` |"), encoding="utf-8")
    assert schema.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "protocol.schema.json is not current: make protocol",
        "protocol.md is not current: make protocol",
    ]
    assert not files[0].exists()
    assert schema.main([]) == 0
    assert [file.read_text(encoding="utf-8") for file in files] == originals


def test_a_document_without_its_markers_is_an_error(files: tuple[Path, Path]) -> None:
    """The tables are never just left out."""
    files[1].write_text("# The wire protocol\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the markers of commands are missing"):
        schema.main([])


@pytest.mark.parametrize("kind", [*m.COMMANDS, *m.EVENTS])
def test_every_command_and_event_is_described(kind: type[m.Command | m.Event]) -> None:
    """By a heading, and all its fields in one table under it."""
    sections = [text.split("\n#### ")[0] for text in DOCUMENT.split(f"\n#### {tag_of(kind)}\n")[1:]]
    fields = [field.encode_name for field in struct_of(kind).fields if field.name != "id"]
    assert any(all(f"| `{name}` |" in section for name in fields) for section in sections)
    assert SCHEMA["$defs"][kind.__name__]["properties"]["type"] == {"enum": [tag_of(kind)]}


def test_there_are_examples() -> None:
    """Of both directions, or the next test proves nothing."""
    assert {direction for direction, _ in EXAMPLES} == {"<", ">"}


@pytest.mark.parametrize(("direction", "example"), EXAMPLES)
def test_an_example_is_what_it_says(direction: str, example: str) -> None:
    """It decodes, is encoded just so, and the schema has it; one is there to be refused, as the next line tells."""
    if example == '{"type":"leave","id":3}':
        (refused,) = codec.decode(example.encode(), False)
        assert f'"reason":"{refused}"' in DOCUMENT
    elif direction == ">":
        (command,) = codec.decode(example.encode(), False)
        assert isinstance(command, m.Command)
        COMMAND.validate(msgspec.json.decode(example))
    else:
        (event,) = codec.decode_events(example)
        assert codec.encode_event(event) == (example.encode(),)
        EVENT.validate(msgspec.json.decode(example))


@given(ANY_COMMAND)
def test_the_schema_has_every_command(command: m.Command) -> None:
    """With nothing absent, or anything."""
    COMMAND.validate(msgspec.json.decode(codec.encode_command(command)))


@given(ANY_EVENT)
def test_the_schema_has_every_event(event: m.Event) -> None:
    """As a client in another language meets it."""
    EVENT.validate(msgspec.json.decode(codec.encode_event(event)[0]))


@pytest.mark.parametrize(
    "value",
    [
        {"type": "join"},
        {"type": "join", "room": 1},
        {"type": "join", "room": "a", "limit": 301},
        {"type": "publish", "room": "a", "key": "short"},
        {"type": "ping", "id": 2**53},
        {"type": "zz"},
        {"type": "help"},
        [],
    ],
)
def test_the_schema_refuses_what_the_server_refuses(value: Any) -> None:
    """The bounds are in it."""
    assert not COMMAND.is_valid(value)


def test_every_error_code_is_listed() -> None:
    """Whatever a `Reply` anywhere in the package says: to clients in docs/protocol.md, to the API's in docs/api.md."""
    sources = schema.SCHEMA.parent.rglob("*.py")
    codes = {code for file in sources for code in re.findall(r'Reply\(\s*"(\w+)"', file.read_text(encoding="utf-8"))}
    table = DOCUMENT.split("### Errors")[1].split("\n## ")[0]
    of_api = schema.DOCUMENT.with_name("api.md").read_text(encoding="utf-8")
    assert {"bad_message", "not_joined"} <= codes <= set(re.findall(r"`(\w+)`", table + of_api))


def test_every_close_code_is_listed() -> None:
    """All but 1006, which is never sent."""
    table = DOCUMENT.split("## Close codes")[1].split("\n## ")[0]
    assert {code.value for code in Close} - {1006} <= set(map(int, re.findall(r"\b[14]\d{3}\b", table)))
