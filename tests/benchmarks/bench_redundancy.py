"""DR of every cell over a million probe rows: from a table in memory, and from the store's files by SQL."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from rows import Row, best, seconds

import aggregate
from drfarm import open_store
from store import open_store as open_plain_store
from store.schema import PROBES

DELTAS = (0.8, 0.9, 0.95)


def bench(*, n_cells=9_091, sizes=22, seeds=5):
    """Return two rows."""
    table = made(n_cells, sizes, seeds)
    elapsed = best(lambda: aggregate.redundancy(table, None, deltas=DELTAS), 3)
    with tempfile.TemporaryDirectory() as folder:
        store = open_plain_store(Path(folder), create=True)
        store.results.write("probes", "b", table)
        opened = open_store(folder)
        asked = best(lambda: opened.query("SELECT count(*) FROM redundancy WHERE dr > 0.5"), 2)
    return [
        Row(
            what=f"{what}, {table.num_rows:,} probe rows, 3 thresholds, 3 rules",
            ours=seconds(value),
            baseline="the bar, in seconds",
            ratio=value,
            bar=2,
            at_least=False,
        )
        for what, value in (("redundancy", elapsed), ("the view redundancy, by SQL from Parquet", asked))
    ]


def made(n_cells, n_sizes, n_seeds):
    """Make probe rows of saturating noisy curves."""
    rng = np.random.default_rng(0)
    width = 2048
    ks = np.unique(np.geomspace(1, width, n_sizes).astype(int))
    ks = np.concatenate([ks, np.arange(2, 2 + n_sizes - len(ks)) + 1000])[:n_sizes]
    cell, size, seed = (a.ravel() for a in np.meshgrid(np.arange(n_cells), ks, np.arange(n_seeds), indexing="ij"))
    n = len(cell)
    accuracy = 0.9 * (1 - np.exp(-size / (30 + cell % 200))) + rng.normal(0, 0.01, n)
    names = pa.array([f"m{i}" for i in range(n_cells)])
    columns = {
        "model": names.take(pa.array(cell)),
        "train_id": names.take(pa.array(cell)),
        "test_id": names.take(pa.array(cell)),
        "seed": seed,
        "n_neurons": size,
        "width": np.full(n, width),
        "fraction": size / width,
        "accuracy": np.clip(accuracy, 0, 1),
        "job_id": [f"{i:032x}" for i in range(n)],
    }
    constants = {"layer": "l", "dataset": "d", "solver": "sgd", "protocol": "paper", "method": "random"} | {
        "study": "bench",
        "batch_id": "b",
    }
    arrays = [
        pa.array(columns[f.name]).cast(f.type) if f.name in columns
        else pa.array([constants[f.name]] * n, f.type) if f.name in constants
        else pa.nulls(n, f.type)
        for f in PROBES
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=PROBES)
