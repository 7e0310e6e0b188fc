"""Cluster settings and the options that go with them: what is wrong is told, before anything starts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from drfarm.farm import FarmOptions
from drfarm.farm.clusters import cluster_line, load_settings, pool_of
from drfarm.farm.clusters._kubernetes_settings import KubernetesCpuPool, KubernetesGpuPool, KubernetesSettings
from drfarm.farm.clusters._slurm_settings import SlurmCpuPool, SlurmGpuPool, SlurmSettings
from drfarm.farm.clusters._values import clock, n_bytes, seconds
from store import InvalidRequest

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


@pytest.mark.parametrize("kind", ["slurm", "kubernetes"])
def test_the_examples_are_right(kind):
    settings = load_settings(kind, DEPLOY / "clusters" / f"{kind}.yaml")
    gpu, cpu = pool_of(settings, gpu=True), pool_of(settings, gpu=False)
    assert (gpu.fewest, gpu.most, gpu.n_processes) == (4, 4, 1)
    assert (cpu.fewest, cpu.most) == (1, 20)
    assert cpu.memory_limit_bytes * cpu.n_processes == pytest.approx(0.9 * cpu.memory, rel=1e-6)
    assert gpu.memory_limit_bytes is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partitoin": "gpu"}, r"partitoin: there is no such key\..*Keys here: cluster, cpu,"),
        ({"gpu": {"partitoin": "x"}}, r"gpu\.partitoin: there is no such key\. Did you mean 'partition'\?"),
        ({"gpu": {"cores": "many"}}, r"gpu\.cores: got 'many'; input should be a valid integer"),
        ({"gpu": {"cores": None}}, r"gpu\.cores: got None"),
        ({"gpu": {"memory": "16"}}, r"gpu\.memory: .*a number and a unit \(KB, MB,.*such as 64GiB"),
        ({"gpu": {"memory": 16000}}, r"gpu\.memory: .*a number and a unit"),
        ({"gpu": {"walltime": 240}}, r"gpu\.walltime: .*needs a unit: write it with units, such as 3h30m"),
        ({"gpu": {"walltime": "4 hours"}}, r"gpu\.walltime: .*this is no duration"),
        ({"gpu": {"lifetime": "4h"}}, r"lifetime \(0-04:00:00\) must be shorter than the walltime \(0-04:00:00\)"),
        ({"gpu": {"lifetime_stagger": "1m"}}, r"lifetime_stagger is for a lifetime"),
        ({"gpu": {"adaptive": {"maximum": 3}}}, r"gpu: .*exactly one of them"),
        ({"cpu": {"adaptive": {"minimum": 4, "maximum": 3}}}, r"minimum \(4\) is more than maximum \(3\)"),
        ({"gpu": {"gpus": 0}}, r"with gpus: 0, say in `processes`"),
        ({"gpu": {"partition": "gpu\n#SBATCH --uid=0"}}, r"gpu\.partition: .*match pattern"),
        ({"gpu": {"directives": ["rm -rf x"]}}, r"gpu\.directives\.0: .*match pattern"),
        ({"prologue": ["a\nb"]}, r"prologue\.0: .*match pattern"),
        ({"environment": {"A B": "1"}}, r"environment\.A B.*match pattern"),
        ({"host": "10.0.0.1", "interface": "ib0"}, r"give interface or host, not both"),
        ({"gpu": None, "cpu": None}, r"there is no pool"),
        ({"cluster": "kubernetes"}, r"has settings for kubernetes, and --cluster slurm is asked for"),
        ({"cluster": "pbs"}, r"cluster: got 'pbs'; allowed: slurm"),
    ],
)
def test_wrong_settings_are_told(tmp_path, changes, message):
    file = written(tmp_path, **changes)
    with pytest.raises(InvalidRequest, match=message) as told:
        load_settings("slurm", file)
    assert str(file) in str(told.value)
    assert "study" not in str(told.value)


def test_every_fault_is_told_at_once(tmp_path):
    with pytest.raises(InvalidRequest, match=r"3 faults in the cluster settings") as told:
        load_settings("slurm", written(tmp_path, gpu={"cores": 0, "qoss": "x"}, cpu={"memory": "1"}))
    assert len(str(told.value).splitlines()) == 4


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(InvalidRequest, match=r"nowhere\.yaml can't be read: No such file"):
        load_settings("slurm", tmp_path / "nowhere.yaml")
    file = tmp_path / "list.yaml"
    file.write_text("- 1")
    with pytest.raises(InvalidRequest, match="expected keys such as cluster, gpu, cpu; got a list"):
        load_settings("slurm", file)
    file.write_text("a: [")
    with pytest.raises(InvalidRequest, match=r"list\.yaml is not YAML.*line 1"):
        load_settings("slurm", file)


def test_a_plan_tells_the_pools():
    slurm, kubernetes = (load_settings(kind, DEPLOY / "clusters" / f"{kind}.yaml") for kind in ("slurm", "kubernetes"))
    assert cluster_line(slurm) == (
        "cluster  slurm, gpu: 4 jobs of 1 worker (12 cores, 48 GiB); cpu: 1 to 20 jobs of 16 workers (16 cores, 64 GiB)"
    )
    assert "gpu: 4 pods of 1 worker" in cluster_line(kubernetes)


def test_a_stage_without_a_pool_is_told(tmp_path):
    settings = load_settings("slurm", written(tmp_path, cpu=None))
    with pytest.raises(InvalidRequest, match="must fit probes, and the cluster settings have no pool 'cpu'"):
        pool_of(settings, gpu=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster": "slrum"}, r"no kind of cluster 'slrum'\. Did you mean 'slurm'"),
        ({"cluster_config": None}, "needs its settings: --cluster-config FILE"),
        ({"cluster": "local"}, r"is for --cluster slurm or kubernetes"),
        ({"scheduler": "tcp://127.0.0.1:8786"}, "joins a cluster that runs, and --cluster slurm makes one"),
        ({"n_workers": 2}, "leave --workers, --memory-limit and --gpus out"),
        ({"cluster": "kubernetes"}, "has settings for slurm"),
    ],
)
def test_options_that_contradict_are_told(tmp_path, changes, message):
    options: dict[str, Any] = {"cluster": "slurm", "cluster_config": written(tmp_path), **changes}
    with pytest.raises(InvalidRequest, match=message):
        FarmOptions(**options)


def test_options_say_where_workers_are(tmp_path):
    assert FarmOptions(cluster="slurm", cluster_config=written(tmp_path)).elsewhere
    assert FarmOptions(scheduler="tcp://127.0.0.1:8786").elsewhere
    assert not FarmOptions().elsewhere


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3h30m", 12600), ("90m", 5400), ("1d 2h", 93600), ("04:00:05", 14405), ("1-12:00:00", 129600)],
)
def test_durations(text, expected):
    assert seconds(text) == expected
    assert seconds(clock(expected)) == expected


def test_sizes():
    assert (n_bytes("1.5GiB"), n_bytes("500 MB"), n_bytes("1KiB")) == (3 * 2**29, 500_000_000, 1024)


def documented() -> list[list[str]]:
    """Return the keys of each table of settings in the docs."""
    page = (DEPLOY.parent / "docs" / "clusters.md").read_text()
    tables = re.findall(r"^\| key[^\n]*\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)", page, flags=re.M)
    return [re.findall(r"^\| `(\w+)` \|", table, flags=re.M) for table in tables]


@pytest.mark.parametrize(
    ("table", "models"),
    [
        (0, [SlurmSettings]),
        (1, [SlurmGpuPool, SlurmCpuPool]),
        (2, [KubernetesSettings]),
        (3, [KubernetesGpuPool, KubernetesCpuPool]),
    ],
)
def test_every_setting_is_documented(table, models):
    assert sorted(documented()[table]) == sorted({name for model in models for name in model.model_fields})


def test_the_settings_in_the_docs_are_right(tmp_path):
    page = (DEPLOY.parent / "docs" / "clusters.md").read_text()
    blocks = re.findall(r"^```yml\n(.*?)^```", page, flags=re.M | re.S)
    kinds = []
    for block in blocks:
        file = tmp_path / "cluster.yaml"
        file.write_text(block)
        kinds.append(load_settings(yaml.safe_load(block)["cluster"], file).cluster)
    assert kinds == ["slurm", "kubernetes"]
