"""The scripts of Slurm jobs, made and shipped. They are read by shellcheck and run by bash, not by Slurm."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

from drfarm.farm.clusters import load_settings
from drfarm.farm.clusters._batch_script import batch_script

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
DEPLOY = Path(__file__).parents[2] / "deploy"
SLURM: dict[str, Any] = {
    "cluster": "slurm",
    "gpu": {"n_jobs": 2, "gpus": 2, "cores": 8, "memory": "16GiB", "walltime": "4h", "partition": "gpu"},
    "cpu": {"adaptive": {"maximum": 5}, "cores": 4, "memory": "10GiB", "walltime": "90m"},
}


def written(folder: Path, base: dict[str, Any] = SLURM, **changes: Any) -> Path:
    """Write settings; a change of a pool is merged into it, and None takes a key out."""
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in merged.items() if v is not None}))
    return file


def script(folder: Path, *, on_gpu: bool, **changes: Any) -> str:
    settings = load_settings("slurm", written(folder, logs=str(folder / "logs"), **changes))
    return batch_script(settings, gpu=on_gpu, name="drfarm-x", address="tcp://10.0.0.1:8786", insecure=True)


def test_the_script_of_a_gpu_job(tmp_path):
    lines = script(tmp_path, on_gpu=True, gpu={"gpu_type": "a100", "directives": ["--constraint=nvlink"]}).splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    logs = tmp_path / "logs" / "drfarm-x-%J"
    assert directives == [
        "-J drfarm-x",
        f"-e {logs}.err",
        f"-o {logs}.out",
        "-p gpu",
        "-n 1",
        "--cpus-per-task=8",
        "--mem=16G",
        "-t 0-04:00:00",
        "--gres=gpu:a100:2",
        "--constraint=nvlink",
        "--no-requeue",
    ]
    assert lines[-1].endswith(" -m drfarm worker tcp://10.0.0.1:8786 --patience 60 --gpu --insecure")
    assert lines[-1].startswith("exec ")


def test_the_script_of_a_cpu_job(tmp_path):
    text = script(
        tmp_path,
        on_gpu=False,
        cpu={"lifetime": "80m", "lifetime_stagger": "5m"},
        prologue=["module load cuda"],
        environment={"A": "it's"},
        python="apptainer exec drfarm.sif python",
    )
    before, _, command = text.rstrip().rpartition("\n")
    assert "module load cuda" in before
    assert """export A='it'"'"'s'""" in before
    limit = int(10 * 2**30 * 0.9 / 4)
    assert "apptainer exec drfarm.sif python -m drfarm worker" in command
    assert f"--workers 4 --memory-limit {limit}B" in command
    assert "4800 - (RANDOM * 32768 + RANDOM) % 300" in command
    assert "--gres" not in text


def test_a_lifetime_ends_well_and_a_failure_stays_one(tmp_path):
    text = script(tmp_path, on_gpu=False, cpu={"lifetime": "1s"}, python="/bin/sh -c SLEEP")
    ended = subprocess.run(["bash", "-c", text.replace("SLEEP", "'sleep 60'")], check=False, timeout=30)
    failed = subprocess.run(["bash", "-c", text.replace("SLEEP", "'exit 7'")], check=False, timeout=30)
    assert (ended.returncode, failed.returncode) == (0, 1)


@pytest.mark.parametrize("gpu", [True, False])
def test_scripts_are_clean(tmp_path, gpu):
    file = tmp_path / "job.sh"
    file.write_text(script(tmp_path, on_gpu=gpu, cpu={"lifetime": "1h", "lifetime_stagger": "5m"}))
    done = subprocess.run([SHELLCHECK, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["run.sbatch", "extract-array.sbatch"])
def test_batch_files_are_clean(name):
    file = DEPLOY / "slurm" / name
    done = subprocess.run([SHELLCHECK, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "set -euo pipefail" in file.read_text()


def test_a_script_leaves_no_file_in_a_persons_settings(tmp_path, monkeypatch):
    before = dask.config.PATH
    script(tmp_path, on_gpu=True)
    assert before == dask.config.PATH
