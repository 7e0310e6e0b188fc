"""Exit codes of forked workers: each is read once, so that a crash is told as what it was.

Python reads the exit code of such a process from a pipe, whenever anybody asks. The library waits for each in a thread
of its own, and each start of another asks for all: of two that ask at once the second finds the pipe empty, takes that
for the death of the process that forks, and overwrites the code with 255 (CPython's ``popen_forkserver.Popen.poll``).
"""

import os
import threading
from typing import Any

_reading = threading.Lock()


def read_codes_once() -> None:
    """Have exit codes read by one thread at a time, in this process from now on."""
    from multiprocessing import popen_forkserver

    popen_forkserver.Popen.poll = _poll  # type: ignore[method-assign]


def _poll(self: Any, flag: int = os.WNOHANG) -> int | None:
    """Return the exit code, None where there is none yet; as Python's own, but for the lock."""
    from multiprocessing import forkserver
    from multiprocessing.connection import wait

    if self.returncode is None:
        if not wait([self.sentinel], timeout=0 if flag == os.WNOHANG else None):
            return None
        with _reading:
            if self.returncode is None:
                try:
                    self.returncode = forkserver.read_signed(self.sentinel)
                except (OSError, EOFError):  # the process that forks is dead
                    self.returncode = 255
    code: int | None = self.returncode
    return code
