"""A report of 100,000 probes: from tables in memory to the bytes of one page."""

import time

import numpy as np
import pyarrow as pa
from rows import Row, seconds

import aggregate
from aggregate.report import ReportInput, content
from aggregate.report.page import page
from store.schema import CKA, PROBES

DELTAS = (0.8, 0.9, 0.95)
PERCENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 80, 90, 100)
METHODS = ("random", "pca", "random_projection")


def bench(*, n_models=10, n_layers=3, n_sets=10, n_classes=10):
    """Return two rows: time and bytes."""
    probes, cka = made(n_models, n_layers, n_sets, n_classes)
    began = time.perf_counter()
    results = aggregate.redundancy(probes, cka, deltas=DELTAS)
    report = ReportInput(title="bench", probes=probes, cka=cka, redundancy=results)
    text = page(report, content(report))
    elapsed = time.perf_counter() - began
    megabytes = len(text.encode()) / 1e6
    what = f"report of {probes.num_rows:,} probes and {cka.num_rows:,} CKA values"
    return [
        Row(what=what, ours=seconds(elapsed), baseline="the bar, in s", ratio=elapsed, bar=30, at_least=False),
        Row(
            what=f"{what}, its size",
            ours=f"{megabytes:.1f} MB",
            baseline="the bar, in MB",
            ratio=megabytes,
            bar=15,
            at_least=False,
        ),
    ]


def made(n_models, n_layers, n_sets, n_classes, *, width=2048, n_seeds=5, percents=PERCENTS, seed=0):
    """Make the views `probes` (three methods) and `cka` (part against whole) of noisy saturating curves."""
    rng = np.random.default_rng(seed)
    ks = np.unique([max(1, int(percent * width / 100)) for percent in percents])
    counts = (n_models, n_layers, n_sets, len(METHODS), ks.size, n_seeds)
    model, layer, dataset, method, at, run = (a.ravel() for a in np.indices(counts))
    n = model.size
    k = ks[at]
    scale = 20.0 + 15 * model + 40 * layer
    ceiling = 0.95 - 0.05 * dataset - 0.02 * model
    accuracy = np.clip(ceiling * (1 - np.exp(-k / scale * (1 + 0.5 * method))) + rng.normal(0, 0.01, n), 0, 1)
    classes = np.clip(accuracy[:, None] + rng.normal(0, 0.1, (n, n_classes)), 0, 1)
    columns = {
        "model": _named("network", model),
        "layer": _named("layer", layer),
        "dataset": _named("data", dataset),
        "method": pa.array(METHODS).take(pa.array(method)),
        "train_id": _named("train", model * 1000 + dataset),
        "test_id": _named("test", model * 1000 + dataset),
        "seed": run + 1,
        "n_neurons": k,
        "width": np.full(n, width),
        "fraction": k / width,
        "accuracy": accuracy,
        "n_test": np.full(n, 10_000),
        "class_accuracy": pa.ListArray.from_arrays(
            np.arange(0, (n + 1) * n_classes, n_classes, dtype=np.int32), classes.ravel()
        ),
        "job_id": _ids(rng, n),
        "batch_id": _ids(rng, n // 50 + 1).take(pa.array(np.arange(n) // 50)),
        "study": pa.repeat("bench", n),
        "solver": pa.repeat("sgd", n),
        "protocol": pa.repeat("paper", n),
        "elapsed_s": np.full(n, 0.1),
        "converged": pa.repeat(True, n),
    }
    one = method == 0
    similarity = {name: pa.array(column).filter(pa.array(one)) for name, column in columns.items()} | {
        "kind": pa.repeat("part_whole", int(one.sum())),
        "value": np.clip(1 - np.exp(-k[one] / scale[one] * 3) + rng.normal(0, 0.005, one.sum()), 0, 1),
        "n_samples": np.full(one.sum(), 10_000),
    }
    return _table(columns, PROBES), _table(similarity, CKA)


def _named(word, at):
    return pa.array([f"{word}{i}" for i in range(int(at.max()) + 1)]).take(pa.array(at))


def _ids(rng, n):
    return pa.array([f"{a:016x}{b:016x}" for a, b in rng.integers(0, 2**62, (n, 2))])


def _table(columns, schema):
    n = len(columns["model"])
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
