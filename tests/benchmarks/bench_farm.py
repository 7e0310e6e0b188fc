"""The farm's overhead."""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from bench_store import write
from rows import Row, seconds
from synthetic import study, target

from drfarm.farm import FarmOptions, run_tasks
from drfarm.tasks import plan_tasks
from probe import run_task
from store import open_store


def bench(*, n=20_000, width=1024, n_probes=500, n_workers=2):
    """Return a row for overhead; planning is in `bench_scale`."""
    return [_overhead(n, width, n_probes, n_workers)]


def _overhead(n, width, n_probes, n_workers):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        train_id = write(store, np.maximum(rng.standard_normal((n, width), dtype=np.float32), 0), "lz4", 0)
        test_id = write(store, np.maximum(rng.standard_normal((1000, width), dtype=np.float32), 0), "lz4", 1)
        fractions = [i / 20 for i in range(1, 21)]
        asked = study(fractions, n_probes // len(fractions))
        tasks, counts = plan_tasks(asked, store.url, (target("m", width, n, train_id, test_id),), store, [])
        began = time.perf_counter()
        run_tasks(
            tasks,
            FarmOptions(n_workers=n_workers),
            work=partial(run_task, keep=True),
            done=lambda task: None,
            failed=lambda failure: (_ for _ in ()).throw(AssertionError(failure.error)),
            retried=lambda task, why: None,
        )
        wall = time.perf_counter() - began
        spent = store.results.table("probes", columns=["elapsed_s"])["elapsed_s"].to_pylist()
        assert len(spent) == counts["n_probes"] == n_probes
    ideal = sum(spent) / n_workers
    return Row(
        what=f"farm, {n_probes} probes in {len(tasks)} tasks on {n_workers} workers, their start included",
        ours=seconds(wall),
        baseline=f"compute / workers {seconds(ideal)}",
        ratio=wall / ideal,
        bar=1.10,
        at_least=False,
    )
