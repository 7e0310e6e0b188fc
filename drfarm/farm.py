"""Handing tasks to local worker processes. The only module that imports distributed.

The store is the only state: a task writes its own batch, and nothing comes back but that it ended. Each task is handed
to one worker that has no other, so that a worker's death names its task.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from drfarm.errors import FarmFailed
from probe import StatisticsTask, Task, run_task
from store import DrfarmError, InvalidRequest, StorageFailure

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

ATTEMPTS = 3
"""A batch that fails so often is quarantined."""

MOST_TASK_BYTES = 64 * 1024
"""A pickled task stays below this: arrays never travel through the scheduler."""

PATIENCE_S = 120.0
"""So long without one living worker, and the farm gives up."""

_LOOK_S = 0.2
"""A worker that comes back waits at most so long for a task."""
_ON_ITS_WAY_S = 10.0
"""A task that was sent to a worker as it died is taken back after so long without news of it."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    "PYTHONSAFEPATH": "1",
}
"""One worker process a core, one thread each: cores are used once."""

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_IMPORTED_ONCE = ["distributed", "probe", "torch"]
"""Workers are forked from one process that has imported these and done nothing else: they start at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A batch that was given up."""

    task: Task
    """What it was."""
    error: str
    """Why, as told to people."""
    attempts: int
    """How often it was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmOptions:
    """How many processes, and how much memory each."""

    n_workers: int | None = None
    """Worker processes; by default one for each core that this process may use."""
    memory_limit_bytes: int | None = None
    """Memory of one worker; by default its share of the machine's."""

    def workers(self, n_tasks: int) -> int:
        """Return the number of processes for so many tasks."""
        from dask.system import CPU_COUNT  # affinity and the container's quota are in it

        return max(1, min(self.n_workers or CPU_COUNT, n_tasks))

    def memory(self, n_workers: int) -> int:
        """Return the memory limit of one worker, in bytes."""
        if self.memory_limit_bytes is not None:
            return self.memory_limit_bytes
        from distributed.system import MEMORY_LIMIT  # the container's limit is in it

        return int(MEMORY_LIMIT * 0.9 / n_workers)


def check_tasks(tasks: Sequence[Task], options: FarmOptions, *, n_workers: int | None = None) -> None:
    """Refuse tasks that can't run, before any starts.

    Parameters
    ----------
    tasks, options
        What is to run, and how.
    n_workers
        Processes that are there already; by default as many as the tasks would start.

    Raises
    ------
    InvalidRequest
        If one is predicted to need more memory than a worker has.
    """
    if not tasks:
        return
    limit = options.memory(n_workers or options.workers(len(tasks)))
    worst = max(tasks, key=lambda t: t.predicted_bytes)
    if worst.predicted_bytes > limit:
        raise InvalidRequest(
            f"a task ({worst.title}) needs about {worst.predicted_bytes / 2**20:,.0f} MiB of memory, but a worker has "
            f"{limit / 2**20:,.0f} MiB. Use fewer workers (--workers), raise --memory-limit, or store float16 features "
            "(dtype: float16)."
        )


def check_device(device: str) -> None:
    """Refuse a device on which probes can't be fitted here, before any worker starts.

    Raises
    ------
    InvalidRequest
        If it is a GPU and there is none, or CuPy, which ridge needs there, is not installed.
    """
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise InvalidRequest(
            f"--probe-device {device}: torch sees no CUDA device here. Leave the option out, or use another machine."
        )
    if find_spec("cupy") is None:
        raise InvalidRequest(
            f"--probe-device {device}: ridge on a GPU needs CuPy, which is not installed. Install drfarm[gpu], or "
            "leave the option out."
        )


def run_tasks(
    tasks: Sequence[Task],
    options: FarmOptions,
    *,
    done: Callable[[Task], None],
    failed: Callable[[Failure], None],
    retried: Callable[[Task, str], None],
    work: Callable[[Task], object] = run_task,
    more: Callable[[], Sequence[Task]] | None = None,
) -> None:
    """Run every task, each on one of the local worker processes.

    A task that reads statistics starts when the task that counts them has ended, well or badly.

    Parameters
    ----------
    tasks
        What to run, in the order in which to start.
    options
        Processes and memory.
    done, failed, retried
        Called in this thread: a batch is written; a batch is given up after `ATTEMPTS` tries, or at once where trying
        again can't help; a batch is tried again, with the reason.
    work
        What a worker does with a task; workers import it by its name.
    more
        Asked for further tasks when all have ended, until it gives none.

    Raises
    ------
    InvalidRequest
        If a task can't run; none has been started then.
    FarmFailed
        If no worker process lives. What is written is kept.
    """
    if not tasks:
        return
    check_tasks(tasks, options)
    n_workers = options.workers(len(tasks))
    with _farm(n_workers, options.memory(n_workers)) as farm:
        while tasks:
            _feed(farm, tasks, work, done, failed, retried)
            tasks = [] if more is None else more()
            check_tasks(tasks, options, n_workers=n_workers)


def _feed(
    farm: "_Farm",
    tasks: Sequence[Task],
    work: Callable[[Task], object],
    done: Callable[[Task], None],
    failed: Callable[[Failure], None],
    retried: Callable[[Task, str], None],
) -> None:
    waiting = deque((task, 1) for task in tasks)
    uncounted = {(t.representation_id, t.rows) for t in tasks if isinstance(t, StatisticsTask)}
    flying: dict[Any, _Flight] = {}
    landed: SimpleQueue[Any] = SimpleQueue()
    while waiting or flying:
        if waiting and len(flying) < farm.n_workers:
            busy = {f.worker for f in flying.values()}
            for worker in [w for w in farm.workers() if w not in busy]:
                startable = _take(waiting, uncounted)
                if startable is None:
                    break
                task, attempt = startable
                future = farm.submit(work, task, worker)
                flying[future] = _Flight(task=task, attempt=attempt, worker=worker)
                future.add_done_callback(landed.put)
        try:
            future = landed.get(timeout=_LOOK_S)
        except Empty:
            for future in _lost(flying, farm):
                flight = flying.pop(future)
                future.cancel()
                waiting.appendleft((flight.task, flight.attempt))
            continue
        if future not in flying:
            continue
        flight = flying.pop(future)
        if future.status == "finished":
            uncounted.discard(_counts(flight.task))
            done(flight.task)
        else:
            error = future.exception() if future.status == "error" else None
            reason = _reason(error, future.status)
            if flight.attempt >= ATTEMPTS or not _may_pass(error):
                uncounted.discard(_counts(flight.task))
                failed(Failure(task=flight.task, error=reason, attempts=flight.attempt))
            else:
                retried(flight.task, reason)
                waiting.append((flight.task, flight.attempt + 1))
        future.release()


def _counts(task: Task) -> tuple[str, str] | None:
    """Return the statistics that a task makes."""
    return (task.representation_id, task.rows) if isinstance(task, StatisticsTask) else None


def _take(waiting: deque[tuple[Task, int]], uncounted: set[tuple[str, str]]) -> tuple[Task, int] | None:
    """Take the first task whose statistics are there; None where all that wait need others."""
    for i, (task, attempt) in enumerate(waiting):
        if isinstance(task, StatisticsTask) or uncounted.isdisjoint(task.statistics):
            del waiting[i]
            return task, attempt
    return None


@dataclass(slots=True, kw_only=True)
class _Flight:
    """A task that a worker has."""

    task: Task
    attempt: int
    worker: str
    """Its address; a worker that is started again has another."""
    missed_at: float | None = None
    """When its worker was first seen gone."""


def _lost(flying: dict[Any, _Flight], farm: "_Farm") -> list[Any]:
    """Return the tasks that never reached their workers: gone for long, and no word of the tasks."""
    alive, now = set(farm.workers()), time.monotonic()
    for flight in flying.values():
        if flight.worker in alive:
            flight.missed_at = None
        elif flight.missed_at is None:
            flight.missed_at = now
    return [
        future
        for future, flight in flying.items()
        if flight.missed_at is not None and now - flight.missed_at > _ON_ITS_WAY_S and future.status == "pending"
    ]


def _may_pass(error: BaseException | None) -> bool:
    """Say whether a second try may go better: bad data stays bad; a full disk or a dead worker may not recur."""
    return isinstance(error, StorageFailure) or not isinstance(error, DrfarmError)


def _reason(error: BaseException | None, status: object) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            "its worker process died (killed, out of memory, or a crash in native code). If it was memory, use fewer "
            "workers (--workers) or raise --memory-limit."
        )
    if isinstance(error, DrfarmError):
        return str(error)
    return f"{type(error).__name__}: {error}" if error is not None else f"its future was {status}"


@dataclass(slots=True, kw_only=True)
class _Farm:
    """Worker processes on this machine; one that dies is started again."""

    cluster: "LocalCluster"
    client: "Client"
    n_workers: int
    _alive_at: float = field(default_factory=time.monotonic)
    _n_sent: int = 0

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that live now; replace those that are gone for good."""
        alive = tuple(self.client.nthreads())
        now = time.monotonic()
        if len(alive) < self.n_workers:
            self.cluster.sync(self._replace)
        if alive:
            self._alive_at = now
        elif now - self._alive_at > PATIENCE_S:
            raise FarmFailed(
                f"no worker process could be started, or stay alive, for {PATIENCE_S:.0f} s. Look for what kills them "
                "(memory: use fewer workers, --workers); then run again: what is finished is kept."
            )
        return alive

    def submit(self, work: Callable[[Task], object], task: Task, worker: str) -> Any:
        """Hand a task to one worker; its death is told at once."""
        self._n_sent += 1
        key = f"{task.batch_id}-{self._n_sent}"
        return self.client.submit(work, task, key=key, pure=False, retries=0, workers=[worker])

    async def _replace(self) -> None:
        """Ask for new workers where one could not start: the library gives those up."""
        from distributed.core import Status

        for name, nanny in self.cluster.workers.items():
            if nanny.status in (Status.closed, Status.failed):
                self.cluster.worker_spec.pop(name, None)
        self.cluster.scale(self.n_workers)

    async def kill(self) -> None:
        """End the workers now, whatever they do: a batch is written whole or not at all."""
        for nanny in self.cluster.workers.values():
            nanny.close_gracefully(reason="drfarm ends")
            if nanny.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)


@contextlib.contextmanager
def _farm(n_workers: int, memory_limit: int) -> Iterator[_Farm]:
    """Start worker processes on this machine, and end them whatever happens."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    settings = {
        "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        "distributed.deploy.lost-worker-timeout": "1h",  # on a slow disk a worker needs long to come back
        "distributed.worker.multiprocessing-method": _METHOD,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": False,
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.tick.limit": "1h",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silenced(logging.getLogger("distributed")))
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(_environment(_ENVIRONMENT))
        if _METHOD == "forkserver":
            get_mp_context().set_forkserver_preload(_IMPORTED_ONCE)
        with _deaf_to_interrupts():
            # No workers yet: this starts the thread that will start them, and takes no time.
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=0,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    # No dashboard; its server would else take a well-known port, and warn where another cluster has it.
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=memory_limit,
                    silence_logs=logging.CRITICAL,
                )
            )
        farm = _Farm(cluster=cluster, client=stack.enter_context(Client(cluster)), n_workers=n_workers)
        cluster.scale(n_workers)
        try:
            yield farm
        except BaseException:
            cluster.sync(farm.kill)
            raise


def start_tracker() -> None:
    """Start the process that removes what killed workers leave behind, before anything else in this process does.

    It is Python's own; for each killed worker it would warn on a person's screen that it has done so.
    """
    given = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore:resource_tracker:UserWarning"
    with _environment({"PYTHONWARNINGS": f"{given},{quiet}" if given else quiet}):
        resource_tracker.ensure_running()


@contextlib.contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """Keep a library quiet to the very end: its own switch is back before the last connections have closed."""
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside; the library lets a user's own win."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start threads, and through them processes, that Ctrl-C passes by: it is for this thread, which ends the others.

    A terminal sends it to every process; blocked signals are inherited, and workers would print their tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    start_tracker()  # its start would unblock the signal in the thread that starts workers
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
