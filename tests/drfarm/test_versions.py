"""Workers that join while a study runs, and would measure otherwise: they refuse, and others do their work."""

import pickle
from dataclasses import dataclass

import pytest

from drfarm.errors import FarmFailed
from drfarm.farm._feed import feed
from drfarm.farm._given import Watch
from drfarm.farm._local import local_farm
from drfarm.farm._told import Told
from drfarm.farm._versions import DECIDES, OtherVersions, check_same, versions
from drfarm.farm.gpus import Place
from drfarm.farm.joined import JoinedFarm


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
    assert str(told.value) == f"{name} {versions()[name]} instead of 0.0"


def test_what_decides_nothing_may_differ_and_what_is_unknown_differs():
    check_same(versions() | {"zarr": "0.0", "dask": "0.0", "other": "1"})
    with pytest.raises(OtherVersions, match=r"torch .* instead of None"):
        check_same({k: v for k, v in versions().items() if k != "torch"})


def test_work_carries_the_versions_of_who_asks_and_is_refused_before_it_begins():
    sent = pickle.dumps(Told(work, "probe"))
    assert pickle.loads(sent)(Task()) == "done b"
    done = []
    elsewhere = Told(done.append, "probe", versions() | {"numpy": "1.0"})
    with pytest.raises(OtherVersions, match=r"numpy .* instead of 1.0"):
        elsewhere(Task())
    assert done == []


def test_refusals_survive_the_way_back():
    again = pickle.loads(pickle.dumps(OtherVersions("torch 1 instead of 2")))
    assert (type(again), str(again)) == (OtherVersions, "torch 1 instead of 2")


@dataclass
class Client:
    """Of a cluster whose workers all live."""

    found: dict[str, dict]
    status: str = "running"

    def nthreads(self):
        return dict.fromkeys(self.found, 1)

    def scheduler_info(self, n_workers):
        return {"workers": {a: {"nthreads": 1, "resources": held} for a, held in self.found.items()}}


def test_those_left_out_are_told_of_and_are_no_workers_of_the_farm_any_more(caplog):
    farm = JoinedFarm(client=Client({"good": {"GPU": 1}, "odd": {}}), address="tcp://x:1", gpu=False, patience_s=0.0)
    assert farm.workers() == ("odd",)
    farm.leave_out("odd", "torch 1 instead of 2")
    assert farm.workers() == ("good",)  # where no other is left, those with a GPU do
    assert [w.address for w in farm.fitting()] == ["good"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "left out, as its results could differ from this process's: odd has torch 1 instead of 2. Install the same "
        "there and here."
    )


def test_a_farm_with_nobody_else_is_as_patient_as_with_nobody():
    farm = JoinedFarm(client=Client({"odd": {}}), address="tcp://x:1", gpu=False, patience_s=0.0)
    assert farm.workers() == ("odd",)
    farm.leave_out("odd", "torch 1 instead of 2")
    with pytest.raises(FarmFailed, match="has had no worker for 0 s"):
        farm.workers()


@pytest.mark.slow
def test_real_workers_refuse_and_here_that_ends_the_run():
    done, failed, retried = [], [], []
    watch = Watch(
        done=lambda task, _: done.append(task),
        failed=failed.append,
        retried=lambda task, why: retried.append((task, why)),
    )
    with (
        local_farm((Place(),) * 2, 0, networks=False) as farm,
        pytest.raises(FarmFailed, match=r"installed here has changed .* torch .* instead of 0\.1"),
    ):
        feed(farm, [Task(str(i)) for i in range(6)], Told(work, "probe", versions() | {"torch": "0.1"}), watch)
    assert (done, failed, retried) == ([], [], [])
