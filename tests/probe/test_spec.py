"""Identities: what makes two jobs the same, and tasks that travel."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe import (
    SGD_PROTOCOLS,
    CkaTask,
    InvalidProbe,
    Names,
    ProbeSetting,
    ProbeTask,
    StatisticsTask,
    SubsetGroup,
    Validation,
    cka_job_id,
    ridge_protocol,
    sgd_protocol,
    sizes_of,
)
from store import UnknownName

NAMES = Names(study="s", model="m", layer="l", dataset="d")
PAPER = SGD_PROTOCOLS["paper"]
SETTING = ProbeSetting(train_id="t" * 64, test_id="u" * 64, protocol=PAPER, validation=None)
JOB = ("random", 1, 5)
GROUP = SubsetGroup(method="random", seed=1, sizes=(5,))


def probe_task(**change):
    fields = {
        "store_url": "/somewhere",
        "names": NAMES,
        "setting": SETTING,
        "groups": (GROUP,),
        "predicted_s": 1.0,
        "predicted_bytes": 10,
    }
    return ProbeTask(**(fields | change))


@pytest.mark.parametrize(
    "change",
    [
        {"train_id": "x"},
        {"test_id": "x"},
        {"protocol": dataclasses.replace(PAPER, epochs=51)},
        {"protocol": dataclasses.replace(PAPER, version=2)},
        {"validation": Validation(fraction=0.1)},
        {"validation": Validation(split_id="v")},
        {"validation": Validation(fraction=0.1, clean_id="c")},
        {"protocol": ridge_protocol("default")},
        {"average": "class"},
        {"control": "random-labels"},
    ],
)
def test_what_decides_a_result_decides_its_id(change):
    assert dataclasses.replace(SETTING, **change).job_id(*JOB) != SETTING.job_id(*JOB)


@pytest.mark.parametrize("other", [("random", 2, 5), ("random", 1, 6), ("first", 1, 5), ("random_independent", 1, 5)])
def test_another_subset_is_another_job(other):
    assert SETTING.job_id(*other) != SETTING.job_id(*JOB)


def test_jobs_keep_their_ids_from_version_to_version():
    """Stores of earlier versions are full of them."""
    assert SETTING.job_id(*JOB) == "86f38308ae48a90b05aea4b74b768606"
    assert cka_job_id("u" * 64, "pair", "random", 1, 2, 3) == "397f13d9705456c8a14bf9cac80f908a"
    held = dataclasses.replace(SETTING, validation=Validation(fraction=0.1))
    assert held.job_id(*JOB) == "f03c7689ecfa1cacf426cda1db434158"
    assert held.job_id(*JOB) != dataclasses.replace(held, validation=Validation(fraction=0.1, clean_id="c")).job_id(
        *JOB
    )


def test_names_predictions_and_order_are_no_part_of_a_batch():
    other = SubsetGroup(method="random", seed=2, sizes=(5,))
    a = probe_task(groups=(GROUP, other))
    b = probe_task(groups=(other, GROUP), names=Names(study="z", model="y", layer="x", dataset="w"), predicted_s=9.0)
    assert a.batch_id == b.batch_id != probe_task().batch_id
    assert probe_task(groups=(dataclasses.replace(GROUP, sizes=(5, 6)),)).batch_id != probe_task().batch_id


@given(st.sets(st.integers(1, 300), max_size=40))
def test_sizes_are_kept_whatever_holds_them(values):
    sizes = sizes_of(values)
    assert list(sizes) == sorted(values)
    assert pickle.loads(pickle.dumps(sizes)) == sizes


def test_validation_is_told_in_the_protocol_column():
    labels = {
        dataclasses.replace(SETTING, validation=v).label
        for v in (None, Validation(fraction=0.1), Validation(fraction=0.1, seed=1), Validation(split_id="abcdefgh1"))
    }
    assert labels == {"paper", "paper+val-0.1-seed-0", "paper+val-0.1-seed-1", "paper+val-abcdefgh"}
    clean = Validation(fraction=0.1, clean_id="abcdefgh1")
    assert dataclasses.replace(SETTING, validation=clean).label == "paper+val-0.1-seed-0-clean-abcdefgh"
    assert clean.training_rows == Validation(fraction=0.1).training_rows  # the same rows are fitted


def test_average_and_control_are_told_in_the_protocol_column():
    assert dataclasses.replace(SETTING, average="class").label == "paper+mean-per-class"
    control = dataclasses.replace(SETTING, control="random-labels", validation=Validation(fraction=0.1))
    assert control.label == "paper+val-0.1-seed-0+random-labels"


def test_a_large_block_pickles_below_64_kb():
    groups = tuple(SubsetGroup(method="random", seed=s, sizes=range(1, 100_001)) for s in range(1, 6))
    assert len(pickle.dumps(probe_task(groups=groups))) < 8 * 1024


def test_tasks_survive_the_trip():
    every = range(1, 4097)
    task = CkaTask(
        store_url="/somewhere",
        names=NAMES,
        test_id="u",
        method="random",
        part_whole=tuple((s, every) for s in range(5)),
        pairs=tuple((a, b, every) for a in range(5) for b in range(a)),
        predicted_s=1.0,
        predicted_bytes=1,
    )
    data = pickle.dumps(task)
    assert len(data) < 64 * 1024
    assert pickle.loads(data) == task
    assert task.n_jobs == 15 * 4096
    assert "CKA values of m/l on d" in task.title
    assert pickle.loads(pickle.dumps(probe_task())) == probe_task()
    assert probe_task().title == "1 sgd probes of m/l on d, random, seeds 1"
    counted = StatisticsTask(
        store_url="/x",
        names=NAMES,
        representation_id="t",
        validation=Validation(fraction=0.1),
        predicted_s=1.0,
        predicted_bytes=1,
    )
    assert pickle.loads(pickle.dumps(counted)) == counted
    assert (counted.rows, counted.n_jobs, counted.title) == ("train-0.1-seed-0", 0, "statistics of m/l on d")
    assert counted.batch_id != dataclasses.replace(counted, validation=None).batch_id


def test_cka_jobs_differ_in_every_part():
    ids = {
        cka_job_id(*args)
        for args in [
            ("t", "pair", "random", 1, 2, 3),
            ("u", "pair", "random", 1, 2, 3),
            ("t", "part_whole", "random", 1, None, 3),
            ("t", "pair", "first", 1, 2, 3),
            ("t", "pair", "random", 2, 1, 3),
            ("t", "pair", "random", 1, 2, 4),
        ]
    }
    ids |= {
        cka_job_id("t", "pair", "random", 1, 2, 3, **more)
        for more in ({"estimator": "debiased"}, {"trained_on": "v|all"}, {"trained_on": "v|train-0.1-seed-0"})
    }
    assert len(ids) == 9


def test_wrong_subsets_and_protocols_are_refused():
    with pytest.raises(UnknownName, match="Did you mean 'random'"):
        SubsetGroup(method="randm", seed=1, sizes=(1,))
    with pytest.raises(InvalidProbe, match="write method 'pca:centred' as 'pca'"):
        SubsetGroup(method="pca:centred", seed=1, sizes=(1,))
    with pytest.raises(InvalidProbe, match="n_neurons must be >= 1, got 0"):
        SubsetGroup(method="random", seed=1, sizes=(0, 1))
    with pytest.raises(InvalidProbe, match="n_neurons must be >= 1, got no size"):
        SubsetGroup(method="random", seed=1, sizes=())
    with pytest.raises(UnknownName, match="Did you mean 'paper'"):
        sgd_protocol("papr")
    with pytest.raises(InvalidProbe, match="epochs must be >= 1, got 0"):
        dataclasses.replace(PAPER, epochs=0)
    with pytest.raises(InvalidProbe, match="learning_rate must be > 0"):
        dataclasses.replace(PAPER, learning_rate=0.0)
    with pytest.raises(InvalidProbe, match="not both"):
        Validation()
    with pytest.raises(InvalidProbe, match=r"lies in \(0, 1\), got 1"):
        Validation(fraction=1.0)
