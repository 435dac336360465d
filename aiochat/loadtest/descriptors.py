"""How many connections the limits of open files allow, ours and the server's; asked before anything is started."""

import contextlib
import resource
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import psutil

from aiochat.limits.budgets import RESERVED_DESCRIPTORS, raise_descriptor_limit
from aiochat.loadtest.scenario import MOST, CannotRun, Scenario

METER_RESERVE: Final = 100  # of a process of the meter, for all but connections
CLIENT_BYTES: Final = 32 << 10  # that a connection takes of the machine's memory: server, meter and kernel
_HOW: Final = (
    "raise it as root with ulimit -n {needed}, or for good in /etc/security/limits.conf with * hard nofile {needed}"
)
_HOW_MACOS: Final = "raise it with sudo launchctl limit maxfiles {needed} {needed}, then ulimit -n {needed}"


class Limit(NamedTuple):
    """Of the open files of a process, and how many of them are no clients' connections."""

    whose: str
    files: int
    reserved: int
    processes: int = 1  # that share the clients

    @property
    def clients(self) -> int:
        return (self.files - self.reserved) * self.processes


def limits(processes: int, server_pids: Sequence[int], own: bool) -> list[Limit]:
    """Ours, raised as far as it goes, and the server's: one of our own inherits ours."""
    raise_descriptor_limit()
    ours, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours = sys.maxsize if ours == resource.RLIM_INFINITY else ours
    found = [Limit("each process of the load test,", ours, METER_RESERVE, processes)]
    if own:
        found.append(Limit("the server,", ours, RESERVED_DESCRIPTORS))
    for pid in server_pids if sys.platform == "linux" else ():
        with contextlib.suppress(psutil.Error):
            server = psutil.Process(pid)
            files, _ = server.rlimit(psutil.RLIMIT_NOFILE)
            found.append(Limit(f"the server, process {pid},", files, server.num_fds(), len(server_pids)))
    return found


def fitted(scenario: Scenario, found: list[Limit]) -> Scenario:
    """With its clients counted where it says "most"; CannotRun if the limits do not allow them."""
    if scenario.clients == MOST:
        memory = psutil.virtual_memory().available // 2 // CLIENT_BYTES
        most = min(memory, scenario.most_clients, *(limit.clients for limit in found))
        return msgspec.structs.replace(scenario, clients=max(1, most))
    for limit in found:
        if scenario.clients > limit.clients:
            raise CannotRun(_refusal(scenario.clients, limit))
    return scenario


def _refusal(clients: int, limit: Limit) -> str:
    needed = -(-clients // limit.processes) + limit.reserved
    how = (_HOW_MACOS if sys.platform == "darwin" else _HOW).format(needed=needed)
    return f"{clients:,} clients need {needed:,} open files in {limit.whose} and the limit is {limit.files:,}; {how}"
