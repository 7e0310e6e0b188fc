"""DR of every cell over a million probe rows: from a table in memory, from the store's files by SQL, and its memory."""

import subprocess
import sys
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


_PEAK = """
import resource, sys
from pathlib import Path
import drfarm
assert drfarm.redundancy(sys.argv[1], deltas=[0.8, 0.9, 0.95]).num_rows == int(sys.argv[2])
status = Path("/proc/self/status")
if status.exists():  # of this program alone: ru_maxrss also counts what its parent held when it was started
    print(next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_bytes(url, n_rows):
    """Return the most memory of a process that opens a store and computes all of its cells."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(url), str(n_rows)], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout)


def bench(*, n_cells=9_091, sizes=22, seeds=5):
    """Return three rows."""
    table = made(n_cells, sizes, seeds)
    elapsed = best(lambda: aggregate.redundancy(table, None, deltas=DELTAS), 3)
    with tempfile.TemporaryDirectory() as folder:
        store = open_plain_store(Path(folder), create=True)
        store.results.write("probes", "b", table)
        opened = open_store(folder)
        asked = best(lambda: opened.query("SELECT count(*) FROM redundancy WHERE dr > 0.5"), 2)
        peak = peak_bytes(folder, n_cells * len(DELTAS) * 3) / 2**30
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
    ] + [
        Row(
            what=f"most memory of a process that computes redundancy from a store, {table.num_rows:,} probe rows",
            ours=f"{peak:,.2f} GiB",
            baseline="the bar, in GiB",
            ratio=peak,
            bar=2,
            at_least=False,
        )
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
