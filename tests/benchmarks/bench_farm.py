"""The farm's overhead, and planning."""

import tempfile
import time
from pathlib import Path

import numpy as np
from bench_store import write
from rows import Row, seconds

from drfarm.farm import FarmOptions, run_tasks
from drfarm.study import study_from_dict
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from probe import SGD_PROTOCOLS, Names, ProbeSetting
from store import open_store


def bench(*, n=20_000, width=1024, n_probes=500, n_planned=100_000, n_workers=2):
    """Return rows for overhead and planning."""
    return [_overhead(n, width, n_probes, n_workers), _planning(n_planned)]


def _study(fractions, seeds):
    raw = {
        "study": "bench",
        "models": ["timm:resnet18"],
        "datasets": [{"name": "d", "source": "sklearn:digits"}],
        "subsets": {"fractions": fractions, "seeds": seeds},
        "measures": [{"measure": "accuracy"}],
    }
    return study_from_dict(raw, base=Path.cwd())


def _target(name, width, n_train, train_id, test_id):
    setting = ProbeSetting(train_id=train_id, test_id=test_id, protocol=SGD_PROTOCOLS["paper"], validation=None)
    return Target(
        names=Names(study="bench", model=name, layer="l", dataset="d"),
        width=width,
        n_classes=10,
        n_train=n_train,
        n_test=1000,
        train_id=train_id,
        test_id=test_id,
        validation=None,
        settings=(setting,),
        item_bytes=4,
    )


def _overhead(n, width, n_probes, n_workers):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        train_id = write(store, np.maximum(rng.standard_normal((n, width), dtype=np.float32), 0), "lz4", 0)
        test_id = write(store, np.maximum(rng.standard_normal((1000, width), dtype=np.float32), 0), "lz4", 1)
        fractions = [i / 20 for i in range(1, 21)]
        study = _study(fractions, n_probes // len(fractions))
        tasks, counts = plan_tasks(study, store.url, (_target("m", width, n, train_id, test_id),), store, [])
        began = time.perf_counter()
        run_tasks(
            tasks,
            FarmOptions(n_workers=n_workers),
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


def _planning(n_planned):
    study = _study([i / 100 for i in range(1, 101)], 5)
    n_targets = n_planned // 500
    targets = tuple(_target(f"m{i}", 2048, 45_000, f"train{i}", f"test{i}") for i in range(n_targets))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        began = time.perf_counter()
        tasks, counts = plan_tasks(study, store.url, targets, store, [])
        elapsed = time.perf_counter() - began
    assert counts["n_probes"] == n_targets * 500 == sum(t.n_jobs for t in tasks)
    return Row(
        what=f"planning {counts['n_probes']:,} probes into {len(tasks):,} tasks",
        ours=seconds(elapsed),
        baseline="the bar, in seconds",
        ratio=elapsed,
        bar=5,
        at_least=False,
    )
