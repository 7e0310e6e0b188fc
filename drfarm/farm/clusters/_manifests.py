"""Custom resources of the Dask operator: one cluster without workers of its own, one worker group for a pool. Pure."""

import math
from pathlib import Path
from typing import Any

from drfarm.farm.clusters._kubernetes_settings import KubernetesCpuPool, KubernetesGpuPool, KubernetesSettings

PORT = 8786
"""Of the scheduler."""
_API = "kubernetes.dask.org/v1"
_TLS_FOLDER = "/etc/drfarm/tls"
_SCRATCH = "/tmp"


def scheduler_address(settings: KubernetesSettings, name: str) -> str:
    """Return where a cluster's scheduler is reached, from inside Kubernetes unless the settings say otherwise."""
    scheme = "tcp" if settings.tls_secret is None else "tls"
    return settings.address or f"{scheme}://{name}-scheduler.{settings.namespace}:{PORT}"


def dask_cluster(settings: KubernetesSettings, name: str, *, insecure: bool = False) -> dict[str, Any]:
    """Return the ``DaskCluster``: a scheduler with its service, and no worker."""
    words = ["scheduler", "--host", "0.0.0.0", "--port", str(PORT), *_secured(settings, insecure=insecure)]
    limits = {"cpu": str(settings.scheduler_cores), "memory": _mebibytes(settings.scheduler_memory)}
    container = _container(settings, "scheduler", settings.image, words, limits)
    probe = {"tcpSocket": {"port": "tcp-comm"}, "periodSeconds": 5}
    container |= {
        "ports": [{"name": "tcp-comm", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe,
        "livenessProbe": probe | {"initialDelaySeconds": 30, "failureThreshold": 6},
    }
    ports = [{"name": "tcp-comm", "protocol": "TCP", "port": PORT, "targetPort": "tcp-comm"}]
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    idle = _container(settings, "worker", settings.image, ["--version"], limits)
    return {
        "apiVersion": _API,
        "kind": "DaskCluster",
        "metadata": {"name": name, "namespace": settings.namespace},
        "spec": {
            "worker": {"replicas": 0, "spec": _pod(settings, idle, stored=False)},
            "scheduler": {
                "spec": _pod(settings, container, stored=False),
                "service": {"type": "ClusterIP", "selector": selector, "ports": ports},
            },
        },
    }


def worker_group(
    settings: KubernetesSettings, name: str, *, gpu: bool, n_pods: int, insecure: bool = False
) -> dict[str, Any]:
    """Return the ``DaskWorkerGroup`` of a pool; its pods run ``drfarm worker``.

    Parameters
    ----------
    settings
        With a pool of that kind.
    name
        Of the cluster that it belongs to.
    gpu
        Which pool.
    n_pods
        So many.
    insecure
        Whether connections are not encrypted.
    """
    pool: KubernetesGpuPool | KubernetesCpuPool | None = settings.gpu if gpu else settings.cpu
    assert pool is not None  # told before, as `pool_of` does
    scheme = "tcp" if settings.tls_secret is None else "tls"
    words = ["worker", f"{scheme}://{name}-scheduler.{settings.namespace}:{PORT}"]
    limits = {"cpu": str(pool.cores), "memory": _mebibytes(pool.memory)}
    if isinstance(pool, KubernetesGpuPool):
        words.append("--gpu")
        limits["nvidia.com/gpu"] = str(pool.gpus)
    else:
        words += ["--workers", str(pool.n_processes), "--memory-limit", f"{pool.memory_limit_bytes}B"]
    words += _secured(settings, insecure=insecure)
    container = _container(settings, "worker", pool.image or settings.image, words, limits)
    container["envFrom"] = [{"secretRef": {"name": secret}} for secret in settings.secrets]
    pod = _pod(settings, container, stored=True)
    if pool.node_selector:
        pod["nodeSelector"] = dict(pool.node_selector)
    if pool.tolerations:
        pod["tolerations"] = [dict(t) for t in pool.tolerations]
    return {
        "apiVersion": _API,
        "kind": "DaskWorkerGroup",
        "metadata": {"name": f"{name}-{'gpu' if gpu else 'cpu'}", "namespace": settings.namespace},
        "spec": {"cluster": name, "worker": {"replicas": n_pods, "spec": pod}},
    }


def _container(
    settings: KubernetesSettings, name: str, image: str, words: list[str], limits: dict[str, str]
) -> dict[str, Any]:
    environment = {"PYTHONSAFEPATH": "1", "HOME": _SCRATCH, **settings.environment}
    mounts = [{"name": "scratch", "mountPath": _SCRATCH}]
    if settings.tls_secret is not None:
        mounts.append({"name": "tls", "mountPath": _TLS_FOLDER, "readOnly": True})  # type: ignore[dict-item]
    return {
        "name": name,
        "image": image,
        "command": ["python", "-m", "drfarm"],
        "args": words,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"limits": limits, "requests": limits},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(settings: KubernetesSettings, container: dict[str, Any], *, stored: bool) -> dict[str, Any]:
    """Return the pod around a container; ``stored`` says whether it sees the store."""
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {}}]
    if settings.tls_secret is not None:
        # The group may read it: the user of the containers is in no other way the files' owner.
        volumes.append({"name": "tls", "secret": {"secretName": settings.tls_secret, "defaultMode": 0o440}})
    mounts = list(container["volumeMounts"])
    for number, volume in enumerate(settings.volumes if stored else ()):
        name = f"volume-{number}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": volume.claim}})
        mounts.append({"name": name, "mountPath": volume.path, "readOnly": volume.read_only})
    pod: dict[str, Any] = {
        "containers": [{**container, "volumeMounts": mounts}],
        "volumes": volumes,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.user,
            "runAsGroup": settings.user,
            "fsGroup": settings.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if settings.service_account is not None:
        pod["serviceAccountName"] = settings.service_account
    return pod


def _secured(settings: KubernetesSettings, *, insecure: bool) -> list[str]:
    if settings.tls_secret is not None:
        return ["--tls", str(Path(_TLS_FOLDER))]
    return ["--insecure"] if insecure else []


def _mebibytes(n_bytes: int) -> str:
    return f"{math.ceil(n_bytes / 2**20)}Mi"
