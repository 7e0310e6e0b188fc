"""A whole study on a real Slurm: jobs cancelled, a node set down, walltimes reached, and nothing is lost."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from slurm_server import SlurmServer

from store import open_store, verify
from store.schema import KINDS

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests" / "drfarm"
BATCH = ("--batch-size", 64)
"""Of every run: the fastest is found by timing, and rounding depends on it."""


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        yield importlib.import_module("nodes")


@pytest.fixture(scope="module")
def slurm():
    server = SlurmServer()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(server.configuration))
            yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory):
    """A study whose networks take their time, and what an undisturbed run on this machine measured."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study = nodes.write_study(folder, **CHANGES)
    code, out, err = nodes.finished(nodes.start(folder, "run", study, *BATCH, "--quiet"), timeout_s=600)
    assert code == 0, out + err
    return folder


CHANGES = {
    "n_train": 1000,
    "n_test": 400,
    "pause_s": 0.0,
    "subsets": {"n_neurons": [8, 64, 256, 512], "seeds": [*range(1, 11)]},
    "measures": [{"measure": "accuracy"}, {"measure": "accuracy", "solver": "ridge"}, {"measure": "cka"}],
}


def prepared(nodes, folder: Path, *, pause_s: float) -> Path:
    """Write the same study with networks that take longer: the pause is not part of what is measured."""
    study = nodes.write_study(folder, **{**CHANGES, "pause_s": 0.0})
    networks = folder / "wide_networks.py"
    networks.write_text(networks.read_text().replace("time.sleep(self.pause_s)", f"time.sleep({pause_s})"))
    return study


def write_settings(folder: Path, *, gpu=None, cpu=None, **rest) -> Path:
    pool = {"cores": 1, "memory": "2GiB", "walltime": "10m", "n_jobs": 2}
    settings = {
        "cluster": "slurm",
        "gpu": {**pool, "processes": 1, **(gpu or {})},
        "cpu": {**pool, **(cpu or {})},
        "logs": str(folder / "logs"),
        "poll": "1s",
        **rest,
    }
    file = folder / "slurm.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.fixture
def begin(nodes, slurm):
    """Start the command with a cluster; none of them, and no job, is left when a test ends."""
    processes = []

    def start(study: Path, settings: Path, *words) -> subprocess.Popen:
        options = ("--cluster", "slurm", "--cluster-config", settings)
        processes.append(nodes.start(study.parent, "run", study, *options, *BATCH, *words))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()
    left = [job for job, _, _ in slurm.jobs("RUNNING", "PENDING")]
    if left:
        slurm.run("scancel", *left)


def ended(nodes, process) -> tuple[int, str]:
    code, out, err = nodes.finished(process, timeout_s=900)
    return code, out + err


def submitted(folder: Path, pool: str) -> set[str]:
    """Return the jobs of a pool that ever ran, by their logs."""
    return {f.name.rsplit("-", 1)[1].removesuffix(".out") for f in (folder / "logs").glob(f"drfarm-{pool}-*.out")}


def running(slurm, pool: str) -> list[tuple[str, str, str]]:
    return [job for job in slurm.jobs() if job[1].startswith(f"drfarm-{pool}-")]


def at_work(slurm, folder: Path, pool: str, n: int, process) -> list[tuple[str, str, str]]:
    """Wait until so many jobs of a pool have their workers; return them."""
    end = time.monotonic() + 180
    while True:
        assert process.poll() is None, process.communicate()
        jobs = running(slurm, pool)
        said = [j for j in jobs if "for tcp://" in _text(folder / "logs" / f"{j[1]}-{j[0]}.out")]
        if len(said) >= n:
            return said
        assert time.monotonic() < end, (jobs, said)
        time.sleep(0.5)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def measured(folder: Path, kind: str) -> dict[str, float]:
    """Return what was measured of each job; every job must be in the store's files once."""
    table = open_store(str(folder / "store")).results.dataset(kind).to_table()
    ids = table["job_id"].to_pylist()
    assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} rows of {kind} are doubled"
    value = {"probes": "accuracy", "cka": "value"}[kind]
    return dict(zip(ids, table[value].to_pylist(), strict=True))


def assert_the_same(folder: Path, undisturbed: Path) -> None:
    for kind in KINDS:
        expected = measured(undisturbed, kind)
        assert expected, kind
        assert measured(folder, kind) == expected
    assert [c.problem for c in verify(open_store(str(folder / "store"))) if c.problem] == []


def assert_nothing_is_left(slurm) -> None:
    end = time.monotonic() + 30
    while left := slurm.jobs("RUNNING", "PENDING"):
        assert time.monotonic() < end, left
        time.sleep(0.5)


def test_jobs_are_cancelled_and_a_node_set_down(nodes, slurm, begin, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=1.0)
    process = begin(study, write_settings(tmp_path))
    first = at_work(slurm, tmp_path, "gpu", 2, process)
    slurm.run("scancel", first[0][0])
    again = [j for j in at_work(slurm, tmp_path, "gpu", 2, process) if j[0] not in {f[0] for f in first}]
    node = first[1][2]
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")  # it comes back by itself
    cpu = at_work(slurm, tmp_path, "cpu", 1, process)
    slurm.run("scancel", "--signal=KILL", "--full", cpu[0][0])
    code, said = ended(nodes, process)
    assert code == 0, said
    assert again or len(submitted(tmp_path, "gpu")) >= 3, "no GPU job was submitted again"
    assert len(submitted(tmp_path, "gpu")) >= 4, submitted(tmp_path, "gpu")
    assert len(submitted(tmp_path, "cpu")) >= 3, submitted(tmp_path, "cpu")
    assert_the_same(tmp_path, undisturbed)
    assert_nothing_is_left(slurm)


def test_the_walltime_is_reached(nodes, slurm, begin, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=3.0)
    settings = write_settings(
        tmp_path, gpu={"walltime": "1m"}, cpu={"lifetime": "75s", "lifetime_stagger": "5s", "walltime": "2m"}
    )
    process = begin(study, settings)
    code, said = ended(nodes, process)
    assert code == 0, said
    assert len(submitted(tmp_path, "gpu")) >= 3, "no job reached its walltime"
    logs = "".join(_text(f) for f in (tmp_path / "logs").glob("drfarm-gpu-*.err"))
    assert "DUE TO TIME LIMIT" in logs
    assert "trying again" not in said, "a try was counted where a job ended"
    assert_the_same(tmp_path, undisturbed)
    assert_nothing_is_left(slurm)


def test_a_pool_that_follows_the_work(nodes, slurm, begin, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=0.2)
    adaptive = {"n_jobs": None, "adaptive": {"minimum": 1, "maximum": 3}}
    process = begin(study, write_settings(tmp_path, gpu=adaptive, cpu=adaptive))
    code, said = ended(nodes, process)
    assert code == 0, said
    assert len(submitted(tmp_path, "cpu")) >= 2, "the pool did not grow"
    assert_the_same(tmp_path, undisturbed)
    assert_nothing_is_left(slurm)


def test_a_driver_that_is_terminated_takes_its_jobs_with_it_and_goes_on(nodes, slurm, begin, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=0.5)
    settings = write_settings(tmp_path)
    process = begin(study, settings)
    at_work(slurm, tmp_path, "gpu", 1, process)
    process.send_signal(signal.SIGTERM)
    code, said = ended(nodes, process)
    assert code == 130, said
    assert_nothing_is_left(slurm)
    code, said = ended(nodes, begin(study, settings))
    assert code == 0, said
    assert_the_same(tmp_path, undisturbed)


def test_jobs_of_a_killed_driver_end_by_themselves(nodes, slurm, begin, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=0.5)
    process = begin(study, write_settings(tmp_path))
    jobs = at_work(slurm, tmp_path, "gpu", 2, process)
    process.kill()
    process.communicate()
    end = time.monotonic() + 180
    while {j[0] for j in running(slurm, "gpu")} & {j[0] for j in jobs}:
        assert time.monotonic() < end, "they run on"
        time.sleep(1)
    assert "has not answered for 60 s" in _text(tmp_path / "logs" / f"{jobs[0][1]}-{jobs[0][0]}.out")


def test_the_connections_are_encrypted(nodes, slurm, begin, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=0.0)
    code, out, err = nodes.finished(nodes.start(tmp_path, "certs", "tls"))
    assert code == 0, out + err
    code, said = ended(nodes, begin(study, write_settings(tmp_path), "--tls", tmp_path / "tls"))
    assert code == 0, said
    logs = [_text(f) for f in (tmp_path / "logs").glob("*.out")]
    assert all(" for tls://" in log for log in logs if log)
    assert any(logs)
    assert_the_same(tmp_path, undisturbed)


def test_the_driver_runs_in_a_job(nodes, slurm, undisturbed, tmp_path):
    study = prepared(nodes, tmp_path, pause_s=0.0)
    environment = {**nodes.environment(tmp_path), "DRFARM_CLUSTER_CONFIG": str(write_settings(tmp_path))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    script = REPOSITORY / "deploy" / "slurm" / "run.sbatch"
    done = subprocess.run(
        ["sbatch", "--wait", "--mem=1G", "--cpus-per-task=1", script, study, *map(str, BATCH)],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    log = "".join(_text(f) for f in tmp_path.glob("drfarm-*.log"))
    assert done.returncode == 0, done.stderr + log
    assert_the_same(tmp_path, undisturbed)
    assert_nothing_is_left(slurm)


@pytest.mark.parametrize(
    ("gpu", "rest", "code", "message"),
    [
        ({"partition": "nowhere"}, {}, 2, r"Slurm would not take the jobs of the pool 'gpu': .*[Ii]nvalid partition"),
        ({"cores": 64}, {}, 2, r"Slurm would not take the jobs of the pool 'gpu'"),
        ({"gpus": 1, "gpu_type": "h300"}, {}, 2, r"Slurm would not take the jobs of the pool 'gpu'"),
        ({}, {"host": "10.255.255.1"}, 2, r"10\.255\.255\.1.*not encrypted|certificates"),
        ({}, {"prologue": ["echo no such module: cuda >&2", "exit 3"]}, 1, r"(?s)stays alive.*no such module: cuda"),
    ],
)
def test_what_can_not_work_is_told(nodes, slurm, begin, tmp_path, gpu, rest, code, message):
    study = prepared(nodes, tmp_path, pause_s=0.0)
    got, said = ended(nodes, begin(study, write_settings(tmp_path, gpu=gpu, **rest)))
    assert (got, bool(re.search(message, said))) == (code, True), said
    assert "Traceback" not in said
    assert_nothing_is_left(slurm)
