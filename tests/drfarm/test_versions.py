"""Workers that join while a study runs, and would measure otherwise: they refuse, and others do their work."""

import pickle
from dataclasses import dataclass

import pytest

from drfarm.errors import FarmFailed
from drfarm.farm import _versions
from drfarm.farm._feed import feed
from drfarm.farm._given import Watch
from drfarm.farm._local import local_farm
from drfarm.farm._told import Told
from drfarm.farm._versions import DECIDES, OtherVersions, Unfit, check_same, versions
from drfarm.farm.gpus import Place


@dataclass(frozen=True)
class Task:
    batch_id: str = "b"
    title: str = "b"


def work(task):
    return f"done {task.batch_id}"


@pytest.mark.parametrize("name", DECIDES)
def test_each_that_decides_is_compared_and_named(name):
    with pytest.raises(OtherVersions) as told:
        check_same(versions() | {name: "0.0"})
    assert str(told.value) == f"{name} {versions()[name]} for 0.0"


def test_what_decides_nothing_may_differ_and_what_is_unknown_differs():
    check_same(versions() | {"zarr": "0.0", "dask": "0.0", "other": "1"})
    with pytest.raises(OtherVersions, match=r"torch .* for None"):
        check_same({k: v for k, v in versions().items() if k != "torch"})


def test_work_carries_the_versions_of_who_asks_and_is_refused_before_it_begins():
    sent = pickle.dumps(Told(work, "probe"))
    assert pickle.loads(sent)(Task()) == "done b"
    done = []
    elsewhere = Told(done.append, "probe", versions() | {"numpy": "1.0"})
    with pytest.raises(OtherVersions, match=r"numpy .* for 1.0"):
        elsewhere(Task())
    assert done == []


def test_refusals_survive_the_way_back():
    again = pickle.loads(pickle.dumps(OtherVersions("torch 1 for 2")))
    assert (type(again), str(again)) == (OtherVersions, "torch 1 for 2")


def test_those_left_out_are_told_once_each_and_get_nothing(caplog):
    unfit = Unfit()
    assert unfit.without(["a", "b"], 0) == ["a", "b"]
    unfit.leave_out("a", OtherVersions("torch 1 for 2"))
    assert unfit.without(["a", "b"], 1) == ["b"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "left out, as its results could differ from this process's: a has torch 1 for 2. Install the same there and "
        "here."
    )


def test_a_farm_with_nobody_else_gives_up_but_not_at_once():
    unfit, most = Unfit(), _versions._PATIENCE_S
    unfit.leave_out("a", OtherVersions("torch 1 for 2"))
    assert unfit.without(["a"], 0) == []
    assert unfit.without(["a"], most) == []
    assert unfit.without([], most + 1) == []  # nobody lives: the farm itself is patient with that
    assert unfit.without(["a"], most + 2) == []
    assert unfit.without(["a", "b"], most + 3) == ["b"]
    assert unfit.without(["a"], 2 * most) == []
    with pytest.raises(FarmFailed, match=r"120 s every worker .* \(a has torch 1 for 2\).*Install the same"):
        unfit.without(["a"], 3 * most + 1)


@pytest.mark.slow
def test_real_workers_refuse(monkeypatch, caplog):
    monkeypatch.setattr(_versions, "_PATIENCE_S", 0.5)
    done, failed, retried = [], [], []
    watch = Watch(
        done=lambda task, _: done.append(task),
        failed=failed.append,
        retried=lambda task, why: retried.append((task, why)),
    )
    with (
        local_farm((Place(),) * 2, 0, networks=False) as farm,
        pytest.raises(FarmFailed, match=r"torch .* for 0\.1"),
    ):
        feed(farm, [Task(str(i)) for i in range(6)], Told(work, "probe", versions() | {"torch": "0.1"}), watch)
    assert (done, failed, retried) == ([], [], [])
    assert sum("left out" in r.getMessage() for r in caplog.records) == 2
