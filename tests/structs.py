"""JSON and MessagePack for tests of both, and what a client sends that knows the format and not the protocol."""

import sys
from typing import Any, Final

import msgspec
import pytest

from aiochat.codecs.json import JsonCodec
from aiochat.codecs.msgpack import MsgpackCodec

JSON: Final = JsonCodec()
MSGPACK: Final = MsgpackCodec()
BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
DEEP: Final = sys.getrecursionlimit() * 20

StructCodec = JsonCodec | MsgpackCodec


def encoded(codec: StructCodec, value: Any) -> bytes:
    """Any value in the codec's format."""
    return msgspec.json.encode(value) if codec is JSON else msgspec.msgpack.encode(value)


def together(codec: StructCodec, *payloads: bytes) -> bytes:
    """Several in one WebSocket message."""
    return b"\n".join(payloads) if codec is JSON else b"".join(payloads)


def nested(codec: StructCodec, value: dict[str, Any], levels: int) -> bytes:
    """An object whose last value, 1, is as many arrays instead."""
    head = encoded(codec, value)
    return (
        head[:-2] + b"[" * levels + b"]" * levels + b"}"
        if codec is JSON
        else head[:-1] + b"\x91" * (levels - 1) + b"\x90"
    )
