"""Handing tasks to workers: processes of this machine, or a running cluster.

The store is the only state: a task writes its own batch, and nothing comes back but that it ended, or a small report.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from drfarm.farm._feed import Failure, Farm, Order, T, Watch, feed
from drfarm.farm._local import local_farm
from drfarm.farm.gpus import Place, gpu_places
from drfarm.farm.joined import joined_farm
from drfarm.farm.options import FarmOptions, check_tasks
from probe import StatisticsTask, Task, run_task

MOST_TASK_BYTES = 64 * 1024
"""A pickled task stays below this: arrays never travel through the scheduler."""


def check_cluster(options: FarmOptions, tasks: Sequence[Task], *, gpu: bool) -> None:
    """Refuse a running cluster that can't do what is asked, before anything starts. Starts nothing there.

    Parameters
    ----------
    options
        With the cluster's address; without one, nothing is checked.
    tasks
        Probes to run there; may be empty.
    gpu
        Whether networks are to run there.

    Raises
    ------
    InvalidRequest
        If nothing answers, no worker fits, or none has the memory.
    """
    if options.scheduler is None:
        return
    if gpu:
        with joined_farm(options.scheduler, gpu=True):
            pass
    if tasks:
        with joined_farm(options.scheduler, gpu=False) as farm:
            _check_memory(tasks, options, [w.memory_limit_bytes for w in farm.fitting()])


def run_tasks(
    tasks: Sequence[Task],
    options: FarmOptions,
    *,
    done: Callable[[Task], None],
    failed: Callable[[Failure[Task]], None],
    retried: Callable[[Task, str], None],
    work: Callable[[Task], object] = run_task,
    more: Callable[[], Sequence[Task]] | None = None,
) -> None:
    """Run every task of probing, each on one worker.

    A task that reads statistics starts when the task that counts them has ended, well or badly.

    Parameters
    ----------
    tasks
        What to run, in the order in which to start.
    options
        Processes and memory, or the cluster.
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
    watch = Watch(done=lambda task, _: done(task), failed=failed, retried=retried)
    with _probe_farm(options, n_workers) as (farm, check):
        while tasks:
            check(tasks)
            feed(farm, tasks, work, watch, Order(makes=_counts, needs=_reads))
            tasks = [] if more is None else more()


def run_network_tasks(
    tasks: Sequence[T],
    options: FarmOptions,
    *,
    device: str,
    work: Callable[[T], object],
    done: Callable[[T, Any], None],
    failed: Callable[[Failure[T]], None],
    retried: Callable[[T, str], None],
    more: Callable[[], Sequence[T]],
) -> None:
    """Run every task that runs networks, each on a worker with a GPU of its own.

    Parameters
    ----------
    tasks, options, failed, retried, more
        As in `run_tasks`.
    device
        Where networks run: with ``cpu``, workers on this machine share its cores instead.
    work
        What a worker does with a task; what it returns is small.
    done
        Called in this thread with a task that has ended and what it returned.

    Raises
    ------
    InvalidRequest
        If the cluster has no worker with a GPU, or this machine not enough of them; nothing has been started then.
    FarmFailed
        If no worker lives. What is written is kept.
    """
    if not tasks:
        return
    watch = Watch(done=done, failed=failed, retried=retried, fetches=True)
    with contextlib.ExitStack() as stack:
        if options.scheduler is not None:
            farm: Farm = stack.enter_context(joined_farm(options.scheduler, gpu=True))
        else:
            places = gpu_places(options.n_gpus, device=device)[: len(tasks)]
            limit = options.memory_limit_bytes or 0
            farm = stack.enter_context(local_farm(places, limit, networks=True))
        while tasks:
            feed(farm, tasks, work, watch)
            tasks = more()


@contextlib.contextmanager
def _probe_farm(options: FarmOptions, n_workers: int) -> Iterator[tuple[Farm, Callable[[Sequence[Task]], None]]]:
    """Give the farm, and what refuses tasks that it can't run."""
    if options.scheduler is None:
        with local_farm([Place()] * n_workers, options.memory(n_workers), networks=False) as local:
            yield local, partial(check_tasks, options=options, n_workers=n_workers)
        return
    with joined_farm(options.scheduler, gpu=False) as joined:
        yield (
            joined,
            lambda tasks: _check_memory(tasks, options, [w.memory_limit_bytes for w in joined.fitting()]),
        )


def _check_memory(tasks: Sequence[Task], options: FarmOptions, limits: Sequence[int]) -> None:
    smallest = min((limit for limit in limits if limit), default=None)
    check_tasks(tasks, options, memory_limit_bytes=smallest)


def _counts(task: Task) -> tuple[str, str] | None:
    """Return the statistics that a task makes."""
    return (task.representation_id, task.rows) if isinstance(task, StatisticsTask) else None


def _reads(task: Task) -> Sequence[tuple[str, str]]:
    """Return the statistics that a task reads."""
    return () if isinstance(task, StatisticsTask) else task.statistics
