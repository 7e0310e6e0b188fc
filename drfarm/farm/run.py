"""Handing tasks to workers: processes of this machine, or a running cluster.

The store is the only state: a task writes its own batch, and nothing comes back but that it ended, or a small report.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from drfarm.farm._deadline import Pace
from drfarm.farm._feed import feed
from drfarm.farm._given import Failure, Farm, T, Watch, Ways
from drfarm.farm._local import local_farm
from drfarm.farm._told import Told
from drfarm.farm._waiting import Order
from drfarm.farm._worker_answers import check_store
from drfarm.farm.clusters._farms import Cluster
from drfarm.farm.clusters.settings import load_settings
from drfarm.farm.crew import Crew, watched_crew
from drfarm.farm.dashboard import dashboard_line
from drfarm.farm.gpus import Place, gpu_places
from drfarm.farm.joined import JoinedFarm, joined_farm
from drfarm.farm.options import FarmOptions, check_tasks
from drfarm.tail import at_least, shorter
from probe import StatisticsTask, Task, kept_by, run_task

MOST_TASK_BYTES = 64 * 1024
"""A pickled task stays below this: arrays never travel through the scheduler."""


NETWORK_LEAST_S = 600.0
"""No task that runs networks is taken to hang before so long: it may have weights to fetch and a data set to index."""


def check_cluster(options: FarmOptions, tasks: Sequence[Task], *, gpu: bool, store_url: str | None = None) -> None:
    """Refuse a running cluster that can't do what is asked, before anything starts. Starts nothing there.

    Parameters
    ----------
    options
        With the cluster's address; without one, nothing is checked.
    tasks
        Probes to run there; may be empty.
    gpu
        Whether networks are to run there.
    store_url
        Of the store that its workers must see; by default that of the tasks.

    Raises
    ------
    InvalidRequest
        If nothing answers, no worker fits, none has the memory, versions differ, or a worker does not see the store.
    """
    cluster = _own_cluster(options)
    if cluster is not None:
        if gpu:
            cluster.check(gpu=True)
        if tasks:
            check_tasks(tasks, options, memory_limit_bytes=cluster.check(gpu=False))
    if options.scheduler is None:
        return
    if gpu:
        with _joined(options, gpu=True) as farm:
            if store_url is not None:
                check_store(farm, store_url)
    if tasks:
        with _joined(options, gpu=False) as farm:
            check_store(farm, store_url or tasks[0].store_url)
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
    halves: Callable[[Task], Sequence[Task]] = lambda task: (task,),
    is_made: Callable[[Task], bool] = lambda _task: False,
    started: Callable[[Task, str], None] = lambda _task, _worker: None,
    crew: Crew | None = None,
    say: Callable[[str], None] = lambda _text: None,
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
    halves
        Cuts a task that took more memory than a worker has; itself where that is not possible.
    is_made
        Says whether the batch of a task is there: its worker may have died after it had written it.
    started
        Called in this thread: a batch is handed to the worker at an address.
    crew
        Called in another thread every two seconds: the workers that live, with their memory.
    say
        Told where the dashboard is.

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
    tasks = at_least(tasks, options.workers(sys.maxsize))
    n_workers = options.workers(len(tasks))
    watch = Watch(done=lambda task, _: done(task), failed=failed, retried=retried, started=started)
    ways = Ways(
        order=Order(makes=_counts, needs=_reads, seconds=_predicted_s, cut=shorter),
        reads=kept_by,
        halves=halves,
        is_made=is_made,
        pace=Pace(factor=options.deadline_factor),
        amount=_predicted_s,
    )
    with _probe_farm(options, n_workers, tasks) as (farm, check), watched_crew(lambda: farm.client, crew):
        if options.dashboard_port:
            say(dashboard_line(options.dashboard_port))
        while tasks:
            check(tasks)
            feed(farm, tasks, Told(work, "probe"), watch, ways)
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
    amount: Callable[[T], float] = lambda _: 0.0,
    amount_done: Callable[[T, Any], float] | None = None,
    started: Callable[[T, str], None] = lambda _task, _worker: None,
    crew: Crew | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> None:
    """Run every task that runs networks, each on a worker with a GPU of its own.

    Parameters
    ----------
    tasks, options, failed, retried, more, started, crew, say
        As in `run_tasks`.
    device
        Where networks run: with ``cpu``, workers on this machine share its cores instead.
    work
        What a worker does with a task; what it returns is small.
    done
        Called in this thread with a task that has ended and what it returned.
    amount, amount_done
        Forward passes of a task, and those that it has really made: a task hangs that takes far longer than others.

    Raises
    ------
    InvalidRequest
        If the cluster has no worker with a GPU, or this machine not enough of them; nothing has been started then.
    FarmFailed
        If no worker lives. What is written is kept.
    """
    if not tasks:
        return
    watch = Watch(done=done, failed=failed, retried=retried, started=started, fetches=True)
    ways: Ways[T] = Ways(
        pace=Pace(factor=options.deadline_factor, predicts=False, least_s=NETWORK_LEAST_S),
        amount=amount,
        amount_done=amount_done,
    )
    with contextlib.ExitStack() as stack:
        cluster = _own_cluster(options)
        if cluster is not None:
            url = getattr(tasks[0], "store_url", None)  # a task for tests has none
            farm: Farm = stack.enter_context(cluster.farm(gpu=True, n_tasks=len(tasks), store_url=url))
        elif options.scheduler is not None:
            farm = stack.enter_context(_joined(options, gpu=True))
        else:
            places = gpu_places(options.n_gpus, device=device)[: len(tasks)]
            limit = options.memory_limit_bytes or 0
            port = options.dashboard_port
            farm = stack.enter_context(local_farm(places, limit, networks=True, dashboard_port=port))
            if port:
                say(dashboard_line(port))
        stack.enter_context(watched_crew(lambda: farm.client, crew))
        while tasks:
            feed(farm, tasks, Told(work, "extract"), watch, ways)
            tasks = more()


@contextlib.contextmanager
def _probe_farm(
    options: FarmOptions, n_workers: int, tasks: Sequence[Task]
) -> Iterator[tuple[Farm, Callable[[Sequence[Task]], None]]]:
    """Give the farm, and what refuses tasks that it can't run."""
    cluster = _own_cluster(options)
    if cluster is not None:
        limit = cluster.memory_limit_bytes
        with cluster.farm(gpu=False, n_tasks=len(tasks), store_url=tasks[0].store_url) as pool:
            yield pool, partial(check_tasks, options=options, memory_limit_bytes=limit)
        return
    if options.scheduler is None:
        memory, port = options.memory(n_workers), options.dashboard_port
        with local_farm([Place()] * n_workers, memory, networks=False, dashboard_port=port) as local:
            yield local, partial(check_tasks, options=options, n_workers=n_workers)
        return
    with _joined(options, gpu=False) as joined:
        yield (
            joined,
            lambda tasks: _check_memory(tasks, options, [w.memory_limit_bytes for w in joined.fitting()]),
        )


def _own_cluster(options: FarmOptions) -> Cluster | None:
    """Return the cluster that a run makes for itself, where it is to make one."""
    if options.cluster_config is None:
        return None
    settings = load_settings(options.cluster, options.cluster_config)
    return Cluster(settings=settings, tls=options.tls, insecure=options.insecure)


def _joined(options: FarmOptions, *, gpu: bool) -> contextlib.AbstractContextManager[JoinedFarm]:
    """Join the running cluster that the options name."""
    assert options.scheduler is not None
    return joined_farm(
        options.scheduler, gpu=gpu, tls=options.tls, insecure=options.insecure, patience_s=options.patience_s
    )


def _check_memory(tasks: Sequence[Task], options: FarmOptions, limits: Sequence[int]) -> None:
    smallest = min((limit for limit in limits if limit), default=None)
    check_tasks(tasks, options, memory_limit_bytes=smallest)


def _counts(task: Task) -> tuple[str, str] | None:
    """Return the statistics that a task makes."""
    return (task.representation_id, task.rows) if isinstance(task, StatisticsTask) else None


def _predicted_s(task: Task) -> float:
    return task.predicted_s


def _reads(task: Task) -> Sequence[tuple[str, str]]:
    """Return the statistics that a task reads."""
    return () if isinstance(task, StatisticsTask) else task.statistics
