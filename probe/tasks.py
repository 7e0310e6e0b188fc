"""Running a task: read representations, measure, write one batch. Plain functions: they run anywhere."""

import time
from dataclasses import dataclass

import numpy as np

from probe._cka_batch import cka_rows
from probe._pairing import held_out
from probe._probe_batch import probe_rows
from probe.spec import CkaTask, ProbeTask, StatisticsTask, Task
from probe.stored_statistics import statistics_of
from store import Store, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What a worker tells when a batch is written; the results themselves are in the store."""

    batch_id: str
    """Which batch."""
    n_jobs: int
    """Results in it."""
    elapsed_s: float
    """Wall time in the worker, in seconds."""


def run_task(task: Task, *, device: str = "cpu") -> BatchReport:
    """Measure one block and write its results, atomically and under a name that its identity gives.

    Raises
    ------
    ProbeError
        If the representations do not belong together or hold what can't be probed.
    StoreError
        If one is incomplete or corrupt, or the store can't be written.
    """
    started = time.perf_counter()
    store = open_store(task.store_url)
    match task:
        case ProbeTask():
            store.results.write("probes", task.batch_id, probe_rows(store, task, device))
        case CkaTask():
            store.results.write("cka", task.batch_id, cka_rows(store, task))
        case StatisticsTask():
            _count(store, task)
    return BatchReport(batch_id=task.batch_id, n_jobs=task.n_jobs, elapsed_s=time.perf_counter() - started)


def _count(store: Store, task: StatisticsTask) -> None:
    features = store.features.open(task.representation_id)
    chosen, held = held_out(np.flatnonzero(features.valid), task.validation)
    statistics_of(store, features, rows=task.rows, chosen=None if held is None else chosen)
