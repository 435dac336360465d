"""What goes over the pipe between the parent and each of its workers, as frozen structs, in this order.

    parent                  worker
                            Progress, five times a second while it connects
                            Connected, once all are there or one failed
    Start
                            Tick, after each second of load (warm-up included), and at its end
    (Stop, at any time)
                            Loaded, once the load is over
    Sent
                            Judged, once nothing more comes
    Leave                   (ends its connections, then the process)

`Leave` ends a worker at any other time too, and so does the end of the pipe. A worker whose server is gone goes on: its
ticks say `connected=0`, and a `Stop` brings it to `Loaded`. Moments are seconds of `time.monotonic`, which is the same
in all processes of a machine.
"""

import msgspec

from aiochat.loadtest.meter.histogram import Counts
from aiochat.loadtest.record import Outcome


class Progress(msgspec.Struct, frozen=True):
    """How far this worker's connecting is; its share is `scenario.clients`, divided by the number of workers."""

    connected: int


class Connected(msgspec.Struct, frozen=True):
    """All are connected and in their rooms, or `failures` says why not; it gives up soon after the first."""

    connected: int
    failures: list[str] = []


class Start(msgspec.Struct, frozen=True):
    """The load goes from `start` to `end`; what is due from `measure` on counts, whole seconds later. All three lie in
    the future.
    """

    start: float
    measure: float
    end: float


class Tick(msgspec.Struct, frozen=True):
    """A second of this worker. Tick n ends n seconds after `Start.start`, the last at `Start.end` or a `Stop`."""

    number: int  # from 1 on
    at: float  # its end
    seconds: float  # its length
    sent: int  # messages within it
    delivered: int
    connected: int  # clients at its end, those that are slow and newcomers included
    dropped: int  # so far: clients that were closed and should not have been
    latency: Counts  # of what arrived within it, microseconds
    cpu_percent: float  # of this process; 100 is one core
    lag_ms: float  # the longest that a turn of this process's loop kept another waiting
    frames: (
        int  # WebSocket messages with chat in them, each counted once for this process and not for each receiver ...
    )
    messages: int  # ... and the chat messages in them


class Stop(msgspec.Struct, frozen=True):
    """The load ends now: Ctrl-C, or the server is gone."""


class Loaded(msgspec.Struct, frozen=True):
    """The load is over. `sent` has how many messages each sender of this worker sent, newcomers included."""

    ended: float
    sent: dict[int, int]


class Sent(msgspec.Struct, frozen=True):
    """All workers' `Loaded.sent` in one, by which each knows what its clients have to get."""

    counts: dict[int, int]


class Judged(msgspec.Struct, frozen=True):
    """What this worker found. Of `outcome`, parts add up: counts and `dropped` by sum, `violations` one after the other
    (the first 20 of each worker), `first_error` any, `slow_dropped_after_seconds` by maximum; its two latencies are
    absent and to be made of the histograms here (microseconds).
    """

    outcome: Outcome
    latency: Counts  # of the messages due from `Start.measure` on
    resume: Counts
    newcomer: Counts
    batches: dict[int, int]  # of the measured time: up to so many messages (a power of two) -> how many frames


class Leave(msgspec.Struct, frozen=True):
    """The end: nothing more is asked."""


ToWorker = Start | Stop | Sent | Leave
FromWorker = Progress | Connected | Tick | Loaded | Judged
