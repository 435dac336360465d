"""What the hub asks and tells the embedding application, through its hooks, within the hub's turns.

A client whose hook is asked waits as it does for the room log: its commands stay in order, and everybody else goes on.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aiochat.client import Client
from aiochat.errors import Reply
from aiochat.hooks.queue import HookCall, HookQueue
from aiochat.hooks.registry import ClientInfo, Hooks, Publication
from aiochat.hooks.verdicts import Verdicts
from aiochat.messages import Call, Command, Publish, Result
from aiochat.publishing import checked_content, copied_data

if TYPE_CHECKING:
    from aiochat.hub import Hub

_Say = Callable[[Publication | Publish], object]


class Application:
    """There is one only where hooks were given to `setup`."""

    def __init__(self, hub: "Hub", hooks: Hooks, queue: HookQueue) -> None:
        self._hub = hub
        self._max_bytes = hub.config.limits.max_message_bytes
        self._functions = hooks.functions
        self._methods = hooks.methods
        self._verdicts = Verdicts(hub.config.history.key_minutes * 60)
        self.queue = queue

    # What it is asked. `then` is called at once where there is nothing to ask, else in a later turn.

    def may_join(self, client: Client, name: str | None, room: str, then: Callable[[Reply | None], object]) -> None:
        """Whether a client called `name` may come into a room: `then` is given what refuses it, or None."""
        hook = self._functions.get("on_join")
        if hook is None:
            then(None)
            return
        call = HookCall("on_join", hook, (_info(client, name), room))
        self.queue.ask(client.id, call, lambda _, refusal: then(refusal))

    def review(self, client: Client, name: str | None, command: Publish, room: str, then: _Say) -> None:
        """What becomes of a message that a client called `name` says in a room; `then` may raise `Reply`."""
        hook = self._functions.get("on_publish")
        if hook is None:
            then(command)
            return
        said = Publication(room, command.text, command.data, command.key)
        known = self._verdicts.find(client, said, self._hub.now)
        if known is not None:
            then(known)
            return
        given = (_info(client, name), said.replace(data=_copied(said.data)))
        call = HookCall("on_publish", hook, given, partial(_publication, said, self._max_bytes))
        self._ask(client, command, call, partial(self._reviewed, client, said, then))

    def call(self, client: Client, command: Call) -> None:
        """Answer with what a method returns. Raises `Reply` `unknown_method`."""
        method = self._methods.get(command.method)
        if method is None:
            raise unknown_method()
        given = (_info(client, _name(client)), command.data)
        check = partial(copied_data, None, max_bytes=self._max_bytes)
        call = HookCall(f"method {command.method}", method, given, check)
        self._ask(client, command, call, partial(self._called, client, command))

    # What it is told.

    def left(self, client: Client, name: str | None, room: str) -> None:
        """A client called `name` is out of a room."""
        hook = self._functions.get("on_leave")
        if hook is not None:
            self.queue.tell(client.id, HookCall("on_leave", hook, (_info(client, name), room)))

    def disconnected(self, client: Client) -> None:
        """A client is gone."""
        hook = self._functions.get("on_disconnect")
        if hook is not None:
            self.queue.tell(client.id, HookCall("on_disconnect", hook, (_info(client, client.name),)))

    async def finish(self, seconds: float) -> None:
        """Everybody is on the way out: let the application hear of all, and cancel what then still runs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hub.publishing.flush()
                while not self.queue.is_idle:
                    await self.queue.idle()
                    await self._hub.publishing.flush()
        await self.queue.end()

    # Its answers.

    def _ask(self, client: Client, command: Command, call: HookCall, then: Callable[[Any], object]) -> None:
        client.waiting = True
        self.queue.ask(client.id, call, partial(self._answered, client, command, then))

    def _answered(
        self, client: Client, command: Command, then: Callable[[Any], object], answer: Any, refusal: Reply | None
    ) -> None:
        client.waiting = False
        if not client.is_cut_off:
            try:
                if refusal is not None:
                    raise refusal
                then(answer)
            except Reply as reply:
                self._hub.refuse(client, _once(reply) if isinstance(command, Call) else reply, command)
        if not client.waiting:
            self._hub.go_on(client)

    def _reviewed(self, client: Client, said: Publication, then: _Say, made: Publication) -> None:
        self._verdicts.add(client, said, made, self._hub.now)
        then(made)

    def _called(self, client: Client, command: Call, data: Any) -> None:
        self._hub.answer(client, Result(id=command.id, data=data))


def unknown_method() -> Reply:
    """What who calls a method that there is not gets."""
    return Reply("unknown_method", "this server has no such method", field="method")


def _once(reply: Reply) -> Reply:
    """Without the advice to try again: half of what a method does may be done."""
    return Reply(reply.code, reply.reason)


def _info(client: Client, name: str | None) -> ClientInfo:
    return ClientInfo(client.id, client.user, name, client.address)


def _name(client: Client) -> str | None:
    """What it is called where no room is in question: as it came, or else as in the room where it has been longest."""
    return client.name or next((room.members[client].name for room in client.rooms), None)


def _copied(data: Any) -> Any:
    """For the hook to do with as it likes."""
    return None if data is None else msgspec.json.decode(msgspec.json.encode(data))


def _publication(said: Publication, max_bytes: int, answer: Any) -> Publication:
    """What the hook made of it. Raises `TypeError`, `ValueError` or `Reply` for what is no message."""
    if answer is None:
        return said
    if not isinstance(answer, Publication) or (answer.room, answer.key) != (said.room, said.key):
        raise TypeError("it returns the message, message.replace(...) or None")
    if (answer.text, answer.data) == (said.text, said.data):
        return said
    return answer.replace(data=checked_content(answer.text, answer.data, max_bytes))
