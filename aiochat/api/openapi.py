"""The OpenAPI 3.1 description of the API, made of its table and the structs that it reads and says."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from aiochat import __version__
from aiochat.api import structs
from aiochat.api.operations import NAMES, OPERATIONS, Operation

ROOT: Final = "/api/v1"
DOCUMENT: Final = "openapi.json"

# What a code that refuses is as an HTTP status; one that an embedding application made up is BAD_REQUEST.
BAD_REQUEST: Final = 400
STATUSES: Final[Mapping[str, int]] = {
    "bad_message": BAD_REQUEST,
    "bad_name": BAD_REQUEST,
    "bad_room": BAD_REQUEST,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "no_such_ban": 404,
    "no_such_client": 404,
    "no_such_message": 404,
    "no_such_room": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "key_reused": 409,
    "too_many_bans": 409,
    "too_long": 413,
    "rate_limited": 429,
    "internal_error": 500,
    "unavailable": 503,
}
_ALWAYS: Final = ("bad_message", "unauthorized", "rate_limited", "unavailable")
_WITH_BODY: Final = ("timeout", "too_long")
_JSON: Final = "application/json"
_REQUEST_ID: Final = {"X-Request-ID": {"schema": {"type": "string"}, "description": "As in the log."}}


def description(prefix: str) -> bytes:
    """The document, for a chat below `prefix`."""
    types = _types()
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        said = _operation(operation, schema_of, components)
        paths.setdefault(f"/{operation.path}", {})[operation.method.lower()] = said
    paths[f"/{DOCUMENT}"] = {"get": _own_operation()}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "aiochat", "version": __version__, "description": "The HTTP API of a chat server."},
        "servers": [{"url": prefix + ROOT}],
        "security": [{"admin_token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"admin_token": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: _tidy(components[name]) for name in sorted(components)},
        },
    }
    return msgspec.json.encode(document)


def _types() -> list[Any]:
    said = [answer for operation in OPERATIONS for answer in operation.answers.values()]
    read = [struct for operation in OPERATIONS for struct in (operation.query, operation.body)]
    named = [kind for _, kind in NAMES.values()]
    unique = {id(each): each for each in (structs.Failure, *said, *read, *named) if each is not None}
    return list(unique.values())


def _operation(operation: Operation, schema_of: Mapping[int, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    whole = " ".join((operation.run.__doc__ or "").split())
    codes = (*_ALWAYS, *(_WITH_BODY if operation.body else ()), *operation.errors)
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": whole.partition(". ")[0].rstrip("."),
        "description": whole,
        "parameters": [*_in_path(operation, schema_of), *_in_query(operation, components), *_in_headers(operation)],
        "responses": {
            **{str(status): _answer(answer, schema_of) for status, answer in operation.answers.items()},
            **_refusals(codes),
        },
    }
    if operation.body is not None:
        content = {_JSON: {"schema": schema_of[id(operation.body)]}}
        said["requestBody"] = {"required": operation.method == "POST", "content": content}
    return said


def _own_operation() -> dict[str, Any]:
    answer = {"description": "OK", "headers": _REQUEST_ID, "content": {_JSON: {"schema": {"type": "object"}}}}
    return {
        "operationId": "describe",
        "summary": "This description, for everybody to read",
        "security": [],
        "responses": {"200": answer},
    }


def _in_path(operation: Operation, schema_of: Mapping[int, Any]) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": schema_of[id(NAMES[name][1])]}


def _in_query(operation: Operation, components: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for name, schema in components[operation.query.__name__]["properties"].items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _in_headers(operation: Operation) -> Iterable[dict[str, Any]]:
    if operation.is_keyed:
        schema = {"type": "string", "minLength": 8, "maxLength": 64}
        whole = "The same key within history.key_minutes is the same message, however often it is published."
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "description": whole, "schema": schema}


def _answer(struct: type | None, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "OK", "headers": _REQUEST_ID}
    return answer if struct is None else {**answer, "content": {_JSON: {"schema": schema_of[id(struct)]}}}


def _refusals(codes: Iterable[str]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUSES[code], []).append(code)
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{structs.Failure.__name__}"}}}
    return {
        str(status): {"description": ", ".join(sorted(by_status[status])), "headers": _REQUEST_ID, "content": content}
        for status in sorted(by_status)
    }


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    said = schema.get("description")
    return {**schema, "description": " ".join(said.split())} if said else schema
