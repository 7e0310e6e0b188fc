"""Poison in real worker processes: each kind takes down its own batch only, and is named with what is known of it."""

import importlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from drfarm.farm import ATTEMPTS, FarmOptions, _deadline, run, run_tasks
from drfarm.tail import halves
from probe import Names, ProbeSetting, ProbeTask, SubsetGroup, sgd_protocol

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def work():
    return importlib.import_module("poison_work")


def task_named(folder, name, *sizes, predicted_s=1e6):
    return ProbeTask(
        store_url=str(folder / "store"),
        names=Names(study=str(folder), model=name, layer="penultimate", dataset="d"),
        setting=ProbeSetting(train_id="a" * 64, test_id="b" * 64, protocol=sgd_protocol("paper"), validation=None),
        groups=(SubsetGroup(method="random", seed=1, sizes=sizes),),
        predicted_s=predicted_s,
        predicted_bytes=1,
    )


class Told:
    def __init__(self, tasks, work, **options):
        self.done, self.failed, self.retried = [], {}, []
        run_tasks(
            tasks,
            FarmOptions(n_workers=2, **options),
            done=self.done.append,
            failed=lambda f: self.failed.update({f.task.names.model: f}),
            retried=lambda t, why: self.retried.append((t.names.model, why)),
            work=work.suffer,
            halves=halves,
        )


def test_crashes_and_hogs_are_quarantined_by_name_and_take_nothing_with_them(tmp_path, work):
    poison = [task_named(tmp_path, name, k) for k, name in enumerate(("segfault", "exit", "hog"), start=1)]
    large = task_named(tmp_path, "memory", 10, 90, 200)
    fine = [task_named(tmp_path, "fine", k) for k in range(11, 15)]
    told = Told([*poison, large, *fine], work, memory_limit_bytes=900 * 2**20)
    assert {name: f.attempts for name, f in told.failed.items() if name != "memory"} == dict.fromkeys(
        ("segfault", "exit", "hog"), ATTEMPTS
    )
    errors = {name: f.error for name, f in told.failed.items()}
    assert errors["segfault"] == "its worker process died: killed by signal 11 (SIGSEGV): a crash in native code."
    assert errors["exit"] == "its worker process died: it left with exit code 7."
    assert errors["hog"].startswith("its worker process died: it took more memory than it may. Use fewer workers")
    logs = {name: f.log for name, f in told.failed.items()}
    for name in ("segfault", "exit", "hog"):
        assert f"about to {name}" in logs[name]
        assert "about to fine" not in logs[name]
    assert "in string_at" in logs["segfault"]
    assert "in poison" in logs["segfault"]

    done = [t for t in told.done if t.names.model == "fine"]
    assert sorted(t.batch_id for t in done) == sorted(t.batch_id for t in fine)
    held = sorted(k for t in told.done if t.names.model == "memory" for g in t.groups for k in g.sizes)
    assert held == [10, 90]  # the part that fits
    assert told.failed["memory"].task.groups[0].sizes == (200,)
    assert "--memory-limit" in errors["memory"]
    assert any("in 2 parts: " in why for name, why in told.retried if name == "memory")
    tries = Counter(line.split()[0] for line in (tmp_path / "tries").read_text().splitlines())
    assert (tries["segfault"], tries["exit"], tries["fine"]) == (ATTEMPTS, ATTEMPTS, 4)


def test_what_hangs_or_is_stopped_is_ended_and_tried_elsewhere(tmp_path, work, monkeypatch):
    # Short deadlines for two; the others are predicted to take long, so that a busy machine ends none of them.
    monkeypatch.setattr(run, "Pace", lambda **more: _deadline.Pace(**{**more, "least_s": 2.0, "factor": 1.0}))
    short = [task_named(tmp_path, name, k, predicted_s=1e-3) for k, name in enumerate(("hang", "stop"), start=1)]
    again = [replace(t, names=replace(t.names)) for t in short]
    fine = [task_named(tmp_path, "fine", k) for k in range(11, 14)]
    told = Told([*again, *fine], work)
    assert told.failed == {}
    assert sorted(t.batch_id for t in told.done) == sorted(t.batch_id for t in (*short, *fine))
    ended = dict(told.retried)
    assert set(ended) == {"hang", "stop"}
    assert all(why.startswith("no end after ") and "it hung, and was ended" in why for why in ended.values())
