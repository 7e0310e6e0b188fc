"""Studies that are planned and never measured: many representations that are nowhere stored."""

import tempfile
from pathlib import Path

from drfarm.study import study_from_dict
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from probe import SGD_PROTOCOLS, Names, ProbeSetting
from store import open_store


def study(fractions, seeds):
    """Return a study of SGD probes."""
    raw = {
        "study": "bench",
        "models": ["timm:resnet18"],
        "datasets": [{"name": "d", "source": "sklearn:digits"}],
        "subsets": {"fractions": fractions, "seeds": seeds},
        "measures": [{"measure": "accuracy"}],
    }
    return study_from_dict(raw, base=Path.cwd())


def target(name, width, n_train, train_id, test_id):
    """Return one representation to probe."""
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


def plan(n_probes, *, width=2048, n_train=45_000):
    """Plan so many probes, 500 of each representation; return their tasks."""
    targets = tuple(target(f"m{i}", width, n_train, f"train{i}", f"test{i}") for i in range(n_probes // 500))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        tasks, counts = plan_tasks(study([i / 100 for i in range(1, 101)], 5), store.url, targets, store, [])
    assert counts["n_probes"] == len(targets) * 500 == sum(t.n_jobs for t in tasks)
    return tasks
