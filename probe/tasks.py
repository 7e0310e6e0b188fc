"""Running a task: read representations, measure, write one batch. Plain functions: they run anywhere."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from probe._cka_batch import cka_rows
from probe._kept import Kept
from probe._pairing import held_out
from probe._probe_batch import probe_rows
from probe.spec import CkaTask, ProbeTask, StatisticsTask, Task
from probe.stored_statistics import statistics_of
from store import Store, open_store
from store.schema import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What a worker tells when a batch is written; the results themselves are in the store."""

    batch_id: str
    """Which batch."""
    n_jobs: int
    """Results in it."""
    elapsed_s: float
    """Wall time in the worker, in seconds."""


_KEPT = Kept()
"""This process's own."""


def run_task(task: Task, *, device: str = "cpu", keep: bool = False) -> BatchReport:
    """Measure one block and write its results, atomically and under a name that its identity gives.

    Parameters
    ----------
    task
        The block.
    device
        Where probes are fitted.
    keep
        Whether features stay in memory for the next block of them, as in a worker that is given such blocks; results
        are the same. The process needs no more memory for it than its largest task.

    Raises
    ------
    ProbeError
        If the representations do not belong together or hold what can't be probed.
    StoreError
        If one is incomplete or corrupt, or the store can't be written.
    """
    started = time.perf_counter()
    if keep:
        _KEPT.make_room(task)
    try:
        _measure(task, device, _KEPT if keep else None)
    except BaseException:
        _KEPT.clear()  # it may have been for lack of memory
        raise
    return BatchReport(batch_id=task.batch_id, n_jobs=task.n_jobs, elapsed_s=time.perf_counter() - started)


def is_written(task: Task) -> bool:
    """Say whether the results of a block are in its store; of statistics, which no result is, never.

    Raises
    ------
    StoreError
        If the store can't be read.
    """
    kind: Kind
    match task:
        case ProbeTask():
            kind = "probes"
        case CkaTask():
            kind = "cka"
        case StatisticsTask():
            return False
    return open_store(task.store_url, patient=True).results.holds(kind, task.batch_id)


def _measure(task: Task, device: str, kept: Kept | None) -> None:
    started_at = datetime.now(UTC)
    store = open_store(task.store_url, patient=True)
    match task:
        case ProbeTask():
            store.results.write("probes", task.batch_id, probe_rows(store, task, device, kept), started_at=started_at)
        case CkaTask():
            store.results.write("cka", task.batch_id, cka_rows(store, task), started_at=started_at)
        case StatisticsTask():
            _count(store, task)


def _count(store: Store, task: StatisticsTask) -> None:
    features = store.features.open(task.representation_id)
    chosen, held = held_out(np.flatnonzero(features.valid), task.validation)
    statistics_of(store, features, rows=task.rows, chosen=None if held is None else chosen)
