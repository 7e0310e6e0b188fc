"""Cutting tasks: every subset once, only the last of them, and workers end together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm.farm._waiting import Order, Waiting
from drfarm.tail import LEAST_S, at_least, halves, shorter
from probe import CkaTask, Names, ProbeSetting, ProbeTask, SubsetGroup, ridge_protocol, sgd_protocol

NAMES = Names(study="s", model="m", layer="l", dataset="d")
SETTING = ProbeSetting(train_id="a", test_id="b", protocol=sgd_protocol("paper"), validation=None)
SIZES = tuple(range(10, 210, 10))


def task(seeds, seconds, sizes=SIZES, setting=SETTING):
    groups = tuple(SubsetGroup(method="random", seed=s, sizes=sizes) for s in seeds)
    return ProbeTask(store_url="s", names=NAMES, setting=setting, groups=groups, predicted_s=seconds, predicted_bytes=1)


def subsets(tasks):
    return sorted((g.method, g.seed, k) for t in tasks for g in t.groups for k in g.sizes)


def run(tasks, slowness):
    """Run tasks on workers of these speeds, as the farm does; return when each ends, and what ran."""
    queue = Waiting(tasks, Order(seconds=lambda t: t.predicted_s, cut=shorter), lambda t: ())
    ends, ran = [0.0] * len(slowness), []
    while len(queue):
        free = ends.index(min(ends))
        t, _ = queue.take(f"w{free}")
        ends[free] += t.predicted_s * slowness[free]
        ran.append(t)
    return ends, ran


tasks = st.lists(st.tuples(st.integers(1, 4), st.floats(0, 50), st.integers(1, 20)), max_size=30).map(
    lambda drawn: sorted(
        (
            task(range(100 * i, 100 * i + n_groups), seconds, SIZES[:n_sizes])
            for i, (n_groups, seconds, n_sizes) in enumerate(drawn)
        ),
        key=lambda t: -t.predicted_s,
    )
)


@given(tasks, st.integers(1, 5))
def test_every_subset_runs_once_and_takes_the_predicted_time(given_tasks, n_workers):
    ends, ran = run(given_tasks, [1.0] * n_workers)
    assert subsets(ran) == subsets(given_tasks)
    assert sum(ends) == pytest.approx(sum(t.predicted_s for t in given_tasks))


@given(tasks, st.integers(1, 5))
def test_only_the_tail_is_cut(given_tasks, n_workers):
    whole = {t.batch_id for t in given_tasks}
    cut = [t for t in run(given_tasks, [1.0] * n_workers)[1] if t.batch_id not in whole]
    longest = max((t.predicted_s for t in given_tasks), default=0)
    assert sum(t.predicted_s for t in cut) <= 2 * n_workers * longest


@given(tasks, st.integers(0, 20))
def test_few_tasks_are_cut_until_there_are_enough(given_tasks, n):
    enough = at_least(given_tasks, n)
    assert subsets(enough) == subsets(given_tasks)
    assert sum(t.predicted_s for t in enough) == pytest.approx(sum(t.predicted_s for t in given_tasks))
    assert len(given_tasks) <= len(enough) <= max(n, len(given_tasks))
    assert len(enough) >= n or all(shorter(t) == (t,) for t in enough)


def test_an_odd_task_leaves_no_worker_idle():
    ends, _ = run([task([seed], 7.0) for seed in range(25)], [1.0, 1.0])
    assert max(ends) == pytest.approx(12.5 * 7.0, rel=0.01)


def test_workers_that_drift_apart_end_together():
    """One worker is a tenth slower: what is left over is less than half a task."""
    ends, ran = run([task(range(20 * i, 20 * i + 20), 10.0) for i in range(25)], [1.0, 1.1])
    assert abs(ends[0] - ends[1]) < 10.0 / 3
    assert min(t.predicted_s for t in ran) >= LEAST_S


def test_a_thousand_workers_share_what_two_would_take_whole():
    given_tasks = [task(range(20 * i, 20 * i + 20), 40.0) for i in range(50)]
    ends, ran = run(given_tasks, [1.0] * 100)
    assert max(ends) <= 40.0
    assert len(ran) > 100
    assert len(run(given_tasks, [1.0] * 2)[1]) < 60


def test_one_group_is_cut_by_size_and_several_by_group():
    by_size = shorter(task([1], 7.0))
    assert [len(t.groups) for t in by_size] == [1, 1]
    assert sum(by_size[0].groups[0].sizes) == pytest.approx(sum(SIZES) / 2, rel=0.1)
    by_group = shorter(task([1, 2, 3, 4], 7.0))
    assert sorted(tuple(g.seed for g in t.groups) for t in by_group) == [(1, 2), (3, 4)]


def test_short_tasks_and_those_that_share_one_factorisation_stay_whole():
    short = task([1, 2], 2 * LEAST_S - 0.1)
    assert shorter(short) == (short,)
    ridge = task([1], 60.0, setting=replace(SETTING, protocol=ridge_protocol("default")))
    assert shorter(ridge) == (ridge,)
    assert at_least([], 5) == ()


def test_what_a_stack_costs_anyhow_is_paid_by_each_part():
    whole = replace(task([1], 10.0), stack_s=2.0)
    parts = shorter(whole)
    assert len(parts) == 2
    assert sum(t.predicted_s for t in parts) == pytest.approx(12.0)
    assert sum(t.predicted_s for t in shorter(replace(task([1, 2], 10.0), stack_s=2.0))) == pytest.approx(10.0)
    dear = replace(task([1], 10.0), stack_s=6.0)
    assert shorter(dear) == (dear,)


def stacked(*groups):
    """Return a task of groups of these sizes."""
    return replace(
        task([0], 9.0),
        groups=tuple(SubsetGroup(method="random", seed=i, sizes=sizes) for i, sizes in enumerate(groups)),
    )


some_sizes = st.lists(st.integers(1, 500), min_size=1, max_size=6, unique=True).map(lambda ks: tuple(sorted(ks)))


@given(st.lists(some_sizes, min_size=1, max_size=4))
def test_a_task_is_halved_until_each_subset_is_alone_and_none_is_lost(groups):
    whole = stacked(*groups)
    left, alone = [whole], []
    while left:
        parts = halves(left.pop())
        assert len(parts) in (1, 2)
        (alone if len(parts) == 1 else left).extend(parts)
    assert subsets(alone) == subsets([whole])
    assert all(t.n_jobs == 1 for t in alone)
    assert sum(t.predicted_s for t in alone) == pytest.approx(whole.predicted_s)


def test_halves_take_less_memory_the_small_sizes_first():
    small, large = halves(stacked((1, 10, 100), (1, 10, 100, 1000)))
    assert [g.sizes for g in small.groups] == [(1, 10, 100), (1, 10, 100)]
    assert [g.sizes for g in large.groups] == [(1000,)]
    assert len({small.batch_id, large.batch_id, stacked((1, 10, 100), (1, 10, 100, 1000)).batch_id}) == 3


def test_where_halves_would_take_as_much_a_task_is_cut_between_its_groups_or_not_at_all():
    ridge = replace(stacked(SIZES, SIZES), setting=replace(SETTING, protocol=ridge_protocol("default")))
    assert [[g.seed for g in part.groups] for part in halves(ridge)] == [[0], [1]]
    assert halves(halves(ridge)[0]) == (halves(ridge)[0],)
    cka = CkaTask(
        store_url="s",
        names=NAMES,
        test_id="b",
        method="random",
        part_whole=((1, SIZES), (2, SIZES)),
        pairs=(),
        predicted_s=1.0,
        predicted_bytes=1,
    )
    assert halves(cka) == (cka,)
