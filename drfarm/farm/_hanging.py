"""Worker processes that hang: alive, and unknown to their scheduler for too long.

A scheduler lets go of a worker that it knows and that sends nothing. One that hangs while it starts, while it closes or
while its scheduler is replaced is known to nobody; its nanny sees a process that lives, and waits for it for ever.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Nanny

UNKNOWN_S = 90.0
"""So long may a process live without being known: its start takes seconds, a minute on a slow disk."""
LOOK_S = 5.0
"""Between two looks."""


class Hanging:
    """Ends what hangs; what then becomes of its place is its nanny's to see to, as after any other death."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        """When a process was first seen that was not known, by its id."""

    def end(self, nannies: Iterable["Nanny"], known: Collection[str], now: float) -> None:
        """Look at the processes of nannies; ``known`` are the addresses of the workers that their scheduler has."""
        unknown = [pid for nanny in nannies if (pid := nanny.pid) is not None and nanny.worker_address not in known]
        self._since = {pid: self._since.get(pid, now) for pid in unknown}
        for pid, since in self._since.items():
            if now - since > UNKNOWN_S:
                kill(pid)

    def forget(self) -> None:
        """Begin anew: while a scheduler does not answer, nobody can be known to it."""
        self._since.clear()


def kill(pid: int) -> None:
    """End a process now, whatever it does: a batch is written whole or not at all."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
