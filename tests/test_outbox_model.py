"""Several outboxes under random operations, held against plain lists of what each should have been sent."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aiochat import frames
from aiochat.config import Queue
from aiochat.outbox import BATCH_BYTES, GRACEFUL, Backlog, Batch, Outbox
from tests import fakes, wire

SIDES = 2
LIMITS = Queue(max_messages=6, max_bytes=120, stall_seconds=5, total_bytes=500)
CLOSE_BYTES = 4 + BATCH_BYTES  # of a Close without a reason, which may stand at the end of a queue
sides = st.integers(0, SIDES - 1)


class Side:
    """One outbox, and the model of it: the batches it took, and those among them that it still owes."""

    def __init__(self, backlog: Backlog) -> None:
        self.socket = fakes.Socket(high=30)
        self.owner = fakes.Owner()
        self.outbox = self.socket.outbox = self.owner.outbox = Outbox(self.socket, backlog, self.owner)
        self.taken: list[Batch] = []
        self.pinged: list[int] = []

    @property
    def queue(self) -> list[Batch]:
        return list(self.outbox.queue or ())

    @property
    def code(self) -> int | None:
        return self.owner.sealings[0][0] if self.owner.sealings else None

    @property
    def data_frames(self) -> list[wire.Frame]:
        return [frame for frame in self.socket.frames if frame.opcode == wire.TEXT]

    def has_place_for(self, batch: Batch) -> bool:
        """Whether the bounds of one client allow it; the total is another matter."""
        messages = sum(queued.messages for queued in [*self.queue, batch])
        size = sum(len(queued.data) for queued in [*self.queue, batch])
        return not self.queue or (messages <= LIMITS.max_messages and size <= LIMITS.max_bytes)


class Outboxes(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.backlog = Backlog(LIMITS, lambda: self.now)
        self.sides = [Side(self.backlog) for _ in range(SIDES)]
        self.messages = 0

    @rule(to=st.sets(sides, min_size=1), lengths=st.lists(st.integers(0, 60), min_size=1, max_size=4))
    def fan_out(self, to: set[int], lengths: list[int]) -> None:
        """One batch to several."""
        self._send(to, lengths)

    @rule(number=sides, lengths=st.lists(st.integers(0, 4), min_size=1, max_size=2))
    def whisper(self, number: int, lengths: list[int]) -> None:
        """A small batch to one."""
        self._send({number}, lengths)

    def _send(self, to: set[int], lengths: list[int]) -> None:
        payloads = []
        for length in lengths:
            self.messages += 1
            payloads.append(b"%d " % self.messages + b"x" * length)
        batch = Batch(frames.text_frames(payloads), len(payloads))
        for side in (self.sides[number] for number in to):
            was_open, was_paused = not side.outbox.is_sealed, side.outbox.is_paused
            had_place = side.has_place_for(batch)
            side.outbox.send(batch)
            if was_open and was_paused and not had_place:
                assert side.owner.sealings == [(4000, "the outgoing queue is full")]
            elif was_open:
                side.taken.append(batch)

    @rule(number=sides, size=st.sampled_from([1, 20, 100]))
    def take(self, number: int, size: int) -> None:
        """The kernel takes some bytes of one client."""
        self.sides[number].socket.take(size)

    @rule(number=sides)
    def ping(self, number: int) -> None:
        self.sides[number].outbox.ping()

    @rule(number=sides)
    def pong(self, number: int) -> None:
        """The client pings, with a number that is its own."""
        side = self.sides[number]
        self.messages += 1
        if not side.outbox.is_sealed:
            side.pinged.append(self.messages)
        side.outbox.pong(b"%d" % self.messages)

    @rule(number=sides, code=st.sampled_from([1000, 1011, 1012, 4001, 4003, 4400, 4429]))
    def close(self, number: int, code: int) -> None:
        self.sides[number].outbox.close(code, "")

    @rule(number=sides)
    def lose(self, number: int) -> None:
        """The connection is gone; whoever comes next takes its place, so that there is always somebody."""
        self._lose(self.sides[number])
        self.sides[number] = Side(self.backlog)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.backlog.check_stalls()

    @invariant()
    def each_client_has_been_sent_the_beginning_of_what_it_took(self) -> None:
        """In order and each once; what is not written yet is queued, unless its end threw it away."""
        for side in self.sides:
            written = frames.text_frames([frame.payload for frame in side.data_frames])
            taken = b"".join(batch.data for batch in side.taken)
            assert taken.startswith(written)
            if side.code is None or side.code in GRACEFUL:
                assert taken == written + b"".join(batch.data for batch in side.queue if batch.messages)

    @invariant()
    def no_outbox_is_over_its_bounds(self) -> None:
        """One batch alone may be larger; the Close behind a queue comes on top."""
        for side in self.sides:
            data = [batch for batch in side.queue if batch.messages]
            if len(data) > 1:
                assert sum(batch.messages for batch in data) <= LIMITS.max_messages
                assert sum(len(batch.data) for batch in data) <= LIMITS.max_bytes
            assert side.outbox.queued_messages == sum(batch.messages for batch in side.queue)
            assert side.outbox.queued_bytes == sum(len(batch.data) for batch in side.queue)

    @invariant()
    def the_backlog_counts_each_batch_once(self) -> None:
        """And all together never hold more than the total."""
        queued = {batch for side in self.sides for batch in side.queue}
        assert self.backlog.bytes == sum(len(batch.data) for batch in queued)
        assert self.backlog.bytes + len(queued) * BATCH_BYTES <= LIMITS.total_bytes + SIDES * CLOSE_BYTES
        assert len(self.backlog) == sum(side.outbox.is_paused and side.code is None for side in self.sides)

    @invariant()
    def a_close_is_the_last_word(self) -> None:
        """It is written once, after everything else, or waits as the last of the queue."""
        for side in self.sides:
            closes = [frame.opcode == wire.CLOSE for frame in side.socket.frames]
            assert not any(closes[:-1])
            assert len(side.owner.sealings) == (1 if side.outbox.is_sealed else 0)
            is_written = closes[-1:] == [True]
            is_queued = any(not batch.messages for batch in side.queue)
            assert is_written + is_queued == side.outbox.is_sealed
            assert not side.queue or not is_queued or not side.queue[-1].messages

    @invariant()
    def pongs_are_the_newest(self) -> None:
        """Each later than the one before; while the socket flows, the last ping has its answer."""
        for side in self.sides:
            pongs = [int(frame.payload) for frame in side.socket.frames if frame.opcode == wire.PONG]
            assert pongs == [number for number in side.pinged if number in pongs]
            if not side.outbox.is_sealed and not side.outbox.is_paused:
                assert pongs[-1:] == side.pinged[-1:]

    def teardown(self) -> None:
        """When all are gone, nothing is held."""
        for side in getattr(self, "sides", ()):
            self._lose(side)
        assert self.backlog.bytes == 0
        assert len(self.backlog) == 0

    def _lose(self, side: Side) -> None:
        side.outbox.seal(1006, "lost")
        side.outbox.lost()
        assert side.queue == []


TestOutboxes = Outboxes.TestCase
TestOutboxes.settings = settings(max_examples=100, stateful_step_count=50)
