"""Running a task: read representations, measure, write one batch. Plain functions: they run anywhere."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe import cka as cka_curves
from probe.covariance import moments
from probe.errors import Mismatch, ProbeError
from probe.protocols import Validation
from probe.sgd import FittedProbes, fit_nested
from probe.spec import CkaKind, CkaTask, ProbeTask, Task, cka_job_id
from probe.subsets import neuron_order
from store import Features, Store, open_store

if TYPE_CHECKING:
    import torch


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
    if isinstance(task, ProbeTask):
        store.results.write("probes", task.batch_id, _probe_rows(store, task, device))
    else:
        store.results.write("cka", task.batch_id, _cka_rows(store, task))
    return BatchReport(batch_id=task.batch_id, n_jobs=task.n_jobs, elapsed_s=time.perf_counter() - started)


def _probe_rows(store: Store, task: ProbeTask, device: str) -> list[dict[str, Any]]:
    setting = task.setting
    train, test = store.features.open(setting.train_id), store.features.open(setting.test_id)
    val = None
    if setting.validation is not None and setting.validation.split_id is not None:
        val = store.features.open(setting.validation.split_id)
    for other in (test, val):
        if other is not None:
            check_pair(train, other)
    groups: dict[tuple[str, int], list[int]] = {}
    for subset in task.subsets:
        groups.setdefault((subset.method, subset.seed), []).append(subset.n_neurons)
    resident: _Resident | None = None
    rows = []
    for (method, seed), sizes in sorted(groups.items()):
        began = time.perf_counter()
        order = neuron_order(method, seed, train.width)
        resident = _Resident.load(train, order) if resident is None else resident.reordered(order)
        train_rows, val_rows = held_out(np.flatnonzero(train.valid), setting.validation)
        fitted = fit_nested(
            resident.rows,
            partial(blocks, test, order),
            sizes=sizes,
            n_classes=len(train.classes),
            protocol=setting.protocol,
            seed=seed,
            train_rows=train_rows,
            validation=_validation_blocks(val, order, resident, val_rows),
            device=device,
        )
        share_s = (time.perf_counter() - began) / len(fitted.sizes)
        rows += _rows_of(task, fitted, method=method, seed=seed, width=train.width, elapsed_s=share_s)
    return rows


def _rows_of(
    task: ProbeTask, fitted: FittedProbes, *, method: str, seed: int, width: int, elapsed_s: float
) -> list[dict[str, Any]]:
    by_size = {(s.method, s.seed, s.n_neurons): s for s in task.subsets}
    n, setting = task.names, task.setting
    return [
        {
            "study": n.study,
            "model": n.model,
            "layer": n.layer,
            "dataset": n.dataset,
            "solver": setting.solver,
            "protocol": setting.label,
            "method": method,
            "seed": seed,
            "n_neurons": k,
            "width": width,
            "fraction": k / width,
            "accuracy": score.accuracy,
            "n_test": score.n_test,
            "class_accuracy": score.class_accuracy,
            "predicted_count": score.predicted.tolist(),
            "val_accuracy": None if fitted.val_accuracies is None else fitted.val_accuracies[i],
            "converged": None,
            "elapsed_s": elapsed_s,
            "batch_id": task.batch_id,
            "train_id": setting.train_id,
            "test_id": setting.test_id,
            "job_id": setting.job_id(by_size[method, seed, k]),
        }
        for i, (k, score) in enumerate(zip(fitted.sizes, fitted.scores, strict=True))
    ]


def _cka_rows(store: Store, task: CkaTask) -> list[dict[str, Any]]:
    features = store.features.open(task.test_id)
    began = time.perf_counter()
    valid = features.valid
    total = moments(block[valid[start:stop]] for start, stop, block in features.blocks())
    orders = {s: neuron_order(task.method, s, features.width) for s in _seeds(task)}
    values: list[tuple[CkaKind, int, int | None, int, float]] = []
    for seed, sizes in task.part_whole:
        curve = cka_curves.part_whole(total.scatter, orders[seed])
        values += [("part_whole", seed, None, k, float(curve[k - 1])) for k in sizes]
    for seed, seed_b, sizes in task.pairs:
        curve = cka_curves.pair(total.scatter, orders[seed], orders[seed_b])
        values += [("pair", seed, seed_b, k, float(curve[k - 1])) for k in sizes]
    share_s = (time.perf_counter() - began) / max(1, len(values))
    n, batch = task.names, task.batch_id
    return [
        {
            "study": n.study,
            "model": n.model,
            "layer": n.layer,
            "dataset": n.dataset,
            "kind": kind,
            "method": task.method,
            "seed": seed,
            "seed_b": seed_b,
            "n_neurons": k,
            "width": features.width,
            "fraction": k / features.width,
            "value": None if np.isnan(value) else value,
            "n_samples": total.n,
            "batch_id": batch,
            "test_id": task.test_id,
            "job_id": cka_job_id(task.test_id, kind, task.method, seed, seed_b, k),
            "elapsed_s": share_s,
        }
        for kind, seed, seed_b, k, value in values
    ]


def _seeds(task: CkaTask) -> set[int]:
    return {s for s, _ in task.part_whole} | {s for a, b, _ in task.pairs for s in (a, b)}


def check_pair(train: Features, test: Features) -> None:
    """Refuse two representations that do not belong together.

    Raises
    ------
    Mismatch
        If widths or classes differ, or the second has rows of one class only.
    """
    if train.width != test.width:
        raise Mismatch(f"{train!r} and {test!r} have different widths: they are not the same layer.")
    if train.classes != test.classes:
        raise Mismatch(
            f"{train!r} and {test!r} have different classes: {_differ(train.classes, test.classes)}. "
            "A probe is trained and scored on the same classes."
        )
    if len(np.unique(test.labels[test.valid])) < 2:
        raise Mismatch(f"{test!r} has rows of one class only: an accuracy on it says nothing.")


def _differ(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    if only_a or only_b:
        return f"only in the first: {only_a[:5]}, only in the second: {only_b[:5]}"
    return "the same names in another order"


def held_out(valid: NDArray[np.int64], validation: Validation | None) -> tuple["torch.Tensor", "torch.Tensor | None"]:
    """Split the valid training rows into those to train on and those to validate on.

    Parameters
    ----------
    valid
        Row numbers, shape (n,), int64.
    validation
        Where it names a fraction f, the first int((1 - f) n) rows of ``torch.randperm(n)`` under its seed are trained
        on and the rest held out: what ``torch.utils.data.random_split`` did for the authors.
    """
    import torch

    rows = torch.from_numpy(valid)
    if validation is None or validation.fraction is None:
        return rows, None
    n_train = int((1 - validation.fraction) * len(rows))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(validation.seed))
    if not 0 < n_train < len(rows):
        raise ProbeError(f"val_fraction {validation.fraction} of {len(rows)} rows leaves none to train or validate on.")
    return rows[order[:n_train]], rows[order[n_train:]]


def blocks(features: Features, order: NDArray[np.int64]) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    """Yield the valid rows of a representation, chunk by chunk, with neurons in the given order, and their labels."""
    import torch

    for start, stop, block in features.blocks():
        keep = features.valid[start:stop]
        yield torch.from_numpy(block[keep][:, order]), torch.from_numpy(features.labels[start:stop][keep])


def _validation_blocks(
    val: Features | None, order: NDArray[np.int64], resident: "_Resident", val_rows: "torch.Tensor | None"
) -> Any:
    if val is not None:
        return partial(blocks, val, order)
    if val_rows is None:
        return None

    def held() -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
        x, y = resident.rows
        for part in val_rows.split(1024):
            yield x[part], y[part]

    return held


class _Resident:
    """The training features in memory, once, with their neurons in the order of the stack at work."""

    _ROWS = 1024

    def __init__(self, x: NDArray[Any], labels: NDArray[np.int64], order: NDArray[np.int64]) -> None:
        self._x = x
        self._labels = labels
        self._order = order

    @classmethod
    def load(cls, features: Features, order: NDArray[np.int64]) -> "_Resident":
        """Read view 0, chunk by chunk, straight into the given neuron order."""
        return cls(features.numpy(neurons=order), features.labels, order)

    def reordered(self, order: NDArray[np.int64]) -> "_Resident":
        """Permute the neurons in place, a few rows at a time: no second copy of the representation."""
        where = np.empty_like(self._order)
        where[self._order] = np.arange(len(where))
        move = where[order]
        for start in range(0, len(self._x), self._ROWS):
            part = self._x[start : start + self._ROWS]
            part[:] = part[:, move]
        self._order = order
        return self

    @property
    def rows(self) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Features, shape (n, d), and labels, as tensors over the same memory."""
        import torch

        return torch.from_numpy(self._x), torch.from_numpy(self._labels)
