"""`python -m aiochat.loadtest.tethered MODULE ...`: runs a module for as long as whoever has started it lives.

Its stdin is a pipe whose other end that process holds, and which ends with it, however it is killed.
"""

import os
import runpy
import signal
import sys
from threading import Thread


def main() -> None:
    """Run the module; SIGTERM ends it once stdin has ended."""
    Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _watch(stdin: int) -> None:
    while os.read(stdin, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
