"""Features that stay in a worker's memory: the same bits, never more memory than was predicted, nobody else's."""

from dataclasses import replace

import numpy as np
import pytest
from batch_problem import Problem
from hypothesis import given
from hypothesis import strategies as st
from small_store import probe_task, put

from probe import (
    CkaTask,
    Names,
    ProbeSetting,
    ProbeTask,
    StatisticsTask,
    SubsetGroup,
    kept_by,
    logistic_protocol,
    neuron_order,
    ridge_protocol,
    run_task,
    sgd_protocol,
    tasks,
)
from probe._kept import Kept
from probe._resident import Resident
from store import Features, NotFound, open_store

SGD = replace(sgd_protocol("paper"), epochs=2)
LEFT_OUT = {"elapsed_s", "batch_id"}


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


@pytest.fixture(autouse=True)
def _nothing_kept():
    tasks._KEPT = Kept()
    yield
    tasks._KEPT = Kept()


@pytest.fixture
def reads(monkeypatch):
    """Which representations are read whole, in order."""
    seen = []
    whole = Features.numpy
    monkeypatch.setattr(Features, "numpy", lambda self, *a, **k: (seen.append(self.id), whole(self, *a, **k))[1])
    return seen


def block(problem, seed, *, method="random", sizes=(2, 7), protocol=SGD, **changes):
    return replace(problem.task(protocol, [(method, seed, sizes)]), **changes)


def results(store):
    rows = store.results.table("probes").to_pylist()
    return sorted(({k: v for k, v in r.items() if k not in LEFT_OUT} for r in rows), key=lambda r: r["job_id"])


BLOCKS = [("random", 1), ("random", 2), ("first", 1), ("ranked", 1), ("random_projection", 1), ("pca", 3)]


@pytest.mark.parametrize(("dtype", "n_views"), [("float32", 1), ("float16", 1), ("float32", 2)])
def test_results_are_the_same_bits(tmp_path, dtype, n_views):
    both = []
    for keep in (False, True):
        problem = Problem(open_store(tmp_path / str(keep), create=True), dtype=dtype, n_views=n_views)
        for method, seed in BLOCKS:
            run_task(block(problem, seed, method=method), keep=keep)
        both.append(results(problem.store))
    assert len(both[0]) == 2 * len(BLOCKS)
    assert len({r["accuracy"] for r in both[0]}) > 2
    assert both[0] == both[1]


def test_the_next_block_reads_nothing(store, reads):
    problem = Problem(store)
    for seed in (1, 2, 3):
        run_task(block(problem, seed), keep=True)
    assert reads == [problem.train_id]
    run_task(block(problem, 4))
    assert reads == [problem.train_id] * 2


def test_other_features_take_its_place_before_they_are_read(store, reads):
    problem, other = Problem(store), Problem(store, dtype="float16")
    alike = {"predicted_bytes": 2**20}
    for seed, p in enumerate((problem, other, problem)):
        run_task(block(p, seed, **alike), keep=True)
    assert reads == [problem.train_id, other.train_id, problem.train_id]


def test_it_stays_where_a_task_needs_less_than_the_largest(store, reads):
    problem, other = Problem(store), Problem(store, dtype="float16")
    run_task(block(problem, 1, predicted_bytes=2**30), keep=True)
    run_task(block(other, 1, predicted_bytes=2**20), keep=True)
    run_task(block(problem, 2, predicted_bytes=2**30), keep=True)
    assert reads == [problem.train_id, other.train_id]


def test_a_task_that_fails_leaves_nothing(store, reads):
    problem = Problem(store)
    run_task(block(problem, 1), keep=True)
    assert tasks._KEPT.nbytes > 0
    bad = block(problem, 1)
    with pytest.raises(NotFound, match="there is no store"):
        run_task(replace(bad, store_url=bad.store_url + "-gone"), keep=True)
    assert tasks._KEPT.nbytes == 0


def test_the_same_features_in_another_store_are_others(tmp_path, reads):
    for name in ("a", "b"):
        problem = Problem(open_store(tmp_path / name, create=True))
        run_task(block(problem, 1), keep=True)
    assert reads == [problem.train_id] * 2


def test_only_what_the_next_block_can_use_is_told(store):
    problem = Problem(store)
    assert kept_by(block(problem, 1)) == (problem.train_id,)
    assert kept_by(block(problem, 1, method="random_projection")) == ()
    assert kept_by(block(problem, 1, protocol=ridge_protocol("default"))) == ()
    assert kept_by(block(problem, 1, protocol=logistic_protocol("default"))) == ()
    names = block(problem, 1).names
    common = {"store_url": store.url, "names": names, "predicted_s": 1.0, "predicted_bytes": 1}
    assert kept_by(StatisticsTask(representation_id="a", validation=None, **common)) == ()
    assert kept_by(CkaTask(test_id="a", method="random", part_whole=(), pairs=(), **common)) == ()


def test_of_a_layer_stored_in_part_other_columns_are_read_anew(store, reads):
    rng = np.random.default_rng(0)
    x, y = np.abs(rng.normal(size=(120, 30))).astype(np.float32), rng.integers(0, 3, 120)
    neurons = np.arange(0, 30, 2)
    train = put(store, "train", x, y, neurons=neurons)
    test = put(store, "test", x[:50], y[:50], neurons=neurons)
    fits = next(s for s in range(500) if neuron_order("random", s, 30)[0] % 2 == 0)
    for sizes in ((1,), (1,)):
        run_task(probe_task(store, train, test, SGD, [("random", fits, sizes)]), keep=True)
    assert reads == [train]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.integers(0, 20)), max_size=20))
def test_it_never_holds_more_than_predictions_leave(steps):
    """Each step: which representation, how much the task is predicted to need, and how much of it are its features."""
    kept, largest = Kept(), 0
    for which, need, size in steps:
        task = _sgd_task(f"r{which}", need)
        kept.make_room(task)
        largest = max(largest, need)
        features = _Named(task.setting.train_id)
        found = kept.take(features, 0)
        assert found is None or found.tag == features.id
        assert kept.nbytes + need <= largest
        resident = found or Resident(np.zeros((1, min(size, need)), np.uint8), np.arange(min(size, need)))
        resident.tag = features.id
        kept.leave(features, resident)
        assert kept.nbytes <= largest
    kept.clear()
    assert kept.nbytes == 0


class _Named:
    def __init__(self, name):
        self.id = name

    def written(self, view):
        return f"{self.id}{view}"


def _sgd_task(train_id, need):
    return ProbeTask(
        store_url="s",
        names=Names(study="s", model="m", layer="l", dataset="d"),
        setting=ProbeSetting(train_id=train_id, test_id="t", protocol=SGD, validation=None),
        groups=(SubsetGroup(method="random", seed=1, sizes=(1,)),),
        predicted_s=1.0,
        predicted_bytes=need,
    )
