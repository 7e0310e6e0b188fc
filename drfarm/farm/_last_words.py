"""What runs inside nannies and workers so that a death is told with its cause and the worker's last words.

Loaded with distributed only: by `drfarm.farm._deaths` where it registers these plugins, and where they are unpickled.
"""

import contextlib
import faulthandler
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import psutil
from distributed import Nanny, Status, Worker
from distributed.diagnostics.plugin import NannyPlugin, WorkerPlugin

from drfarm.farm._deaths import TOPIC
from drfarm.farm._trace import MOST_CHARS, last_lines

_STALE_S = 600.0
"""A log this old whose process is gone is of a nanny that died too: nobody will read it."""

_ENDING = (Status.closing_gracefully, Status.closing, Status.closed, Status.failed)
"""A nanny in one of these ends its worker on purpose."""


class NannyTells(NannyPlugin):
    """Tells of the death of its worker: exit code, whether it was memory, the end of its log."""

    name = "drfarm-deaths"
    idempotent = True

    def setup(self, nanny: Nanny) -> None:
        """Listen to the end of the worker, of the one that runs and of all that follow."""
        goes_on: Callable[[int], None] = nanny._on_worker_exit_sync  # noqa: SLF001 - the library has no public hook
        seen = _Seen(nanny)

        def ended(exit_code: int) -> None:
            with contextlib.suppress(Exception):  # whatever happens here, the nanny starts another worker
                if nanny.process is not None:
                    told = seen.death(str(nanny.process.worker_address), exit_code)
                    if nanny.status not in _ENDING:  # a first task may kill a worker before its nanny is running
                        nanny.log_event(TOPIC, told)
            goes_on(exit_code)

        nanny._on_worker_exit_sync = ended  # type: ignore[method-assign]  # noqa: SLF001
        if nanny.process is not None:
            nanny.process.on_exit = ended

    def teardown(self, nanny: Nanny) -> None:
        """Remove the log of a worker that is about to be ended on purpose."""
        _take_log(Path(nanny.local_directory), str(nanny.worker_address))


class _Seen:
    """What a nanny has seen of ends for want of memory so far."""

    def __init__(self, nanny: Nanny) -> None:
        self._nanny = nanny
        self._terminated = self._last_terminated()
        self._n_kernel = _n_killed_by_kernel()

    def death(self, worker: str, exit_code: int) -> dict[str, Any]:
        """Return what is told of a death."""
        terminated, n_kernel = self._last_terminated(), _n_killed_by_kernel()
        by_nanny = terminated != self._terminated
        # Another process's end counts for ours where both came at once: a batch is halved for nothing, no more.
        by_kernel = exit_code == -signal.SIGKILL and n_kernel > self._n_kernel
        self._terminated, self._n_kernel = terminated, n_kernel
        log = _take_log(Path(self._nanny.local_directory), worker)
        return {"worker": worker, "exit_code": exit_code, "out_of_memory": by_nanny or by_kernel, "log": log}

    def _last_terminated(self) -> int:
        """Return the process that the nanny itself has ended last because of its memory."""
        return int(self._nanny.memory_manager._last_terminated_pid)  # noqa: SLF001 - nor is this told otherwise


class WorkerWrites(WorkerPlugin):
    """Keeps what a worker writes to stderr during a task in a file that outlives it; of a crash, the traceback too."""

    name = "drfarm-log"
    idempotent = True

    def __init__(self, *, native: bool) -> None:
        self._native = native
        self._fd: int | None = None

    def setup(self, worker: Worker) -> None:
        """Open the log; a worker without a nanny is inside somebody's process and is left alone."""
        if worker.nanny is None:
            return
        folder = Path(worker.local_directory).parent
        _remove_stale(folder)
        path = folder / f"drfarm-{os.getpid()}-{_as_name(worker.address)}.log"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        faulthandler.enable(file=self._fd)
        faulthandler.register(signal.SIGUSR2, file=self._fd)
        screen: TextIO = sys.stderr
        if self._native:
            with contextlib.suppress(OSError):
                screen = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
                os.dup2(self._fd, 2)
        sys.stderr = _Both(screen, self._fd)

    def transition(self, key: Any, start: Any, finish: Any, **kwargs: Any) -> None:  # noqa: ARG002 - the library's
        """Begin the log anew with each task."""
        if finish == "executing" and self._fd is not None:
            os.ftruncate(self._fd, 0)

    def teardown(self, worker: Worker) -> None:
        """Remove the log of a worker that ends well; the file is still there for what follows."""
        for path in _logs_of(Path(worker.local_directory).parent, worker.address):
            path.unlink(missing_ok=True)


class _Both:
    """A stderr that goes to the screen and to a log."""

    def __init__(self, screen: TextIO, fd: int) -> None:
        self._screen, self._fd = screen, fd

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):  # a full disk must not fail a batch that only warns
            os.write(self._fd, text.encode(errors="backslashreplace"))
        return self._screen.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen, name)


def _take_log(folder: Path, worker: str) -> str:
    """Return the end of the log of a worker that is dead, and remove it."""
    text = ""
    for path in _logs_of(folder, worker):
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_CHARS))
            text = file.read(MOST_CHARS).decode(errors="replace")
        path.unlink(missing_ok=True)
    return last_lines(text)


def _logs_of(folder: Path, worker: str) -> list[Path]:
    return list(folder.glob(f"drfarm-*-{_as_name(worker)}.log"))


def _as_name(address: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "_", address)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob("drfarm-*.log"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.name.split("-")[1])
            if not psutil.pid_exists(pid) and time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _n_killed_by_kernel() -> int:
    """Return how many processes the kernel has ended for want of memory since this machine started, as far as told."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
