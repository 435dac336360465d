"""One run: a fresh server, a meter and, in one workload, a client that stops reading."""

import contextlib
import itertools
import math
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.meters import Meter, MeterError, finish, started
from benchmarks.servers import Cores, Running, Server, running
from benchmarks.workloads import Sample, Workload

MB: Final = 1e6
LOOK_SECONDS: Final = 0.25  # between two looks at the server, which take the meter's time
INTO_MEASURE_SECONDS: Final = 0.5
RECEIVE_BUFFER_BYTES: Final = 65536
READ_SECONDS: Final = 60.0
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SELF_SIGNED: Final = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
    *("-subj", "/CN=localhost", "-days", "1"),
)


class Bench(NamedTuple):
    meter: Meter
    cores: Cores
    seconds: float

    def sample(self, workload: Workload, server: Server, number: int) -> Sample:
        """Of round `number`; CannotStartError or MeterError if there is none."""
        if workload.slow_reader:
            try:
                return self._with_and_without_slow_reader(workload, server, number)
            except (psutil.Error, OSError) as error:
                raise MeterError(str(error)) from error
        with _environment(workload) as environment, running(server, self.cores, environment) as here:
            return self._load(workload, here)

    def _load(self, workload: Workload, server: Running) -> Sample:
        seconds = workload.seconds or self.seconds
        with started(self.meter, workload, seconds, server, self.cores) as process:
            return finish(self.meter, workload, seconds, process)

    def _with_and_without_slow_reader(self, workload: Workload, server: Server, number: int) -> Sample:
        """Each round in the other order, so that neither is always the first."""
        kinds = (self._with_slow_reader, self._without_slow_reader)
        ordered = kinds if number % 2 else kinds[::-1]
        return dict(itertools.chain.from_iterable(kind(workload, server).items() for kind in ordered))

    def _without_slow_reader(self, workload: Workload, server: Server) -> Sample:
        with running(server, self.cores, workload.environment) as here:
            sample = self._load(workload, here)
            return {"p99_alone_ms": sample["p99_ms"], "memory_alone_mb": _memory_mb(psutil.Process(here.pid))}

    def _with_slow_reader(self, workload: Workload, server: Server) -> Sample:
        with running(server, self.cores, workload.environment) as here, _reader(here.port) as reader:
            with started(self.meter, workload, workload.seconds, here, self.cores) as process:
                _take_part(reader, workload.warmup + INTO_MEASURE_SECONDS)
                watched = _watch(process, psutil.Process(here.pid), reader.getsockname())
                sample = finish(self.meter, workload, workload.seconds, process)
            others = {key: sample[key] for key in ("p99_ms", "delivered_per_second", "dropped")}
            return watched | others | {"memory_mb": _memory_mb(psutil.Process(here.pid))}


@contextlib.contextmanager
def _environment(workload: Workload) -> Iterator[Mapping[str, str]]:
    if workload.sqlite:
        with tempfile.TemporaryDirectory() as folder:
            yield {**workload.environment, "AIOCHAT_STORE__URL": f"sqlite:///{folder}/chat.db"}
        return
    if not workload.tls:
        yield workload.environment
        return
    if not shutil.which("openssl"):
        raise MeterError("there is no openssl to make a certificate with")
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        subprocess.run([*SELF_SIGNED, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        files = {"AIOCHAT_SERVER__TLS_KEY": str(key), "AIOCHAT_SERVER__TLS_CERTIFICATE": str(certificate)}
        yield {**workload.environment, **files}


@contextlib.contextmanager
def _reader(port: int) -> Iterator[socket.socket]:
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        reader.settimeout(READ_SECONDS)
        reader.connect(("127.0.0.1", port))
        reader.sendall(UPGRADE)
        while not _read(reader).endswith(b"\r\n\r\n"):
            pass
        yield reader


def _take_part(reader: socket.socket, seconds: float) -> None:
    """Reads like the others, from the first message on."""
    _read(reader)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _read(reader)


def _read(reader: socket.socket) -> bytes:
    data = reader.recv(RECEIVE_BUFFER_BYTES)
    if not data:
        raise ConnectionError("the server closed the connection of the client that was to stop reading")
    return data


def _watch(process: subprocess.Popen[str], server: psutil.Process, address: tuple[str, int]) -> dict[str, float | None]:
    """While the meter works: when the server lets go of the client at that address, and its memory."""
    stopped, gone, peak = time.monotonic(), math.inf, 0.0
    while process.poll() is None:
        peak = max(peak, _memory_mb(server))
        if gone == math.inf and all(each.raddr != address for each in server.net_connections("tcp4")):
            gone = time.monotonic() - stopped
        time.sleep(LOOK_SECONDS)
    return {"gone_seconds": gone, "peak_mb": peak}


def _memory_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / MB
