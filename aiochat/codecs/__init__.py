"""The codecs, by the subprotocol that a client asks for."""

from typing import Final

from aiochat.codecs.contract import Codec
from aiochat.codecs.json import JsonCodec
from aiochat.codecs.msgpack import MsgpackCodec
from aiochat.codecs.text import GuestTextCodec, TextCodec

__all__ = ["CODECS", "DEFAULT_CODEC", "GUEST_CODECS", "Codec"]

DEFAULT_CODEC: Final[Codec] = TextCodec()
CODECS: Final[dict[str, Codec]] = {codec.subprotocol: codec for codec in (DEFAULT_CODEC, JsonCodec(), MsgpackCodec())}
GUEST_CODECS: Final[dict[str, Codec]] = CODECS | {DEFAULT_CODEC.subprotocol: GuestTextCodec()}  # where there are users
