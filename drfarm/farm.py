"""Handing tasks to local worker processes. The only module that imports distributed.

The store is the only state: a task writes its own batch, and only a short report comes back. At most one task is in
flight for each worker, so that a worker's death names its task.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from probe import BatchReport, Task, run_task
from store import DrfarmError, InvalidRequest, StorageFailure

ATTEMPTS = 3
"""A batch that fails so often is quarantined."""

MOST_TASK_BYTES = 64 * 1024
"""A pickled task stays below this: arrays never travel through the scheduler."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    "PYTHONSAFEPATH": "1",
}
"""One worker process a core, one thread each: cores are used once."""


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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        return max(1, min(self.n_workers or cores, n_tasks))

    def memory(self, n_workers: int) -> int:
        """Return the memory limit of one worker, in bytes."""
        if self.memory_limit_bytes is not None:
            return self.memory_limit_bytes
        import psutil

        return int(psutil.virtual_memory().total * 0.9 / n_workers)


def check_tasks(tasks: Sequence[Task], options: FarmOptions) -> None:
    """Refuse tasks that can't run, before any starts.

    Raises
    ------
    InvalidRequest
        If one is predicted to need more memory than a worker has.
    """
    if not tasks:
        return
    limit = options.memory(options.workers(len(tasks)))
    worst = max(tasks, key=lambda t: t.predicted_bytes)
    if worst.predicted_bytes > limit:
        raise InvalidRequest(
            f"{worst.title} needs about {worst.predicted_bytes / 2**30:.2f} GiB in a worker, which has "
            f"{limit / 2**30:.2f} GiB. Use fewer workers (--workers), raise --memory-limit, or store float16 features "
            "(dtype: float16)."
        )


def run_tasks(
    tasks: Sequence[Task],
    options: FarmOptions,
    *,
    done: Callable[[Task, BatchReport], None],
    failed: Callable[[Failure], None],
    retried: Callable[[Task, str], None],
) -> None:
    """Run every task, each on one of the local worker processes.

    Parameters
    ----------
    tasks
        What to run, in the order in which to start.
    options
        Processes and memory.
    done, failed, retried
        Called in this thread: a batch is written; a batch is given up after `ATTEMPTS` tries, or at once where trying
        again can't help; a batch is tried again, with the reason.
    """
    if not tasks:
        return
    check_tasks(tasks, options)
    n_workers = options.workers(len(tasks))
    with _cluster(n_workers, options.memory(n_workers)) as client:
        _feed(client, tasks, n_workers, done, failed, retried)


def _feed(
    client: Any,
    tasks: Sequence[Task],
    window: int,
    done: Callable[[Task, BatchReport], None],
    failed: Callable[[Failure], None],
    retried: Callable[[Task, str], None],
) -> None:
    from distributed import as_completed

    waiting = deque((task, 1) for task in tasks)
    flying: dict[Any, tuple[Task, int]] = {}
    stream = as_completed()

    def start() -> None:
        task, attempt = waiting.popleft()
        future = client.submit(_run, task, key=f"{task.batch_id}-{attempt}", pure=False, retries=0)
        flying[future] = (task, attempt)
        stream.add(future)

    while waiting and len(flying) < window:
        start()
    for future in stream:
        task, attempt = flying.pop(future)
        error = future.exception() if future.status == "error" else None
        if future.status == "finished":
            done(task, future.result())
        else:
            reason = _reason(error, future.status)
            if attempt >= ATTEMPTS or not _may_pass(error):
                failed(Failure(task=task, error=reason, attempts=attempt))
            else:
                retried(task, reason)
                waiting.append((task, attempt + 1))
        future.release()
        while waiting and len(flying) < window:
            start()


def _run(task: Task) -> BatchReport:
    """Run a task in a worker, on one thread."""
    import torch

    torch.set_num_threads(1)
    return run_task(task)


def _may_pass(error: BaseException | None) -> bool:
    """Say whether a second try may go better: bad data stays bad; a full disk or a dead worker may not recur."""
    return isinstance(error, StorageFailure) or not isinstance(error, DrfarmError)


def _reason(error: BaseException | None, status: str) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            "its worker process died (killed, out of memory, or a crash in native code). If it was memory, use fewer "
            "workers (--workers) or raise --memory-limit."
        )
    if isinstance(error, DrfarmError):
        return str(error)
    return f"{type(error).__name__}: {error}" if error is not None else f"its future was {status}"


@contextlib.contextmanager
def _cluster(n_workers: int, memory_limit: int) -> Iterator[Any]:
    """Start worker processes on this machine, and end them whatever happens."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.work-stealing": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": False,
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.tick.limit": "1h",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                memory_limit=memory_limit,
                silence_logs=logging.CRITICAL,
            )
        )
        yield stack.enter_context(Client(cluster))
