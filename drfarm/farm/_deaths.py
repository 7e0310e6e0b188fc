"""How worker processes died, and ending one that hangs: on every cluster whose workers have nannies.

A nanny is told the exit code of its worker, and tells the scheduler, which tells whoever has asked (`Deaths.watch`).
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self

from drfarm.farm._trace import last_lines

TOPIC = "drfarm-deaths"
"""Under which nannies tell."""
MEMORY_REMEDY = "Use fewer workers (--workers), raise --memory-limit, or store float16 features (dtype: float16)."

_DUMP_S = 1.0
"""A worker that hangs has so long to write where; then it is killed."""
_ANSWER_S = 3.0
"""A worker that does not hang answers within this."""
_ASK_S = 5.0
"""Asking a cluster to tell of deaths is waited for so long: it waits for every nanny that starts just then."""
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of a worker process."""

    exit_code: int | None = None
    """Its exit code, negative for a signal; None where nobody knows."""
    out_of_memory: bool = False
    """Whether it was ended because it took more memory than it may, or than there was."""
    log: str = ""
    """The last lines of what it wrote to stderr during its last task; of a crash, with Python's traceback."""

    @property
    def cause(self) -> str:
        """What it died of, as told to people; with what to do where that is known."""
        if self.out_of_memory:
            return f"it took more memory than it may. {MEMORY_REMEDY}"
        code = self.exit_code
        if code is None:
            return (
                "nothing more is known; its node or its whole job may have ended with it. If it was memory, use fewer "
                "workers (--workers) or raise --memory-limit."
            )
        if code >= 0:
            return f"it left with exit code {code}."
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        told = f"killed by signal {-code} ({name})"
        if -code in (signal.SIGKILL, signal.SIGTERM):
            return (
                f"{told}: by a person, by a batch system, or for memory. If it was memory, use fewer workers "
                "(--workers) or raise --memory-limit."
            )
        return f"{told}: a crash in native code."

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Return what a nanny told."""
        return cls(
            exit_code=int(told["exit_code"]), out_of_memory=bool(told["out_of_memory"]), log=last_lines(told["log"])
        )


class HasClient(Protocol):
    """A farm with a client of its cluster, which may be another one after the scheduler was started again."""

    @property
    def client(self) -> Any:
        """The client."""
        ...

    @property
    def blames_lost(self) -> bool:
        """False where the workers are this process's own."""
        ...


class Mortuary(Protocol):
    """Who knows how workers died, and can end one."""

    def watch(self) -> None:
        """Ask to be told of deaths from now on; cheap where that is done already."""
        ...

    def of(self, worker: str) -> Death | None:
        """Return how the worker at an address died; None as long as nothing is known."""
        ...

    def end(self, worker: str, key: str) -> bool:
        """End a worker that hangs in a task; False where it has not begun with it, and is left alone."""
        ...


@dataclass(slots=True, kw_only=True)
class Deaths:
    """What is known of the workers of a cluster that died."""

    farm: HasClient
    """Whose workers."""
    _known: dict[str, Death] = field(default_factory=dict)
    _watched: Any = None

    def watch(self) -> None:
        """Ask to be told of deaths from now on: once, and again where the cluster is reached anew."""
        client = self.farm.client
        connection = client.scheduler_comm  # another one when a scheduler has come back, and that knows of nothing
        if self._watched is connection or client.status != "running":
            return
        self._watched = connection
        with contextlib.suppress(Exception):
            client.subscribe_topic(TOPIC, self._told)
        asked = _aside(lambda: have_told(client, native=not self.farm.blames_lost))
        asked.join(_ASK_S)

    def of(self, worker: str) -> Death | None:
        """Return how the worker at an address died; None as long as nothing is known."""
        return self._known.get(worker)

    def end(self, worker: str, key: str) -> bool:
        """End a worker that is busy with a task, through its nanny, which starts another. Never waits for long.

        Parameters
        ----------
        worker
            Its address.
        key
            Of the task's future.

        Returns
        -------
        bool
            False where the task has not begun: the worker is busy with somebody else's, and is left alone.
        """
        client = self.farm.client
        answer: SimpleQueue[Any] = SimpleQueue()
        _aside(lambda: answer.put(client.run(_has_begun, key, workers=[worker])[worker]))
        try:
            if not answer.get(timeout=_ANSWER_S):
                return False
        except Empty:
            pass  # a process that is stopped, or holds the interpreter's lock, does not answer
        _aside(lambda: client.run(_end_worker_of, workers=[worker], nanny=True))
        return True

    def _told(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, told = event
        if len(self._known) >= _MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[str(told["worker"])] = Death.read(told)


def have_told(client: Any, *, native: bool) -> None:
    """Have all workers of a cluster tell how they die, those that start later too.

    A nanny that is just starting its first worker is passed over by the library: of workers that are one's own this
    is called before they are started.

    Parameters
    ----------
    client
        Of the cluster.
    native
        Whether their logs get what native code writes too.
    """
    from drfarm.farm._last_words import NannyTells, WorkerWrites

    # Workers that can't do it, or have no nanny, still work: only less is known of how they die.
    for plugin in (NannyTells(), WorkerWrites(native=native)):
        with contextlib.suppress(Exception):
            client.register_plugin(plugin)


def end_process(pid: int) -> None:
    """Kill a worker process; before that, let it write into its log where it is. Returns at once."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR2)
    timer = threading.Timer(_DUMP_S, _kill, [pid])
    timer.daemon = True
    timer.start()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _aside(call: Callable[[], object]) -> threading.Thread:
    """Make a call that may never return, in a thread that nobody has to wait for."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            call()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    return thread


def _has_begun(key: str, dask_worker: Any) -> bool:
    """Run in a worker: say whether it is at a task, or past it."""
    task = dask_worker.state.tasks.get(key)
    return task is None or task.state not in ("waiting", "ready", "constrained")


def _end_worker_of(dask_worker: Any) -> None:
    """Run in a nanny, which the library hands over under this name: end its worker."""
    pid = dask_worker.pid
    if pid is not None:
        end_process(pid)
