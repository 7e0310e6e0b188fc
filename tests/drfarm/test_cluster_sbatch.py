"""Slurm itself says that it would take our scripts (`sbatch --test-only`), and why it would not take others.

Needs Debian's packages slurm-wlm and munge, and root: Slurm's daemons are started in a folder, on loopback.
"""

import importlib
from pathlib import Path

import pytest
import yaml

from drfarm.farm import FarmOptions, check_cluster
from drfarm.farm.clusters import load_settings
from drfarm.farm.clusters._batch_script import batch_script
from drfarm.farm.clusters._slurm_queue import SlurmQueue, SlurmRefused
from store import InvalidRequest

TESTS = Path(__file__).parents[1]
DEPLOY = TESTS.parent / "deploy"
POOL = {"n_jobs": 2, "cores": 1, "memory": "1GiB", "walltime": "1h"}


@pytest.fixture(scope="module")
def slurm():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS / "faults"))
        try:
            server = importlib.import_module("slurm_server").SlurmServer()
        except RuntimeError as e:
            pytest.skip(str(e))
        try:
            patch.setenv("SLURM_CONF", str(server.configuration))
            yield server.start()
        finally:
            server.stop()


def written(folder: Path, **gpu: object) -> Path:
    file = folder / "slurm.yaml"
    settings = {"cluster": "slurm", "gpu": {**POOL, **gpu}, "cpu": {**POOL, "qos": "normal"}, "logs": str(folder)}
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.mark.parametrize("gpu", [True, False])
def test_slurm_takes_the_jobs_of_a_pool(slurm, tmp_path, gpu):
    file = written(tmp_path, partition="batch", directives=["--exclusive=user"], lifetime="50m", lifetime_stagger="5m")
    script = batch_script(load_settings("slurm", file), gpu=gpu, name="x", address="tcp://127.0.0.1:1")
    SlurmQueue().check(script)
    with pytest.raises(SlurmRefused, match=r"sbatch: .*[Ii]nvalid"):
        SlurmQueue().check(script.replace("#SBATCH -n 1", "#SBATCH -n 1\n#SBATCH --partition=nowhere"))
    assert slurm.jobs("RUNNING", "PENDING") == []


def test_what_slurm_would_not_take_is_told_before_anything_starts(slurm, tmp_path):
    good = FarmOptions(cluster="slurm", cluster_config=written(tmp_path))
    check_cluster(good, (), gpu=True)
    written(tmp_path, cores=1000)
    with pytest.raises(InvalidRequest, match="Slurm would not take the jobs of the pool 'gpu': sbatch: "):
        check_cluster(good, (), gpu=True)
    encrypted = FarmOptions(cluster="slurm", cluster_config=written(tmp_path), tls=tmp_path / "none")
    with pytest.raises(InvalidRequest, match=r"none.*drfarm certs"):
        check_cluster(encrypted, (), gpu=True)
    assert slurm.jobs("RUNNING", "PENDING") == []


@pytest.mark.parametrize("name", ["run.sbatch", "extract-array.sbatch"])
def test_slurm_takes_the_batch_files(slurm, name):
    # Of the size of the nodes here; all other directives are the file's.
    said = slurm.run("sbatch", "--test-only", "--mem=1G", "--cpus-per-task=1", DEPLOY / "slurm" / name, "study.yaml")
    assert said == ""
