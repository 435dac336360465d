"""The codecs, by the subprotocol that a client asks for."""

from typing import Final

from aiochat.codecs.contract import Codec
from aiochat.codecs.json import JsonCodec
from aiochat.codecs.msgpack import MsgpackCodec
from aiochat.codecs.text import TextCodec

__all__ = ["CODECS", "DEFAULT_CODEC", "Codec"]

DEFAULT_CODEC: Final[Codec] = TextCodec()
CODECS: Final[dict[str, Codec]] = {codec.subprotocol: codec for codec in (DEFAULT_CODEC, JsonCodec(), MsgpackCodec())}
