"""Small representations in a store, tasks on them, and the rows that come out."""

import math
import shutil
from pathlib import Path

import numpy as np

from probe import CkaTask, Names, ProbeSetting, ProbeTask, SubsetGroup, run_task, sizes_of
from store.testing import make_key

NAMES = Names(study="s", model="m", layer="l", dataset="d")
CLASSES = ("a", "b", "c")


def put(store, split, x, y, *, classes=CLASSES, masked=(), seal=True, dtype="float32", rows_per_chunk=64, neurons=None):
    """Write a representation of several chunks, x of shape (n, d) or (views, n, d), and return its id.

    Masked rows hold NaN: whoever reads one shows it. With ``neurons`` only those are stored.
    """
    views = np.asarray(x)[None] if np.ndim(x) == 2 else np.asarray(x)
    kept, layer_width = {}, views.shape[2]
    if neurons is not None:
        neurons = np.unique(neurons)
        kept = {"neurons": neurons, "layer_width": layer_width}
        views = views[..., neurons]
    key = make_key(
        split=split,
        neurons=None if neurons is None else store.neuron_sets.put(neurons, layer_width),
        dtype=dtype,
        n_views=len(views),
        transform_seed=None if len(views) == 1 else 0,
        # What tests vary; a content address, as the digest of a split is.
        dataset_fingerprint=f"{classes}{masked}{views.shape}{views.sum()}{np.dot(y, np.arange(len(y)) + 1)}",
    )
    writer = store.features.create(
        key,
        width=views.shape[2],
        labels=y,
        sample_ids=[f"{split}{i}" for i in range(len(y))],
        classes=classes,
        rows_per_chunk=rows_per_chunk,
        **kept,
    )
    for view, chunk in writer.missing():
        start, stop = writer.span(chunk)
        block = views[view, start:stop].astype(dtype)
        inside = [r for r in masked if start <= r < stop]
        block[[r - start for r in inside]] = np.nan
        writer.write_chunk(view, chunk, block, masked=inside)
    if seal:
        writer.seal()
    return key.id


def probe_task(store, train_id, test_id, protocol, groups, *, detailed=None, **setting):
    """Return a task for groups of (method, seed, sizes)."""
    return ProbeTask(
        store_url=store.url,
        names=NAMES,
        setting=ProbeSetting(
            train_id=train_id, test_id=test_id, protocol=protocol, validation=setting.pop("validation", None), **setting
        ),
        groups=tuple(SubsetGroup(method=m, seed=s, sizes=sizes_of(k)) for m, s, k in groups),
        detailed=detailed,
        predicted_s=1.0,
        predicted_bytes=1,
    )


def cka_task(store, test_id, method, *, part_whole=(), pairs=(), **fields):
    """Return a task for CKA of (seed, sizes) and of (seed, seed, sizes)."""
    return CkaTask(
        store_url=store.url,
        names=NAMES,
        test_id=test_id,
        method=method,
        part_whole=tuple(part_whole),
        pairs=tuple(pairs),
        predicted_s=1.0,
        predicted_bytes=1,
        **fields,
    )


def written(store, task):
    """Run a task and return the rows that it wrote: as many as its jobs, and no NaN or infinity anywhere in them."""
    shutil.rmtree(Path(store.url) / "results", ignore_errors=True)  # a job has one row, whichever task wrote it first
    run_task(task)
    rows = store.results.table("cka" if isinstance(task, CkaTask) else "probes").to_pylist()
    assert {r["batch_id"] for r in rows} == {task.batch_id}
    assert len(rows) == task.n_jobs == len({r["job_id"] for r in rows})
    for row in rows:
        for value in row.values():
            inside = value if isinstance(value, list) else [value]
            assert all(math.isfinite(v) for v in inside if isinstance(v, float))
    return rows


def by_size(rows):
    """Return rows by (method, seed, size)."""
    return {(r["method"], r["seed"], r["n_neurons"]): r for r in rows}
