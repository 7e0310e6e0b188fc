"""Extraction on the workers of a real cluster, and on several local processes: the same bytes, whoever dies."""

import contextlib
import importlib
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from drfarm import extraction_tasks
from store import grid, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("nodes")


@pytest.fixture(autouse=True)
def _small(monkeypatch, nodes):
    """The command runs in this process, and its tasks are small too."""
    monkeypatch.setattr(grid, "TARGET_CHUNK_BYTES", nodes.CHUNK_BYTES)
    monkeypatch.setattr(extraction_tasks, "FORWARDS_PER_TASK", 1000)


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory) -> Path:
    """A study's folder, with features that one process made."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = nodes.finished(nodes.start(folder, "extract", nodes.write_study(folder, pause_s=0.05)))
    assert code == 0, err
    return folder


@pytest.fixture
def twin(undisturbed, tmp_path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "twin", ignore=shutil.ignore_patterns("store")))


class Cluster:
    """A scheduler, and workers that tests add."""

    def __init__(self, nodes, folder: Path, *, gpus: bool = False) -> None:
        self._nodes, self._folder, self._gpus, self._processes = nodes, folder, gpus, []
        self.scheduler = self._start("scheduler", "--port", 0)
        said = self.scheduler.stdout.readline()
        self.address = re.fullmatch(r"scheduler at (tcp://127\.0\.0\.1:\d+)\n", said)[1]

    def add(self, *words: object) -> psutil.Process:
        """Start workers; return when they are there."""
        process = self._start("worker", self.address, *words)
        said = process.stdout.readline()
        assert f"for {self.address}" in said, said + process.stderr.read()
        return psutil.Process(process.pid)

    def end(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            _, err = process.communicate(timeout=60)
            assert "Traceback" not in err, err
            assert process.returncode == 0, err

    def _start(self, *words: object):
        self._processes.append(self._nodes.start(self._folder, *words, gpus=self._gpus))
        return self._processes[-1]


@pytest.fixture(scope="module")
def cluster(nodes, undisturbed):
    cluster = Cluster(nodes, undisturbed)
    yield cluster
    cluster.end()


def workers_below(process: psutil.Process) -> list[psutil.Process]:
    """Return the spawned worker processes below a process, that live now."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.fixture(scope="module")
def gpu_workers(cluster) -> psutil.Process:
    """Two processes that advertise a GPU each, on a machine that needs none."""
    refused = cluster._start("worker", cluster.address, "--gpu")
    _, err = refused.communicate(timeout=60)
    cluster._processes.remove(refused)
    assert refused.returncode == 2
    assert "torch sees no CUDA device here" in err
    assert "--workers N" in err
    return cluster.add("--gpu", "--workers", 2)


def test_a_cluster_without_a_gpu_is_refused_before_anything_starts(nodes, cluster, twin, drfarm):
    """First of all: no worker has a GPU yet."""
    done = drfarm("extract", twin / "study.yaml", "--scheduler", cluster.address)
    assert done.code == 2
    assert f"the cluster at {cluster.address} has none (there is no worker)" in done.err
    cluster.add("--workers", 1)
    for command in ("extract", "run"):
        done = drfarm(command, twin / "study.yaml", "--scheduler", cluster.address)
        assert done.code == 2
        assert "extraction runs on workers that advertise GPU=1" in done.err
        assert "1 thread, no resources" in done.err
        assert f"drfarm worker {cluster.address} --gpu" in done.err
    assert nodes.n_chunks(twin / "store") == 0
    assert not list(twin.glob("store/studies/*"))


def test_an_address_where_nothing_answers_is_refused(cluster, twin, drfarm, monkeypatch):
    monkeypatch.setattr("drfarm.farm.joined._CONNECT_S", 1)
    done = drfarm("extract", twin / "study.yaml", "--scheduler", "tcp://127.0.0.1:9")
    assert done.code == 2
    assert "no scheduler answers at tcp://127.0.0.1:9" in done.err
    assert "drfarm scheduler" in done.err
    assert "Traceback" not in done.err
    for wrong in ("127.0.0.1:8786", "http://127.0.0.1:8786", "tcp://nowhere", "tcp://here:99999"):
        done = drfarm("extract", twin / "study.yaml", "--scheduler", wrong)
        assert (done.code, "tcp://HOST:PORT" in done.err) == (2, True)


def test_a_study_runs_on_a_cluster(nodes, cluster, gpu_workers, undisturbed, twin, drfarm):
    plan = drfarm("plan", twin / "study.yaml", "--scheduler", cluster.address)
    assert (plan.code, plan.err) == (0, "")
    assert "cluster  3 workers, 2 with a GPU: extraction in 4 tasks" in plan.out.splitlines()
    done = drfarm("run", twin / "study.yaml", "--scheduler", cluster.address, "--device", "cpu")
    assert done.code == 0, done.text
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")
    assert "extract: 4,000 of 4,000 images" in done.err
    assert re.search(r"ash, birch / noise / train: 3,000 images in 3 tasks at [\d,]+/s each", done.err)
    assert "ash/penultimate" in done.out
    assert "Traceback" not in done.err
    again = drfarm("run", twin / "study.yaml", "--scheduler", cluster.address, "--device", "cpu")
    assert again.code == 0
    assert "nothing was left to do" in again.err


def test_a_workers_death_costs_nothing_but_time(nodes, cluster, gpu_workers, undisturbed, twin):
    command = nodes.start(twin, "extract", "study.yaml", "--scheduler", cluster.address, "--device", "cpu")
    least = 8
    nodes.wait_until(lambda: nodes.n_chunks(twin / "store") >= least)
    before = {p.pid for p in workers_below(gpu_workers)}
    assert len(before) == 2
    for pid in before:  # whichever has a task: both
        os.kill(pid, signal.SIGKILL)
    written = nodes.n_chunks(twin / "store")
    code, _, err = nodes.finished(command)
    assert code == 0, err
    assert written < 128, "they were killed too late to matter"
    assert "trying again: extract ash, birch / noise / train" in err
    assert "its worker process died" in err
    assert "Traceback" not in err
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")
    assert before.isdisjoint(p.pid for p in workers_below(gpu_workers))  # others came in their place


def test_a_network_that_fails_is_named_and_takes_no_other_with_it(
    nodes, cluster, gpu_workers, undisturbed, twin, drfarm
):
    raw = yaml.safe_load((twin / "study.yaml").read_text())
    raw["models"].append(nodes.model("sick", 2, sick=True))
    (twin / "study.yaml").write_text(yaml.safe_dump(raw))
    done = drfarm("extract", twin / "study.yaml", "--scheduler", cluster.address, "--device", "cpu")
    assert done.code == 1
    assert done.err.count("failed: extract sick / noise / train") == 1
    assert done.err.count("failed: extract sick / noise / test") == 1
    assert "2 jobs failed; the rest is done." in done.err
    made = {k: v for k, v in nodes.files(twin / "store").items() if k in nodes.files(undisturbed / "store")}
    assert made == nodes.files(undisturbed / "store")
    failures = open_store(str(twin / "store")).results.failures()
    assert sorted(f["what"] for f in failures) == ["sick / noise / test", "sick / noise / train"]


def test_several_local_processes_do_what_one_does(nodes, undisturbed, twin, drfarm, monkeypatch):
    for name in ("PYTHONPATH", "SMALL_CHUNKS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, nodes.environment(twin)[name])
    others = set(workers_below(psutil.Process()))  # the cluster's
    most, ended = 0, threading.Event()

    def count() -> None:
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, len(set(workers_below(psutil.Process())) - others))

    counter = threading.Thread(target=count)
    counter.start()
    done = drfarm("extract", twin / "study.yaml", "--gpus", 2, "--device", "cpu")
    ended.set()
    counter.join()
    assert done.code == 0, done.text
    assert re.search(r"ash, birch / noise / train: 3,000 images in 3 tasks at [\d,]+/s each", done.err)
    assert most >= 2
    assert "Traceback" not in done.err
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")
    assert psutil.wait_procs(set(workers_below(psutil.Process())) - others, timeout=20)[1] == []


def test_more_gpus_than_there_are_is_refused(twin, drfarm):
    done = drfarm("extract", twin / "study.yaml", "--gpus", 99)
    assert done.code == 2
    assert "99 GPUs are asked for, and torch sees" in done.err


def test_a_scheduler_that_stays_away_takes_its_workers_along_and_the_run_says_so(nodes, undisturbed, twin):
    cluster = Cluster(nodes, undisturbed)
    worker = cluster.add("--gpu", "--workers", 1, "--patience", 1)
    words = ("extract", "study.yaml", "--scheduler", cluster.address, "--device", "cpu", "--patience", 1)
    command = nodes.start(twin, *words)
    nodes.wait_until(lambda: nodes.n_chunks(twin / "store") >= 4)
    cluster.scheduler.kill()
    code, _, err = nodes.finished(command)
    assert code == 1
    assert f"the scheduler at {cluster.address} does not answer any more" in err
    assert "what is finished is kept" in err
    assert "Traceback" not in err
    workers = cluster._processes[1]
    out, err = workers.communicate(timeout=60)
    assert (workers.returncode, "the scheduler" in out) == (0, True), err
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    cluster.scheduler.communicate(timeout=60)
    assert nodes.n_chunks(twin / "store") >= 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_does_on_a_cluster_what_it_does_here(nodes, undisturbed, twin, drfarm):
    here = nodes.start(twin, "extract", "study.yaml", "--store", "here", "--device", "cuda", "--gpus", 1, gpus=True)
    code, _, err = nodes.finished(here)
    assert code == 0, err
    cluster = Cluster(nodes, undisturbed, gpus=True)
    try:
        cluster.add("--gpu")
        done = drfarm("extract", twin / "study.yaml", "--scheduler", cluster.address, "--device", "cuda")
    finally:
        cluster.end()
    assert done.code == 0, done.text
    assert torch.cuda.get_device_name() in done.err
    assert nodes.files(twin / "store") == nodes.files(twin / "here")
    assert drfarm("extract", twin / "study.yaml", "--store", twin / "auto").code == 0  # one process for each GPU
    assert nodes.files(twin / "auto") == nodes.files(twin / "here")
