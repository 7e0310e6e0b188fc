"""Measuring the CKA values of one task: coordinates from the store's statistics, values by the task's estimator."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe import cka
from probe._cka_curves import Curve, Parts, curves_of
from probe._cka_gathered import refuse_curves, shared_reads
from probe._pairing import held_out
from probe.cka_interval import debiased
from probe.cka_minibatch import PAPER_ROWS, minibatch
from probe.cka_parts import Part
from probe.coordinates import Coordinates
from probe.gathered import is_gathered
from probe.spec import CkaKind, CkaTask
from probe.statistics import Statistics, statistics
from probe.stored_statistics import row_blocks, statistics_of
from store import Features, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    kind: CkaKind
    seed: int
    seed_b: int | None
    n_neurons: int
    value: float
    low: float = float("nan")
    high: float = float("nan")


def cka_rows(store: Store, task: CkaTask) -> list[dict[str, Any]]:
    """Return one row of results for each value of a task."""
    features = store.features.open(task.test_id)
    began = time.perf_counter()
    trained = _trained_on(store, task)
    n_samples, values = _values(store, task, features, trained)
    share_s = (time.perf_counter() - began) / max(1, len(values))
    n, batch = task.names, task.batch_id
    return [
        {
            "study": n.study,
            "model": n.model,
            "layer": n.layer,
            "dataset": n.dataset,
            "kind": v.kind,
            "method": task.method,
            "seed": v.seed,
            "seed_b": v.seed_b,
            "n_neurons": v.n_neurons,
            "width": features.layer_width,
            "fraction": v.n_neurons / features.layer_width,
            "value": _defined(v.value),
            "n_samples": n_samples,
            "batch_id": batch,
            "test_id": task.test_id,
            "job_id": task.job_id(v.kind, v.seed, v.seed_b, v.n_neurons),
            "elapsed_s": share_s,
            "estimator": task.estimator,
            "ci_low": _defined(v.low),
            "ci_high": _defined(v.high),
        }
        for v in values
    ]


def _values(store: Store, task: CkaTask, features: Features, trained: Statistics | None) -> tuple[int, list[_Value]]:
    curves = curves_of(task)
    source = Parts(method=task.method, width=features.layer_width, trained=trained)
    if not is_gathered(features):
        counted = statistics_of(store, features) if task.estimator == "biased" else None
        return _measured(task, features, None, curves, source, counted)
    refuse_curves(features, curves, task.method)
    n_samples, values = 0, []
    for columns, some, parts in shared_reads(features, curves, source):
        counted = _statistics_of(features, columns) if task.estimator == "biased" else None
        n_samples, found = _measured(task, features, columns, some, parts, counted)
        values += found
    return n_samples, values


def _measured(
    task: CkaTask,
    features: Features,
    columns: NDArray[np.int64] | None,
    curves: Sequence[Curve],
    source: Parts,
    counted: Statistics | None,
) -> tuple[int, list[_Value]]:
    """Measure curves on the given columns of a representation (all by default); return the rows that count."""
    if counted is not None:
        return counted.n, [v for c in curves for v in _biased(counted.scatter, c, source)]
    interval = task.estimator == "debiased"
    rows = _valid_rows(features, None if interval else PAPER_ROWS, columns)
    return len(rows), list(_by_rows(rows, curves, source, interval=interval))


def _statistics_of(features: Features, columns: NDArray[np.int64]) -> Statistics:
    """Return the statistics of some columns, over the rows of all views that are not masked."""
    blocks = ((x[:, columns], y) for x, y in row_blocks(features, features.valid))
    return statistics(blocks, len(features.classes))


def _valid_rows(features: Features, limit: int | None, columns: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """Return the rows of view 0 that are not masked, or the first of them, (n, d) in the stored dtype.

    They are read into place once, and of the columns only those that are asked for. Other views would show the same
    samples again: what is estimated from rows takes each row as one independent sample.
    """
    n_valid = int(np.count_nonzero(features.valid))
    width = features.width if columns is None else len(columns)
    rows = np.empty((n_valid if limit is None else min(n_valid, limit), width), features.dtype)
    n = 0
    for start, stop, block in features.blocks():
        taken = block[features.valid[start:stop]][: len(rows) - n]
        rows[n : n + len(taken)] = taken if columns is None else taken[:, columns]
        n += len(taken)
        if n == len(rows):  # what is beyond the limit is not read
            break
    return rows


def _biased(scatter: NDArray[np.float64], curve: Curve, source: Parts) -> Iterator[_Value]:
    for largest, sizes in source.groups(curve.sizes):
        a = source.of(curve.seed, largest)
        b = None if curve.seed_b is None else source.of(curve.seed_b, largest)
        if a.order is not None:
            values = (
                cka.part_whole(scatter, a.order)
                if b is None or b.order is None
                else cka.pair(scatter, a.order, b.order)
            )
        else:
            assert a.matrix is not None
            values = (
                cka.part_whole_projected(scatter, a.matrix)
                if b is None or b.matrix is None
                else cka.pair_projected(scatter, a.matrix, b.matrix)
            )
        for k in sizes:
            yield _Value(kind=curve.kind, seed=curve.seed, seed_b=curve.seed_b, n_neurons=k, value=float(values[k - 1]))


def _by_rows(rows: NDArray[Any], curves: Sequence[Curve], source: Parts, *, interval: bool) -> Iterator[_Value]:
    """Measure curves of the same sizes together: they share the parts."""
    for sizes in dict.fromkeys(tuple(c.sizes) for c in curves):
        mine = [c for c in curves if tuple(c.sizes) == sizes]
        seeds = sorted({s for c in mine for s in (c.seed, c.seed_b) if s is not None})
        for largest, served in source.groups(sizes):
            parts = [_part(source.of(s, largest)) for s in seeds]
            comparisons = [(seeds.index(c.seed), None if c.seed_b is None else seeds.index(c.seed_b)) for c in mine]
            if interval:
                found = debiased(rows, parts, comparisons, served)
                table = [(e.value, e.low, e.high) for e in found]
            else:
                missing = np.full(len(served), np.nan)
                table = [(v, missing, missing) for v in minibatch(rows, parts, comparisons, served)]
            for c, (value, low, high) in zip(mine, table, strict=True):
                for i, k in enumerate(served):
                    yield _Value(
                        kind=c.kind,
                        seed=c.seed,
                        seed_b=c.seed_b,
                        n_neurons=k,
                        value=float(value[i]),
                        low=float(low[i]),
                        high=float(high[i]),
                    )


def _part(of: Coordinates) -> Part:
    part = of.order if of.order is not None else of.matrix
    assert part is not None
    return part


def _trained_on(store: Store, task: CkaTask) -> Statistics | None:
    """Return the statistics that decide principal components or ranks."""
    if task.train_id is None:
        return None
    train = store.features.open(task.train_id)
    chosen, held = held_out(np.flatnonzero(train.valid), task.validation)
    return statistics_of(store, train, rows=task.training_rows, chosen=chosen if held is not None else None)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
