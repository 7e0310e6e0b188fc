"""What workers are asked before they get work: their versions, and whether they see the store."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from drfarm.farm import _worker_answers
from drfarm.farm._versions import versions
from drfarm.farm._worker_answers import check_store, check_versions, sees
from drfarm.farm.joined import ClusterWorker
from store import InvalidRequest, open_store

HERE = versions()


@dataclass
class Cluster:
    """A cluster of workers that are named; only those of a test with a client can be asked."""

    addresses: list[str]
    client: Any = None
    address: str = "tcp://127.0.0.1:8786"

    def fitting(self):
        return [ClusterWorker(address=a, n_threads=1, memory_limit_bytes=0, resources={}) for a in self.addresses]


@pytest.fixture
def answering(monkeypatch):
    """Give workers' answers."""

    def answer(answers: dict[str, Any]) -> Cluster:
        monkeypatch.setattr(_worker_answers, "_ask", lambda *_: answers)
        return Cluster(list(answers))

    return answer


def test_this_process_says_what_decides_its_results():
    assert set(HERE) == {"drfarm", "python", "torch", "numpy", "distributed", "dask", "zarr"}
    assert "none" not in HERE.values()
    assert HERE["python"].count(".") == 1
    assert not any("+" in v for v in HERE.values())


def test_workers_with_the_same_versions_are_taken(answering):
    check_versions(answering({"tcp://a:1": dict(HERE), "tcp://b:1": dict(HERE)}))


def test_what_can_not_change_results_is_no_reason(answering):
    check_versions(answering({"tcp://a:1": HERE | {"zarr": "0.1"}}))


@pytest.mark.parametrize("name", ["drfarm", "python", "torch", "numpy", "distributed"])
def test_another_version_is_refused_with_a_table(answering, name):
    old = HERE | {name: "0.1", "zarr": "0.2"}
    cluster = answering({"tcp://a:1": dict(HERE), "tcp://b:1": old, "tcp://c:1": old})
    with pytest.raises(InvalidRequest, match="other versions than this process, and results could differ") as refused:
        check_versions(cluster)
    head, *rows = str(refused.value).splitlines()[1:]
    assert head.split() == ["here", "tcp://b:1", "and", "1", "more"]
    assert [r.split() for r in rows] == [[name, HERE[name], "0.1"], ["zarr", HERE["zarr"], "0.2"]]


def test_a_worker_without_drfarm_is_named(answering):
    with pytest.raises(InvalidRequest, match=r"do not say their versions.* tcp://a:1: ModuleNotFoundError: No module"):
        check_versions(answering({"tcp://a:1": ModuleNotFoundError("No module named 'drfarm'")}))


def test_a_stopped_worker_is_left_out_while_others_answer(answering):
    stopped = TimeoutError("no answer within 20 s")
    assert check_versions(answering({"tcp://a:1": dict(HERE), "tcp://b:1": stopped})) == {"tcp://b:1"}
    with pytest.raises(InvalidRequest, match=r"do not say their versions.* tcp://b:1: no answer within 20 s"):
        check_versions(answering({"tcp://b:1": stopped}))


def test_workers_that_do_not_see_the_store_are_named(answering, tmp_path):
    open_store(tmp_path / "store", create=True)
    told = {f"tcp://{n}:1": "there is no drfarm store at /x." for n in range(7)}
    cluster = answering({"tcp://good:1": None, "tcp://slow:1": TimeoutError("no answer within 60 s"), **told})
    with pytest.raises(InvalidRequest, match=r"8 of 9 workers .* do not see the store .*slow:1: no answer within") as e:
        check_store(cluster, str(tmp_path / "store"))
    assert "tcp://good:1" not in str(e.value)
    assert "; and 3 more" in str(e.value)


def test_a_store_of_the_same_path_on_another_machine_is_not_the_same(tmp_path):
    for name in ("here", "there"):
        open_store(tmp_path / name, create=True).objects.put(f"checks/{name}", b"{}")
    assert asyncio.run(sees(str(tmp_path / "here"), "checks/here")) is None
    assert "checks/here" in asyncio.run(sees(str(tmp_path / "there"), "checks/here"))
    assert "there is no store" in asyncio.run(sees(str(tmp_path / "none"), "checks/here"))


def test_real_workers_are_asked_and_nothing_is_left_in_the_store(tmp_path):
    from distributed import Client, LocalCluster

    store = open_store(tmp_path / "store", create=True)
    before = sorted(p for p in (tmp_path / "store").rglob("*") if p.is_file())
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        ) as made,
        Client(made, set_as_default=False) as client,
    ):
        cluster = Cluster(list(client.nthreads()), client)
        assert len(cluster.addresses) == 2
        check_versions(cluster)
        check_store(cluster, store.url)
        gone = Cluster([*cluster.addresses, "inproc://127.0.0.1/1/99"], client)
        with pytest.raises(InvalidRequest, match=r"1 of 3 workers .* do not see the store .*inproc://127.0.0.1/1/99"):
            check_store(gone, store.url)
    assert sorted(p for p in (tmp_path / "store").rglob("*") if p.is_file()) == before
