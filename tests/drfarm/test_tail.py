"""The tail: every subset once, only the last tasks cut, workers end together."""

import heapq
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm.tail import LEAST_S, TAIL, cut_tail
from probe import Names, ProbeSetting, ProbeTask, SubsetGroup, ridge_protocol, sgd_protocol

NAMES = Names(study="s", model="m", layer="l", dataset="d")
SETTING = ProbeSetting(train_id="a", test_id="b", protocol=sgd_protocol("paper"), validation=None)
SIZES = tuple(range(10, 210, 10))


def task(seeds, seconds, sizes=SIZES, setting=SETTING):
    groups = tuple(SubsetGroup(method="random", seed=s, sizes=sizes) for s in seeds)
    return ProbeTask(store_url="s", names=NAMES, setting=setting, groups=groups, predicted_s=seconds, predicted_bytes=1)


def subsets(tasks):
    return sorted((g.method, g.seed, k) for t in tasks for g in t.groups for k in g.sizes)


def wall_s(tasks, n_workers):
    ends = [0.0] * n_workers
    for t in tasks:
        heapq.heapreplace(ends, ends[0] + t.predicted_s)
    return max(ends)


tasks = st.lists(st.tuples(st.integers(1, 4), st.floats(0, 50), st.integers(1, 20)), max_size=30).map(
    lambda drawn: sorted(
        (
            task(range(100 * i, 100 * i + n_groups), seconds, SIZES[:n_sizes])
            for i, (n_groups, seconds, n_sizes) in enumerate(drawn)
        ),
        key=lambda t: -t.predicted_s,
    )
)


@given(tasks)
def test_every_subset_is_kept_once_and_the_predicted_time_with_it(given_tasks):
    cut = cut_tail(given_tasks)
    assert subsets(cut) == subsets(given_tasks)
    assert sum(t.predicted_s for t in cut) == pytest.approx(sum(t.predicted_s for t in given_tasks))
    assert [t.predicted_s for t in cut] == sorted((t.predicted_s for t in cut), reverse=True)


@given(tasks)
def test_only_the_tail_is_cut(given_tasks):
    whole = {t.batch_id for t in given_tasks}
    halves = [t for t in cut_tail(given_tasks) if t.batch_id not in whole]
    assert sum(t.predicted_s for t in halves) <= max(
        TAIL * sum(t.predicted_s for t in given_tasks), max((t.predicted_s for t in given_tasks), default=0)
    ) * (1 + 1e-9)


def test_an_odd_task_leaves_no_worker_idle():
    equal = [task([seed], 7.0) for seed in range(25)]
    assert wall_s(equal, 2) == 13 * 7.0
    assert wall_s(cut_tail(equal), 2) == pytest.approx(12.5 * 7.0, rel=0.01)


def test_workers_that_drift_apart_end_together():
    """One worker is a tenth slower: what is left over is less than half a task."""
    equal = cut_tail([task(range(20 * i, 20 * i + 20), 10.0) for i in range(25)])
    ends, slowness = [0.0, 0.0], (1.0, 1.1)
    for t in equal:
        free = ends.index(min(ends))
        ends[free] += t.predicted_s * slowness[free]
    assert abs(ends[0] - ends[1]) < 10.0 / 3
    assert min(t.predicted_s for t in equal) >= LEAST_S


def test_one_group_is_cut_by_size_and_several_by_group():
    by_size = cut_tail([task([1], 7.0)])
    assert [len(t.groups) for t in by_size] == [1, 1]
    assert sum(by_size[0].groups[0].sizes) == pytest.approx(sum(SIZES) / 2, rel=0.1)
    by_group = cut_tail([task([1, 2, 3, 4], 7.0)])
    assert sorted(tuple(g.seed for g in t.groups) for t in by_group) == [(1, 2), (3, 4)]


def test_short_tasks_and_those_that_share_one_factorisation_stay_whole():
    short = [task([1, 2], 2 * LEAST_S - 0.1)]
    assert cut_tail(short) == tuple(short)
    ridge = [task([1], 60.0, setting=replace(SETTING, protocol=ridge_protocol("default")))]
    assert cut_tail(ridge) == tuple(ridge)
    assert cut_tail([]) == ()
