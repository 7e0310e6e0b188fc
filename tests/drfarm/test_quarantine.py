"""Quarantine: which part of a plan a record is about, however the plan cuts it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm import quarantine
from drfarm.tail import halves
from probe import (
    CkaTask,
    Names,
    ProbeSetting,
    ProbeTask,
    StatisticsTask,
    SubsetGroup,
    ridge_protocol,
    sgd_protocol,
    sizes_of,
)

NAMES = Names(study="s", model="m", layer="l", dataset="d")
SETTING = ProbeSetting(train_id="a", test_id="b", protocol=sgd_protocol("paper"), validation=None)
RIDGE = replace(SETTING, protocol=ridge_protocol("default"))


def probes(*groups, setting=SETTING, statistics=()):
    return ProbeTask(
        store_url="s",
        names=NAMES,
        setting=setting,
        groups=tuple(SubsetGroup(method=m, seed=s, sizes=sizes_of(ks)) for m, s, ks in groups),
        statistics=statistics,
        predicted_s=10.0,
        predicted_bytes=1,
    )


def cka(part_whole=(), pairs=(), test_id="b"):
    return CkaTask(
        store_url="s",
        names=NAMES,
        test_id=test_id,
        method="random",
        part_whole=part_whole,
        pairs=pairs,
        predicted_s=1.0,
        predicted_bytes=1,
    )


def counts(representation="a"):
    return StatisticsTask(
        store_url="s",
        names=NAMES,
        representation_id=representation,
        validation=None,
        predicted_s=1.0,
        predicted_bytes=1,
    )


def record(task, **more):
    """Return what a store would keep."""
    return {
        "batch_id": task.batch_id,
        "what": task.title,
        "stage": "probe",
        "study": "s",
        "work": quarantine.described(task),
        **more,
    }


def subsets(*tasks):
    return sorted((t.setting.digest, g.method, g.seed, k) for t in tasks for g in t.groups for k in g.sizes)


@pytest.mark.parametrize(
    "task",
    [
        probes(("random", 1, (8, 64)), ("first", 1, range(1, 1281)), ("random", 1, (512,))),
        cka(((1, (8, 64)), (2, range(1, 100))), ((1, 2, (8,)), (1, 3, (9, 11)))),
        counts(),
    ],
)
def test_a_task_that_is_planned_as_before_is_found_whole(task):
    others = [probes(("random", 7, (8,))), cka(((9, (8,)),)), counts("z")]
    assert quarantine.tasks_of([*others, task], [record(task)]) == (task,)
    assert quarantine.tasks_of(others, [record(task)]) == ()
    assert quarantine.healed([record(task)], [*others, task]) == []
    assert quarantine.healed([record(task)], others) == [record(task)]


def test_of_a_task_that_is_cut_otherwise_only_the_part_is_found():
    kept = probes(("random", 1, (8, 64)), ("random", 2, (8, 64)))
    planned = probes(("random", 1, (8, 64, 512)), ("random", 3, (8,)), ("random", 2, (64,)))
    (part,) = quarantine.tasks_of([planned], [record(kept)])
    assert subsets(part) == subsets(probes(("random", 1, (8, 64)), ("random", 2, (64,))))
    assert part.predicted_s == pytest.approx(10.0 * 3 / 5)
    (values,) = quarantine.tasks_of([cka(((1, (8, 9)), (2, (8,))), ((1, 2, (8,)),))], [record(cka(((1, (9, 10)),)))])
    assert (values.part_whole, values.pairs) == (((1, (9,)),), ())


def test_another_protocol_or_representation_is_other_work():
    kept = record(probes(("random", 1, (8,))))
    assert quarantine.tasks_of([probes(("random", 1, (8,)), setting=RIDGE), cka(((1, (8,)),))], [kept]) == ()
    assert quarantine.tasks_of([cka(((1, (8,)),), test_id="other")], [record(cka(((1, (8,)),)))]) == ()


def test_the_statistics_that_are_read_come_with_it():
    task = probes(("pca", 1, (8,)), statistics=(("a", "all"),))
    assert quarantine.tasks_of([counts("z"), counts("a"), task], [record(task)]) == (counts("a"), task)


def test_records_of_an_older_drfarm_are_found_by_name():
    task = probes(("random", 1, (8,)))
    old = {k: v for k, v in record(task).items() if k != "work"}
    assert quarantine.tasks_of([probes(("random", 2, (8,))), task], [old]) == (task,)
    assert quarantine.healed([old], [task]) == []


def test_records_are_chosen_by_a_part_of_their_name_or_a_pattern():
    records = [{"what": "3 sgd probes of ash/l on d"}, {"what": "4 CKA values of birch/l on d"}]
    assert quarantine.matching(records, None) == records
    assert quarantine.matching(records, "birch") == records[1:]
    assert quarantine.matching(records, "*sgd*ash*") == records[:1]
    assert quarantine.matching(records, "oak") == []


groups = st.lists(
    st.tuples(
        st.sampled_from(["random", "first"]), st.integers(1, 3), st.sets(st.integers(1, 40), min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=5,
)


@given(groups, groups)
def test_what_is_found_is_what_both_have(kept, planned):
    wanted, plan = probes(*kept), probes(*planned)
    found = quarantine.tasks_of([plan], [record(wanted)])
    assert set(subsets(*found)) == set(subsets(wanted)) & set(subsets(plan))


@given(groups)
def test_halves_of_a_task_are_its_work(given_groups):
    task = probes(*given_groups)
    parts = halves(task)
    assert set(subsets(*quarantine.tasks_of([task], [record(p) for p in parts]))) == set(subsets(task))
