"""What the embedding application says: its messages and erasures, on their way into the room log like any other."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aiochat.codecs.structs import is_json
from aiochat.errors import Reply, unavailable
from aiochat.messages import MAX_INTEGER, MAX_KEY_CHARACTERS, MIN_KEY_CHARACTERS, Sender
from aiochat.names import display_name
from aiochat.roomlog import Draft, content_bytes

if TYPE_CHECKING:
    from aiochat.hub import Hub


class Published(msgspec.Struct, frozen=True, gc=False):
    """An entry that is in the room log; `repeated` if it was before, under the same key. `ts` in Unix milliseconds."""

    epoch: str
    offset: int
    ts: int
    repeated: bool = False


class Publishing:
    """Each call's future has what was `Published` once it is in the room log, or a `Reply`."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._under_way: set[asyncio.Future[Published]] = set()

    def publish(
        self, room: str, text: str | None, data: Any, *, name: str | None = None, key: str | None = None
    ) -> asyncio.Future[Published]:
        """A message of nobody's, or of who is called `name`. Raises `TypeError`, `ValueError`, or `Reply`: `too_long`,
        `bad_name`. The same `key` again is the same message, whatever the name.
        """
        copied = checked_content(text, data, self._hub.config.limits.max_message_bytes)
        sender = Sender(name=None if name is None else display_name(name))
        key, size, future = checked_key(key), content_bytes(text, copied), self._future()
        self._submit(room, Draft(sender, text, copied, self._hub.tick(), size, future, key))
        return future

    def erase(self, room: str, target: int) -> asyncio.Future[Published]:
        """Take back the message at offset `target`: `no_such_message` where there is none."""
        if type(target) is not int:
            raise TypeError(f"offset: got {type(target).__name__}, takes a whole number")
        if not 0 < target <= MAX_INTEGER:
            raise Reply("no_such_message", f"there is no message at offset {target}", field="offset")
        future = self._future()
        self._submit(room, Draft(Sender(), None, None, self._hub.tick(), 0, future, target=target))
        return future

    def flush(self) -> asyncio.Future[None]:
        """Done when everything that has arrived so far, whoever said it, has been fanned out; commands end here."""
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hub.later(self._hub.inbox.shut)
        settle = partial(self._hub.log.settle, partial(_set_done, flushed))
        application = self._hub.application
        self._hub.later(settle if application is None else partial(application.queue.settle, settle))
        return flushed

    def abandon(self) -> None:
        """The chat is over: whoever still waits is told."""
        for future in list(self._under_way):
            if not future.done():
                future.set_exception(unavailable("the chat has stopped"))

    def _future(self) -> asyncio.Future[Published]:
        future: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def _submit(self, room: str, draft: Draft) -> None:
        self._hub.later(partial(self._add, room, draft))

    def _add(self, name: str, draft: Draft) -> None:
        room = self._hub.room(name)
        try:
            self._hub.log.add(room, draft)
        except Reply:
            self._hub.fanout.refuse([draft])
            self._hub.forget_if_idle(room)


def checked_content(text: str | None, data: Any, max_bytes: int) -> Any:
    """A copy of the data of a message of `text` and `data`. Raises `TypeError`, `ValueError` or `Reply` `too_long`."""
    if not (text is None or isinstance(text, str)):
        raise TypeError(f"text: got {type(text).__name__}, takes a string")
    if not text and data is None:
        raise ValueError("a message has text, data or both")
    return copied_data(text, data, max_bytes)


def copied_data(text: str | None, data: Any, max_bytes: int) -> Any:
    """A copy of `data`. Raises `TypeError` unless JSON can say it, `Reply` if with `text` it is over `max_bytes`."""
    if not is_json(data):
        raise TypeError("data: takes what JSON can say, in lists and dicts, 32 levels, integers within 2**53")
    said = msgspec.json.encode(data)
    size = len(said) + len((text or "").encode())  # a lone surrogate is a ValueError
    if size > max_bytes:
        raise Reply("too_long", f"a message of {size} bytes is over limits.max_message_bytes, {max_bytes}")
    return msgspec.json.decode(said)


def checked_key(key: str | None) -> str | None:
    """The key of a message, if it has one. Raises `Reply` `bad_message`."""
    if key is None:
        return None
    if not MIN_KEY_CHARACTERS <= len(key) <= MAX_KEY_CHARACTERS:
        reason = f"a key is {MIN_KEY_CHARACTERS} to {MAX_KEY_CHARACTERS} characters long"
        raise Reply("bad_message", reason, field="key")
    try:
        key.encode()
    except UnicodeEncodeError:  # bytes of a header that are no UTF-8, for one; no log and no codec could take it
        raise Reply("bad_message", "a key is Unicode without lone surrogates", field="key") from None
    return key


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
