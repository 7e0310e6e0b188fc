"""Identities: what makes two jobs the same, and tasks that travel."""

import dataclasses
import pickle

import pytest

from probe import (
    SGD_PROTOCOLS,
    CkaTask,
    InvalidProbe,
    Names,
    ProbeSetting,
    ProbeTask,
    Subset,
    Validation,
    batch_id,
    cka_job_id,
    protocol_label,
    sgd_protocol,
)
from store import UnknownName

NAMES = Names(study="s", model="m", layer="l", dataset="d")
PAPER = SGD_PROTOCOLS["paper"]
SETTING = ProbeSetting(train_id="t" * 64, test_id="u" * 64, protocol=PAPER, validation=None)
SUBSET = Subset(method="random", seed=1, n_neurons=5)


def probe_task(**change):
    fields = {
        "store_url": "/somewhere",
        "names": NAMES,
        "setting": SETTING,
        "subsets": (SUBSET,),
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
    ],
)
def test_what_decides_a_result_decides_its_id(change):
    assert dataclasses.replace(SETTING, **change).job_id(SUBSET) != SETTING.job_id(SUBSET)


@pytest.mark.parametrize("change", [{"seed": 2}, {"n_neurons": 6}, {"method": "first"}])
def test_another_subset_is_another_job(change):
    assert SETTING.job_id(dataclasses.replace(SUBSET, **change)) != SETTING.job_id(SUBSET)


def test_names_predictions_and_order_are_no_part_of_a_batch():
    other = Subset(method="random", seed=2, n_neurons=5)
    a = probe_task(subsets=(SUBSET, other))
    b = probe_task(subsets=(other, SUBSET), names=Names(study="z", model="y", layer="x", dataset="w"), predicted_s=9.0)
    assert a.batch_id == b.batch_id != probe_task().batch_id
    assert batch_id(["1", "2"]) == batch_id(["2", "1"]) != batch_id(["12"])


def test_validation_is_told_in_the_protocol_column():
    labels = {
        protocol_label(PAPER, v)
        for v in (None, Validation(fraction=0.1), Validation(fraction=0.1, seed=1), Validation(split_id="abcdefgh1"))
    }
    assert labels == {"paper", "paper+val-0.1-seed-0", "paper+val-0.1-seed-1", "paper+val-abcdefgh"}


def test_a_large_block_pickles_below_64_kb():
    subsets = tuple(Subset(method="random", seed=s, n_neurons=k) for s in range(1, 6) for k in range(1, 111))
    assert len(pickle.dumps(probe_task(subsets=subsets))) < 64 * 1024


def test_tasks_survive_the_trip():
    every = tuple(range(1, 4097))
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
    assert probe_task().title == "1 probes of m/l on d, seeds 1"


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
    assert len(ids) == 6


def test_wrong_subsets_and_protocols_are_refused():
    with pytest.raises(UnknownName, match="no method 'pca'"):
        Subset(method="pca", seed=1, n_neurons=1)
    with pytest.raises(InvalidProbe, match="n_neurons must be >= 1, got 0"):
        Subset(method="random", seed=1, n_neurons=0)
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
