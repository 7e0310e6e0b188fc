"""A pool of pods: the operator's resources made, waited for, scaled, and deleted at the end whatever happens."""

import contextlib
import logging
import secrets
import time
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, Protocol

from drfarm.errors import FarmFailed
from drfarm.farm.clusters._kubernetes_settings import KubernetesSettings
from drfarm.farm.clusters._manifests import dask_cluster, scheduler_address, worker_group
from drfarm.farm.joined import JoinedFarm, joined_farm
from drfarm.farm.security import check_encrypted, security_of
from store import DrfarmError, InvalidRequest

_READY_S = 600.0
"""A scheduler's pod is there after so long: nodes may have to start, and images to be pulled."""
_LOOK_S = 2.0
_log = logging.getLogger("drfarm.farm.clusters")


class KubernetesRefused(DrfarmError):
    """The API server can't be asked, or refused."""


class Api(Protocol):
    """What is asked of Kubernetes."""

    def create(self, resource: dict[str, Any]) -> None:
        """Make a resource."""
        ...

    def phase(self, resource: dict[str, Any]) -> str | None:
        """Return what the operator says of a cluster; None as long as it says nothing."""
        ...

    def scale(self, resource: dict[str, Any], n_pods: int) -> None:
        """Give a worker group another size."""
        ...

    def delete(self, resource: dict[str, Any]) -> None:
        """Delete a resource; one that is not there is no error."""
        ...


class KubernetesPool:
    """The pods of one worker group. Kubernetes itself replaces those that are lost."""

    def __init__(self, api: Api, group: dict[str, Any], joined: JoinedFarm, *, n_processes: int) -> None:
        self._api, self._group, self._joined, self._n_processes = api, group, joined, n_processes
        self._n_pods = int(group["spec"]["worker"]["replicas"])

    def ended(self, worker: str) -> bool:  # noqa: ARG002 - which pod it was in is not known here
        """Say that it is not known: Kubernetes tells nobody why a pod has gone."""
        return False

    @property
    def n_jobs(self) -> int:
        """Pods that it has, those included that have not started."""
        return self._n_pods

    @property
    def starting(self) -> bool:
        """Whether a pod has still no worker."""
        return len(self._joined.fitting()) < self._n_pods * self._n_processes

    def check(self) -> None:
        """Do nothing: a pod that can't start is for Kubernetes to tell."""

    def want(self, n_jobs: int) -> None:
        """Have so many pods from now on."""
        if n_jobs != self._n_pods:
            self._api.scale(self._group, n_jobs)
            _log.info("%s has %d pods from now on", self._group["metadata"]["name"], n_jobs)
            self._n_pods = n_jobs

    def release(self, idle: Set[str], *, fewest: int) -> None:
        """Have fewer pods once no worker has anything to do: which of them go is Kubernetes' choice, not ours."""
        if len(idle) == len(self._joined.fitting()):
            self.want(min(self._n_pods, fewest))


def check_kubernetes(settings: KubernetesSettings, *, tls: Path | None, insecure: bool) -> None:
    """Refuse settings that can't work, before anything is made.

    Raises
    ------
    InvalidRequest
        If connections would not be encrypted, or certificates are only at one of both ends.
    """
    if settings.tls_secret is not None and tls is None:
        raise InvalidRequest(
            f"the pods have certificates (tls_secret: {settings.tls_secret}), and this process has none: say "
            "--tls FOLDER, with the folder that the secret was made of."
        )
    check_encrypted(scheduler_address(settings, settings.name), tls=tls, insecure=insecure)
    security_of(tls, "client")


@contextlib.contextmanager
def kubernetes_pool(
    settings: KubernetesSettings,
    *,
    gpu: bool,
    n_jobs: int,
    tls: Path | None,
    insecure: bool,
    api: Api | None = None,
    ready_s: float = _READY_S,
) -> Iterator[tuple[JoinedFarm, KubernetesPool]]:
    """Make the cluster of a stage; delete it at the end.

    Parameters
    ----------
    settings
        With a pool of the kind that is asked for.
    gpu, n_jobs
        Which pool, and how many pods at first.
    tls, insecure
        As for every cluster.
    api
        Kubernetes; by default the one that this process or the person's own settings know.
    ready_s
        How long the scheduler may take to start, in seconds.

    Raises
    ------
    InvalidRequest
        If Kubernetes refuses the resources.
    FarmFailed
        If there is no scheduler in time.
    """
    api = api or _kr8s()
    name = f"{settings.name}-{'gpu' if gpu else 'cpu'}-{secrets.token_hex(3)}"
    cluster = dask_cluster(settings, name, insecure=insecure)
    group = worker_group(settings, name, gpu=gpu, n_pods=n_jobs, insecure=insecure)
    address = scheduler_address(settings, name)
    pool = settings.gpu if gpu else settings.cpu
    assert pool is not None
    try:
        try:
            api.create(cluster)
            api.create(group)
        except KubernetesRefused as e:
            raise InvalidRequest(f"Kubernetes would not make the cluster {name}: {e}") from e
        with _joined_in_time(api, cluster, address, gpu=gpu, tls=tls, ready_s=ready_s) as joined:
            yield joined, KubernetesPool(api, group, joined, n_processes=pool.n_processes)
    finally:
        for resource in (group, cluster):
            with contextlib.suppress(KubernetesRefused):
                api.delete(resource)


@contextlib.contextmanager
def _joined_in_time(
    api: Api, cluster: dict[str, Any], address: str, *, gpu: bool, tls: Path | None, ready_s: float
) -> Iterator[JoinedFarm]:
    until = time.monotonic() + ready_s
    with contextlib.ExitStack() as stack:
        while True:
            try:
                phase = api.phase(cluster)
                why = f"the operator says {phase!r}" if phase else "the operator says nothing: is it installed?"
                if phase == "Running":
                    joined = stack.enter_context(joined_farm(address, gpu=gpu, checked=False, tls=tls))
                    break
            except (InvalidRequest, KubernetesRefused) as e:
                why = str(e)
            if time.monotonic() > until:
                raise FarmFailed(
                    f"the scheduler of {cluster['metadata']['name']} is not there after {ready_s:.0f} s ({why}). Look "
                    f"at its pods (`kubectl -n {cluster['metadata']['namespace']} get pods`); then run again."
                )
            time.sleep(min(_LOOK_S, ready_s / 10))
        yield joined


def _kr8s() -> Api:
    try:
        from drfarm.farm.clusters._kr8s import Kr8sApi
    except ImportError as e:
        raise InvalidRequest(
            "--cluster kubernetes needs dask-kubernetes, which is not installed. Install drfarm[kubernetes]."
        ) from e
    return Kr8sApi()
