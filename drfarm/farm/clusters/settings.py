"""Cluster settings: a YAML file, checked as a whole before anything starts."""

from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import ValidationError

from drfarm._study_errors import explain
from drfarm.farm.clusters._kubernetes_settings import KubernetesCpuPool, KubernetesGpuPool, KubernetesSettings
from drfarm.farm.clusters._slurm_settings import SlurmCpuPool, SlurmGpuPool, SlurmSettings
from store import InvalidRequest, UnknownName

Kind = Literal["local", "slurm", "kubernetes"]
"""Where workers are started."""
KINDS: tuple[str, ...] = get_args(Kind)
Settings = SlurmSettings | KubernetesSettings
"""What such a file says."""
Pool = SlurmGpuPool | SlurmCpuPool | KubernetesGpuPool | KubernetesCpuPool
"""One of its pools."""
_MODELS: dict[str, type[Settings]] = {"slurm": SlurmSettings, "kubernetes": KubernetesSettings}


def load_settings(kind: str, file: Path) -> Settings:
    """Read cluster settings.

    Parameters
    ----------
    kind
        ``slurm`` or ``kubernetes``: what they must be for.
    file
        YAML.

    Raises
    ------
    InvalidRequest
        If the file can't be read or is wrong: every fault is named with its key, the value and what is allowed.
    UnknownName
        If there is no such kind of cluster.
    """
    if kind not in _MODELS:
        raise UnknownName.among("kind of cluster with settings", kind, _MODELS)
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise InvalidRequest(
            f"the cluster settings {file} can't be read: {reason}. Give the path of a YAML file as --cluster-config; "
            "docs/clusters.md has examples."
        ) from e
    except yaml.YAMLError as e:
        raise InvalidRequest(f"{file} is not YAML: {' '.join(str(e).split())}. Correct that line.") from e
    if not isinstance(raw, dict):
        got = "an empty file" if raw is None else f"a {type(raw).__name__}"
        raise InvalidRequest(f"{file}: expected keys such as cluster, gpu, cpu; got {got}.")
    said = raw.get("cluster")
    if said in _MODELS and said != kind:
        raise InvalidRequest(
            f"{file} has settings for {said}, and --cluster {kind} is asked for. Give --cluster {said}."
        )
    model = _MODELS[kind]
    try:
        return model.model_validate(raw)
    except ValidationError as e:
        count, _, faults = explain(e, model, where=str(file)).partition("\n")
        raise InvalidRequest(f"{count.replace('in the study file', 'in the cluster settings')}\n{faults}") from e


def pool_of(settings: Settings, *, gpu: bool) -> Pool:
    """Return the pool for a stage.

    Raises
    ------
    InvalidRequest
        If the settings have none.
    """
    pool = settings.gpu if gpu else settings.cpu
    if pool is None:
        name, work = ("gpu", "run networks") if gpu else ("cpu", "fit probes")
        raise InvalidRequest(
            f"there is work left that must {work}, and the cluster settings have no pool {name!r}. Add one; "
            "docs/clusters.md has examples."
        )
    return pool
