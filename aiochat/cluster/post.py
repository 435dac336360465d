"""What nodes ask one another: a question to one node or to all, and their answers, or that none came in time."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from aiochat.errors import Reply, StoreError, unavailable
from aiochat.roomlog.contract import Link

_SECONDS: Final = 2.0  # for the answers
_MAX_WAITING: Final = 10_000
_MAX_NODES: Final = 1_000  # whose last question is known
_ANSWER: Final = "answer"

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

Then = Callable[[list[Any] | Reply], object]


class _Question:
    __slots__ = ("answers", "asked", "deadline", "then")

    def __init__(self, deadline: float, then: Then) -> None:
        self.deadline = deadline
        self.then = then
        self.asked: int | None = None  # how many nodes; None until Redis has said so
        self.answers: dict[str, Any] = {}  # of each node


class Post:
    """`handlers` answer what others ask, within a turn; the answers come within one, too."""

    def __init__(
        self,
        link: Link,
        time: Callable[[], float],
        put_item: Callable[[Callable[[], object]], None],
        handlers: Mapping[str, Callable[..., Any]],
        stand: Callable[[], object],
    ) -> None:
        self._link = link
        self._time = time
        self._put_item = put_item
        self._handlers = handlers
        self._questions: dict[int, _Question] = {}
        self._count = 0
        self._last: OrderedDict[str, int] = OrderedDict()  # the number of the last question that each node asked
        self._all = link.channel(f"{link.prefix}:nodes")
        link.listen(self._inbox(link.node), self._heard, lambda: None)
        link.listen(self._all, self._heard, lambda: put_item(stand))

    def ask(self, node: str, then: Then, kind: str, *given: Any) -> None:
        """`then` gets one answer, or none if the node is no more; `unavailable` if there is no knowing."""
        self._ask(self._inbox(node), then, kind, given)

    def ask_all(self, then: Then, kind: str, *given: Any) -> None:
        """The same of every node, this one among them."""
        self._ask(self._all, then, kind, given)

    def tell_all(self, kind: str, *given: Any) -> None:
        """Nobody answers."""
        self._link.ask([("SPUBLISH", self._all, _pack((0, self._link.node, kind, given)))], lambda _: None)

    def handle(self, kind: str, *given: Any) -> Any:
        """Answer a question, as if it were asked."""
        return self._handlers[kind](*given)

    def check(self) -> None:
        """Give up what waits for too long; about once a second."""
        now = self._time()
        while self._questions:
            number, question = next(iter(self._questions.items()))
            if question.deadline > now:
                break
            self._end(number, unavailable("not every node has answered in time"))

    def _ask(self, channel: str, then: Then, kind: str, given: tuple[Any, ...]) -> None:
        if len(self._questions) >= _MAX_WAITING:
            self._put_item(partial(then, unavailable("too much is being asked")))
            return
        self._count += 1
        self._questions[self._count] = _Question(self._time() + _SECONDS, then)
        said = _pack((self._count, self._link.node, kind, given))
        self._link.ask([("SPUBLISH", channel, said)], partial(self._asked, self._count))

    def _asked(self, number: int, replies: list[Any] | StoreError) -> None:
        question = self._questions.get(number)
        if isinstance(replies, StoreError):
            self._end(number, unavailable("the other nodes cannot be asked"))
        elif question is not None:
            question.asked = replies[0]
            self._look_at(number, question)

    def _heard(self, payload: bytes) -> None:
        self._put_item(partial(self._hear, payload))

    def _hear(self, payload: bytes) -> None:
        number, node, kind, given = _unpack(payload)
        if kind == _ANSWER:
            if (question := self._questions.get(number)) is not None:
                question.answers[node] = given
                self._look_at(number, question)
        elif not number:
            self.handle(kind, *given)
        elif self._is_new(node, number):
            said = _pack((number, self._link.node, _ANSWER, self.handle(kind, *given)))
            self._link.ask([("SPUBLISH", self._inbox(node), said)], lambda _: None)

    def _is_new(self, node: str, number: int) -> bool:
        """A question comes again if Redis's answer to who asked it was lost."""
        last = self._last.pop(node, 0)
        self._last[node] = max(last, number)
        if len(self._last) > _MAX_NODES:
            self._last.popitem(last=False)
        return number > last

    def _look_at(self, number: int, question: _Question) -> None:
        if question.asked is not None and len(question.answers) >= question.asked:
            self._end(number, list(question.answers.values()))

    def _end(self, number: int, answers: list[Any] | Reply) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            self._put_item(partial(question.then, answers))

    def _inbox(self, node: str) -> str:
        """Of a node, whatever generation of it is meant."""
        return self._link.channel(f"{self._link.prefix}:post:{node.partition('.')[0]}")
