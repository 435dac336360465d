"""The parent of the workers: it opens the sockets, starts them, starts again who dies, and ends with them.

It serves nobody. When it is gone they notice by their channel, and end as on SIGTERM.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

import structlog

from aiochat.announcement import announce
from aiochat.config import Config
from aiochat.errors import Ended, StartError
from aiochat.monitoring import logs
from aiochat.monitoring.systemd import Systemd
from aiochat.workers.sockets import Sockets
from aiochat.workers.worker import Worker

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_DELAYS: Final = (0.0, 1.0, 2.0, 4.0)  # seconds before it is started again, by how often it died soon in a row
_SOON_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 5.0  # for a stop, beyond what the settings allow it

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def serve(config: Config) -> None:
    """Serve until SIGINT or SIGTERM, with `server.workers`. Raises `StartError`, and `Ended` if they cannot go on."""
    logs.set_up(config.logging)
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    await Parent(config, Sockets(config)).run()


class Parent:
    def __init__(self, config: Config, sockets: Sockets) -> None:
        self._config = config
        self._sockets = sockets
        self._workers = [Worker(number + 1, config, sockets.of(number)) for number in range(config.server.workers)]
        self._keeping: dict[asyncio.Task[None], Worker] = {}
        self._systemd = Systemd()
        self._has_begun = False
        self._is_stopping = False
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()  # the signal that stops it

    async def run(self) -> None:
        """From the start of the first worker to the end of the last. Raises `StartError` and `Ended`."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        tasks = [asyncio.create_task(self._begin()), asyncio.create_task(self._tick())]
        for task in tasks:
            task.add_done_callback(self._ended)
        passed_on = signal.SIGTERM
        try:
            passed_on = signal.Signals(await self._over)
        finally:
            for task in tasks:
                task.cancel()
            await self._leave(passed_on)
        unclean = [str(worker.number) for worker in self._workers if not worker.is_clean]
        if unclean:
            raise Ended(f"workers that did not stop as they should: {', '.join(unclean)}")

    async def _begin(self) -> None:
        """Start them all, and say so."""
        for workers in (self._workers[:1], self._workers[1:]):  # the first alone: what is wrong is said once
            for worker in workers:
                task = asyncio.create_task(self._keep(worker))
                task.add_done_callback(self._ended)
                self._keeping[task] = worker
            for worker in workers:
                await worker.ready.wait()
        self._has_begun = True
        announce(self._config, self._sockets.port)
        self._systemd.tell("READY=1")
        await self._systemd.feed(self._unless_one_hangs, self._status)

    async def _tick(self) -> None:
        """Look after them, from the first start on, for one may hang in it."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for worker in self._workers:
                worker.tick()

    async def _keep(self, worker: Worker) -> None:
        """Start it whenever it has ended, until the chat stops. Raises `StartError` and `Ended`."""
        deaths = 0  # in a row, each soon after it was ready
        while True:
            death = await worker.live()
            if self._is_stopping:
                return
            if not self._has_begun:
                raise StartError(death.reason if death.was_told else f"worker {worker.number}: {death.reason}")
            deaths = 1 if death.seconds >= _SOON_SECONDS else deaths + 1
            if deaths > len(_DELAYS):
                # Who says what is missing, such as Redis, may wait for it while others serve.
                if not death.was_told or not any(other.ready.is_set() for other in self._workers):
                    raise Ended(f"worker {worker.number} died {deaths} times soon after its start: {death.reason}")
                deaths = len(_DELAYS)
            delay = _DELAYS[deaths - 1]
            _log.error("worker_died", worker=worker.number, reason=death.reason, again_in_seconds=delay)
            await asyncio.sleep(delay)

    def _stop(self, number: int) -> None:
        if not self._over.done():
            self._over.set_result(number)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task of ours, which is expected only while the chat stops."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
            self._over.set_exception(error)

    async def _leave(self, passed_on: int) -> None:
        """Tell them to stop, and wait for their ends, for as long as the settings allow them."""
        self._is_stopping = True
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, self._end_at_once)
        self._systemd.tell("STOPPING=1", f"STATUS=stopping, {self._status()}")
        self._sockets.close()  # the workers have their own, to the end of their drain
        for task, worker in self._keeping.items():
            if worker.pid is None:
                task.cancel()
            worker.send(passed_on)
        settings = self._config.server
        await self._wait(settings.unready_seconds + settings.drain_seconds + _GRACE_SECONDS)
        for worker in self._workers:
            if worker.pid is not None:
                _log.error("worker_hangs", worker=worker.number, pid=worker.pid)
                worker.send(signal.SIGKILL)
        await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=seconds)

    def _end_at_once(self, number: int, frame: object) -> None:
        """A second signal: what was acknowledged is safe."""
        for worker in self._workers:
            worker.send(signal.SIGKILL)
        os._exit(128 + number)

    def _unless_one_hangs(self, feed: Callable[[], object]) -> None:
        if not any(worker.hangs for worker in self._workers):
            feed()

    def _status(self) -> str:
        return f"{len(self._workers)} workers, {sum(worker.clients for worker in self._workers)} clients"
