"""One run: a fresh server and a meter; in one workload two of each, with and without a client that stops reading."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from benchmarks.figures import Sample
from benchmarks.meters import Load, Meter, MeterError, measure
from benchmarks.servers import Cores, Server, running
from benchmarks.workloads import Workload

MB: Final = 1e6
SELF_SIGNED: Final = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
    *("-subj", "/CN=localhost", "-days", "1"),
)


class Bench(NamedTuple):
    meter: Meter
    cores: Cores
    seconds: float | None  # of each run; if None, what the scenario says

    def sample(self, workload: Workload, server: Server, number: int) -> Sample:
        """Of round `number`; CannotStartError or MeterError if there is none."""
        load = Load(workload, {"seconds": self.seconds} if self.seconds and not workload.fixed_seconds else {})
        if not workload.with_and_without:
            return self._measured(load, server)
        # Each round in the other order, so that neither is always the first.
        kinds = (self._with_slow_reader, self._without_slow_reader)
        return {key: value for kind in kinds[:: -1 if number % 2 else 1] for key, value in kind(load, server).items()}

    def _measured(self, load: Load, server: Server) -> dict[str, float | None]:
        with (
            tempfile.TemporaryDirectory() as folder,
            running(server, self.cores, _environment(load.workload, Path(folder))) as here,
        ):
            sample = measure(self.meter, load, here, self.cores)
            return {**sample, "memory_mb": _memory_mb(here.pid)}

    def _with_slow_reader(self, load: Load, server: Server) -> Sample:
        return self._measured(load, server)

    def _without_slow_reader(self, load: Load, server: Server) -> Sample:
        alone = {"clients": load.scenario.readers, "slow": 0}
        sample = self._measured(load._replace(overrides=load.overrides | alone), server)
        return {"p99_alone_ms": sample["p99_ms"], "memory_alone_mb": sample["memory_mb"]}


def _environment(workload: Workload, folder: Path) -> Mapping[str, str]:
    store = f"sqlite:///{folder}/chat.db" if workload.sqlite else "memory:"
    tls = _certificate(folder) if workload.tls else {}
    return {"AIOCHAT_STORE__URL": store, **workload.environment, **tls}


def _certificate(folder: Path) -> Mapping[str, str]:
    if not shutil.which("openssl"):
        raise MeterError("there is no openssl to make a certificate with")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run([*SELF_SIGNED, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return {"AIOCHAT_SERVER__TLS_KEY": str(key), "AIOCHAT_SERVER__TLS_CERTIFICATE": str(certificate)}


def _memory_mb(pid: int) -> float | None:
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).memory_info().rss) / MB
    return None
