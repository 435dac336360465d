"""Ctrl-C and SIGTERM: under load the first one ends it early, with a report; at any other time they end the command."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Final, Self

NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Handles both while the block runs. `requested` is whether one came."""

    def __init__(self) -> None:
        self.count = 0
        self._patience = 0  # how many may come before one raises
        self._previous: list[signal._HANDLER] = []

    @property
    def requested(self) -> bool:
        return self.count > 0

    def __enter__(self) -> Self:
        self._previous = [signal.signal(number, self._came) for number in NUMBERS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(NUMBERS, self._previous, strict=True):
            signal.signal(number, handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > self._patience:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """The first is only noted: who runs the block looks at `requested`. The second raises KeyboardInterrupt."""
        with self._patient(1):
            yield

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """They count when the block is over: what is half started cannot be ended."""
        before = self.count
        with self._patient(1 << 30):
            yield
        if self.count > max(before, self._patience):
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def _patient(self, patience: int) -> Iterator[None]:
        self._patience, previous = patience, self._patience
        try:
            yield
        finally:
            self._patience = previous
