"""A pool that is kept, and the farm on it. The batch system and the scheduler are objects of these tests."""

import contextlib
import dataclasses
import threading
import time
from pathlib import Path

import pytest

from drfarm.errors import FarmFailed
from drfarm.farm.clusters._pool_farm import MOST_EXCUSES, PoolFarm
from drfarm.farm.clusters._slurm import SlurmPool
from drfarm.farm.clusters._slurm_queue import QueuedJob, SlurmRefused


class FakeSlurm:
    """A batch system in memory: takes jobs, and a test says what becomes of them."""

    def __init__(self) -> None:
        self.queued: dict[str, QueuedJob] = {}
        self.n = 0
        self.cancelled: set[str] = set()
        self.refusal: str | None = None

    def submit(self, script: str) -> str:
        assert script == "script"
        if self.refusal is not None:
            raise SlurmRefused(self.refusal)
        self.n += 1
        self.queued[str(self.n)] = QueuedJob(state="PENDING", reason="")
        return str(self.n)

    def jobs(self, name: str) -> dict[str, QueuedJob]:
        if self.refusal is not None and self.n:
            raise SlurmRefused(self.refusal)
        return dict(self.queued)

    def cancel(self, jobs) -> None:
        self.cancelled |= set(jobs)
        for job in jobs:
            self.queued.pop(job, None)


class FakeClient:
    """A scheduler's client: workers join and leave as a test says; each is of one job."""

    status = "running"

    def __init__(self) -> None:
        self.job_of: dict[str, str] = {}

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.job_of, 1)

    def run(self, function, name, *, workers, on_error):
        assert name == "SLURM_JOB_ID"
        return {w: self.job_of[w] for w in workers}


@contextlib.contextmanager
def slurm_pool(folder: Path, *, n_jobs: int = 2):
    slurm, client = FakeSlurm(), FakeClient()
    pool = SlurmPool(slurm, "script", name="drfarm-x", logs=folder, n_jobs=n_jobs, client=client, poll_s=0.01)
    with pool.kept():
        yield pool, slurm, client


def wait_until(condition, *, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def test_a_pool_is_kept_at_its_size_and_ends(tmp_path):
    with slurm_pool(tmp_path) as (pool, slurm, client):
        wait_until(lambda: len(slurm.queued) == 2)
        assert pool.starting
        client.job_of = {"a": "1", "b": "2"}
        wait_until(lambda: not pool.starting)
        client.job_of = {"a": "1"}
        del slurm.queued["2"]
        wait_until(lambda: "3" in slurm.queued)
        slurm.queued["1"] = QueuedJob(state="COMPLETING", reason="")
        client.job_of = {}
        wait_until(lambda: "4" in slurm.queued)
        assert pool.n_lost == 2
        pool.check()
        assert len(slurm.queued) == 3  # one of them ends
    assert {"3", "4"} <= slurm.cancelled
    assert slurm.queued == {}
    assert [t.name for t in threading.enumerate() if t.name.startswith("drfarm-x")] == []


def test_a_pool_whose_jobs_fail_tells_the_end_of_their_log(tmp_path):
    with slurm_pool(tmp_path, n_jobs=3) as (pool, slurm, _):
        for job in ("1", "2", "3"):
            (tmp_path / f"drfarm-x-{job}.err").write_text(
                "\n".join(f"line {i}" for i in range(50)) + "\nno module: cuda"
            )
        wait_until(lambda: len(slurm.queued) == 3)
        slurm.queued.clear()
        wait_until(lambda: not pool._thread.is_alive())
        with pytest.raises(
            FarmFailed, match=r"(?s)stays alive\. The last: job 3 ended.*line 49\nno module: cuda"
        ) as told:
            pool.check()
        assert "line 10" not in str(told.value)


def test_a_dead_workers_job_is_asked_for(tmp_path):
    with slurm_pool(tmp_path) as (pool, slurm, client):
        client.job_of = {"a": "1", "b": "2"}
        wait_until(lambda: len(slurm.queued) == 2 and not pool.starting)
        assert not pool.ended("a")  # the worker may have died of its task: the job lives
        slurm.queued["1"] = QueuedJob(state="OUT_OF_MEMORY", reason="")
        assert not pool.ended("a")
        slurm.queued["1"] = QueuedJob(state="PREEMPTED", reason="")
        assert pool.ended("a")
        del client.job_of["a"]
        wait_until(lambda: slurm.n == 3)
        assert pool.ended("a")
        assert not pool.ended("of-no-job")
        slurm.refusal = "squeue: error"
        assert not pool.ended("a")
        slurm.refusal = None


def test_jobs_that_slurm_refuses_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("drfarm.farm.clusters._jobs._FIRST_DELAY_S", 0.01)
    slurm, client = FakeSlurm(), FakeClient()
    slurm.refusal = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    pool = SlurmPool(slurm, "script", name="drfarm-x", logs=tmp_path, n_jobs=1, client=client, poll_s=0.01)
    with pool.kept():
        wait_until(lambda: not pool._thread.is_alive())
        with pytest.raises(FarmFailed, match="QOSMaxSubmitJobPerUserLimit"):
            pool.check()


def test_a_slurm_that_does_not_answer_changes_nothing(tmp_path):
    with slurm_pool(tmp_path) as (pool, slurm, client):
        wait_until(lambda: len(slurm.queued) == 2)
        client.job_of = {"a": "1", "b": "2"}
        wait_until(lambda: not pool.starting)
        slurm.refusal = "squeue: error: Unable to contact slurm controller"
        time.sleep(0.1)
        pool.check()
        assert slurm.n == 2
        slurm.refusal = None
        del slurm.queued["1"]
        del client.job_of["a"]
        wait_until(lambda: slurm.n == 3)


def test_a_pool_that_follows_the_work_ends_idle_jobs(tmp_path):
    with slurm_pool(tmp_path, n_jobs=3) as (pool, slurm, client):
        client.job_of = {"a": "1", "b": "2", "b2": "2", "c": "3"}
        wait_until(lambda: len(slurm.queued) == 3 and not pool.starting)
        pool.release({"b"}, fewest=1)  # its other worker has a task
        assert slurm.cancelled == set()
        pool.release({"b", "b2"}, fewest=1)
        assert slurm.cancelled == {"2"}
        pool.release({"a", "c"}, fewest=1)
        assert len(slurm.cancelled) == 2
        time.sleep(0.05)
        assert slurm.n == 3


class FakePool:
    """A pool that notes what it is asked for."""

    n_jobs, starting = 2, False

    def __init__(self) -> None:
        self.wanted: list[int] = []
        self.released: list[set[str]] = []

    def check(self) -> None: ...

    def ended(self, worker: str) -> bool:
        return worker == "a"

    def want(self, n_jobs: int) -> None:
        self.wanted.append(n_jobs)

    def release(self, idle, *, fewest: int) -> None:
        self.released.append(set(idle))


@dataclasses.dataclass
class FakeWorker:
    address: str


class FakeJoined:
    """A scheduler with two workers; a task is done at once."""

    address = "tcp://127.0.0.1:1"

    def __init__(self) -> None:
        self.client = FakeClient()
        self.found = [FakeWorker("a"), FakeWorker("b")]

    def fitting(self):
        return self.found

    def submit(self, work, task, worker):
        done = threading.Event()
        return type("Future", (), {"done": staticmethod(done.is_set), "end": staticmethod(done.set)})()


def pool_farm(*, most: int) -> tuple[PoolFarm, FakePool]:
    pool = FakePool()
    farm = PoolFarm(joined=FakeJoined(), pool=pool, fewest=1, most=most, _checked=True)
    return farm, pool


def test_a_farm_asks_for_more_jobs_only_where_it_may():
    farm, pool = pool_farm(most=1)
    assert farm.has_room(2)
    assert pool.wanted == []
    farm, pool = pool_farm(most=8)
    farm.has_room(1)
    farm.has_room(2)
    assert pool.wanted == [2, 4]


def test_a_batch_is_excused_when_its_job_ended_but_not_for_ever():
    farm, _ = pool_farm(most=1)
    assert [farm.excuses("a", "batch") for _ in range(MOST_EXCUSES + 2)] == [True] * MOST_EXCUSES + [False] * 2
    assert farm.excuses("a", "another")
    assert not farm.excuses("b", "a third")


def test_a_farm_gives_idle_workers_up_when_nothing_has_waited_for_long(monkeypatch):
    farm, pool = pool_farm(most=8)
    busy = farm.submit(print, None, "a")
    assert farm.workers() == ("a", "b")
    assert pool.released == []
    monkeypatch.setattr("drfarm.farm.clusters._pool_farm.IDLE_S", -1.0)
    farm.workers()
    busy.end()
    farm.workers()
    assert pool.released == [{"b"}, {"a", "b"}]
    farm, pool = pool_farm(most=1)
    farm.workers()
    assert pool.released == []


def test_a_farm_without_workers_waits_and_one_without_a_scheduler_ends():
    farm, _ = pool_farm(most=1)
    farm.joined.found = []
    assert farm.workers() == ()
    farm.joined.client.status = "closed"
    with pytest.raises(FarmFailed, match="does not answer any more"):
        farm.workers()
